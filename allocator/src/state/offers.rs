//! The offer: the addresses that the leader may be about to give.
//!
//! Before a leader gives an address that the Service does not name itself, its Lease says that it may. After an unclean
//! takeover the next leader therefore knows what a late write could give, and serves others with other addresses until its
//! fences are answered; see [`fencing`](super::fencing).
//!
//! The offer consists of a part of each range, from its lowest free address on, so that a few writes of the Lease are
//! enough for thousands of Services. What is on its way to the Lease may have arrived or not. So until that is known, an
//! address must belong to both; and what a write under way gives belongs to every offer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use api_types::AddressRange;

use crate::addresses::AddressSet;
use crate::model::ServiceName;

/// The most ranges of which a part belongs to every offer.
pub(super) const RANGES: usize = 64;
/// The most Services that wait for one write of the Lease. Then nothing more is planned before it is answered.
const WAITING: usize = 128;

/// Addresses that a leader may be about to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Offer {
    /// Any address: it is not known.
    Anything,
    /// These.
    These(AddressSet),
}

impl Default for Offer {
    fn default() -> Self {
        Self::These(AddressSet::default())
    }
}

impl Offer {
    /// Reads what a Lease says. A leader of an earlier version says nothing.
    pub(super) fn read(text: Option<&str>) -> Self {
        text.and_then(AddressSet::parse).map_or(Self::Anything, Self::These)
    }

    /// Whether the address belongs to it.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match self {
            Self::Anything => true,
            Self::These(addresses) => addresses.contains(address),
        }
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anything => f.write_str("*"),
            Self::These(addresses) => addresses.fmt(f),
        }
    }
}

/// The part of a range that is offered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) offered: AddressRange,
    /// How many free addresses it had at first.
    pub(super) size: u128,
    /// How many of them were not given since.
    pub(super) left: u128,
}

/// The offers of the present term.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// What the Lease says. Nothing may be given before it says anything in this term.
    pub(super) recorded: Option<Offer>,
    /// What is on its way to the Lease.
    pub(super) under_way: Option<(Arc<str>, Offer)>,
    /// By the first address of the range.
    pub(super) parts: BTreeMap<IpAddr, Part>,
    /// Addresses of Services that had one which did not belong to the offer.
    pub(super) wanted: BTreeSet<IpAddr>,
    /// Those of the offer before. The Services may not have been planned again when the next one is due.
    pub(super) wanted_before: BTreeSet<IpAddr>,
    /// The Services that wait for them, in the order of their plans.
    pub(super) waiting: Vec<ServiceName>,
    /// First addresses of the ranges of these addresses, the last first.
    pub(super) recent: Vec<IpAddr>,
    /// Whether another offer would be better.
    pub(super) is_due: bool,
}

impl Offers {
    /// A term begins.
    pub(super) fn begin(&mut self) {
        *self = Self { is_due: true, ..Self::default() };
    }

    /// The term is over.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    /// The offer can be narrower now.
    pub(super) const fn narrow(&mut self) {
        self.is_due = true;
    }

    /// Whether so many Services wait that nothing more is to be planned.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING
    }

    pub(super) fn permits(&self, address: IpAddr) -> bool {
        let stated = self.under_way.as_ref().is_none_or(|(_, offer)| offer.contains(address));
        stated && self.recorded.as_ref().is_some_and(|offer| offer.contains(address))
    }

    pub(super) fn is_wanted(&self, address: IpAddr) -> bool {
        self.wanted.contains(&address) || self.wanted_before.contains(&address)
    }

    /// The address is given.
    pub(super) fn given(&mut self, address: IpAddr) {
        let Some((_, part)) = self.parts.range_mut(..=address).next_back() else { return };
        if part.offered.contains(address) {
            part.left = part.left.saturating_sub(1);
            self.is_due |= part.left < part.size.div_ceil(2);
        }
    }

    pub(super) fn wait(&mut self, name: &ServiceName, address: IpAddr, range: Option<AddressRange>) {
        self.wanted.insert(address);
        if !self.waiting.contains(name) {
            self.waiting.push(name.clone());
        }
        if let Some(range) = range {
            self.recent.retain(|first| *first != range.first());
            self.recent.insert(0, range.first());
            self.recent.truncate(RANGES);
        }
    }
}
