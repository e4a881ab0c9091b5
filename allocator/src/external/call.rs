//! Calls to a sidecar and their answers, as data.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use api_types::Family;
use runtime::BootTime;

use crate::model::Owner;

/// What a Service wants of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddressRequest {
    /// Whether an IPv4 address is wanted.
    pub v4: bool,
    /// Whether an IPv6 address is wanted.
    pub v6: bool,
    /// The sharing key of the Service; empty for none.
    pub key: String,
}

impl AddressRequest {
    /// Whether addresses of the family are wanted.
    #[must_use]
    pub const fn wants(&self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

/// Identifies a call; no two calls of a process have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct CallId(u64);

impl CallId {
    pub(super) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// What the sidecar should do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Give addresses to a Service.
    Allocate(Owner, AddressRequest),
    /// Register these addresses of a Service with this sharing key, which it has already.
    Restore(Owner, BTreeSet<IpAddr>, String),
    /// Take back one address of a Service, or all.
    Release(Owner, Option<IpAddr>),
    /// Report how many addresses there are and how many are in use.
    Stats,
    /// List what the cluster has, from this page on.
    List(String),
}

impl Request {
    /// The Service that the request is about.
    #[must_use]
    pub const fn owner(&self) -> Option<&Owner> {
        match self {
            Self::Allocate(owner, _) | Self::Restore(owner, ..) | Self::Release(owner, _) => Some(owner),
            Self::Stats | Self::List(_) => None,
        }
    }
}

/// A call to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The answer is matched by it.
    pub id: CallId,
    /// The socket of the sidecar.
    pub socket: String,
    /// The name of the group.
    pub group: String,
    /// The cluster that asks.
    pub cluster: Arc<str>,
    /// What the sidecar should do.
    pub request: Request,
}

/// What a sidecar reports about one group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Addresses in use, IPv4 and IPv6.
    pub used: (u64, u64),
    /// All addresses, IPv4 and IPv6, if the sidecar knows.
    pub size: Option<(u64, u64)>,
    /// The ranges as text, for people.
    pub ranges: Vec<String>,
    /// Whether the sidecar keeps allocations by cluster and UID. Otherwise it has one for each name.
    pub keeps_owners: bool,
}

/// What a sidecar has for one owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The owner. Its cluster is ours.
    pub owner: Owner,
    /// The addresses.
    pub addresses: BTreeSet<IpAddr>,
}

/// What a sidecar has for all owners of our cluster in one group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// All pages so far.
    pub found: Vec<Listed>,
    /// When the first page was asked for.
    pub begun: BootTime,
    /// Owners that gave everything back meanwhile.
    pub gone: BTreeSet<Owner>,
    /// Whether these are all pages.
    pub is_complete: bool,
}

/// The answer to a call that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// All addresses that the Service has of the group.
    Addresses(Vec<IpAddr>),
    /// The addresses are free again.
    Released,
    /// The numbers of the group.
    Stats(Stats),
    /// Some of what the cluster has, and the next page; empty for none.
    Listed(Vec<Listed>, String),
}

/// How a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nobody was reached. Other calls to the sidecar would fail in the same way.
    Unreachable,
    /// The connection broke while the call was under way. The call may be the cause, or another one that was under way with it.
    Broken,
    /// There was no answer in time. That says nothing about other calls.
    NoAnswer,
    /// The sidecar answered with an error.
    Refused,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// How.
    pub failure: Failure,
    /// The sidecar may have done what it was asked for.
    pub may_have_acted: bool,
    /// The cause, for people.
    pub text: String,
}
