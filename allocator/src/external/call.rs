//! Calls to a sidecar and their answers, as data.

use std::net::IpAddr;
use std::sync::Arc;

use api_types::Family;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    /// Take back one address of a Service, or all.
    Release(Owner, Option<IpAddr>),
    /// Report how many addresses there are and how many are in use.
    Stats,
}

impl Request {
    /// The Service that the request is about.
    #[must_use]
    pub const fn owner(&self) -> Option<&Owner> {
        match self {
            Self::Allocate(owner, _) | Self::Release(owner, _) => Some(owner),
            Self::Stats => None,
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

/// The answer to a call that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// All addresses that the Service has of the group.
    Addresses(Vec<IpAddr>),
    /// The addresses are free again.
    Released,
    /// The numbers of the group.
    Stats(Stats),
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// The sidecar did not answer at all. Other calls to it would fail in the same way.
    pub unanswered: bool,
    /// The sidecar may have done what it was asked for.
    pub may_have_acted: bool,
    /// The cause, for people.
    pub text: String,
}
