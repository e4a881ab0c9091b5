//! The states of an external allocation: what is wanted, what the sidecar may have, what is given back, and the call.

use std::collections::BTreeSet;
use std::net::IpAddr;

use runtime::BootTime;

use super::call::{AddressRequest, CallId, Listing};

/// What the Service wants of the sidecar.
#[derive(Debug, Default)]
pub(super) enum Wanted {
    /// It wants nothing, or has all that it wants.
    #[default]
    Nothing,
    /// An allocation is to be sent, now or after a pause. `failure` is the cause if the last attempt failed.
    Asking { request: AddressRequest, failure: Option<String> },
    /// The sidecar gave these addresses. They are not written to the Service yet.
    Granted { request: AddressRequest, addresses: Vec<IpAddr> },
}

/// How well the addresses that are known to be held match what the sidecar has recorded.
#[derive(Debug, Default)]
pub(super) enum Knowledge {
    /// No allocation was ever sent: the sidecar has nothing for the Service.
    #[default]
    Nothing,
    /// Every allocation was answered: the sidecar has just the addresses that are known.
    Answered,
    /// An allocation with this sharing key was not answered: the sidecar may have more. The answer to a repeated one
    /// will show it.
    Unanswered { key: String },
    /// As [`Unanswered`](Self::Unanswered), but the sidecar refused the last allocation. No answer will show what it has.
    UnansweredThenRefused { key: String },
}

/// Addresses to give back.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Release {
    #[default]
    Nothing,
    /// These; never empty.
    Addresses(BTreeSet<IpAddr>),
    /// Everything that the sidecar has for the Service.
    All,
}

impl Release {
    pub(super) fn of(addresses: BTreeSet<IpAddr>) -> Self {
        if addresses.is_empty() { Self::Nothing } else { Self::Addresses(addresses) }
    }

    pub(super) fn add(&mut self, address: IpAddr) {
        match self {
            Self::Nothing => *self = Self::Addresses(BTreeSet::from([address])),
            Self::Addresses(addresses) => _ = addresses.insert(address),
            Self::All => {}
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&IpAddr) -> bool) {
        if let Self::Addresses(addresses) = self {
            addresses.retain(keep);
            *self = Self::of(std::mem::take(addresses));
        }
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = &IpAddr> {
        let addresses = if let Self::Addresses(addresses) = self { Some(addresses) } else { None };
        addresses.into_iter().flatten()
    }
}

/// The call for this allocation. There is never more than one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum CallState {
    #[default]
    Idle,
    /// It waits in the queue of the sidecar.
    Queued,
    /// It was sent and is not answered yet.
    InFlight(CallId),
}

/// The listing of one group, in progress.
#[derive(Debug, Default)]
pub(super) struct ListingState {
    pub(super) due_at: BootTime,
    /// When the last one was complete.
    pub(super) ended_at: Option<BootTime>,
    /// How many calls failed since the last answer.
    pub(super) failures: u32,
    pub(super) call: Option<CallId>,
    pub(super) page: String,
    pub(super) listing: Listing,
}

impl ListingState {
    pub(super) fn is_in_progress(&self) -> bool {
        self.call.is_some() || !self.page.is_empty()
    }
}
