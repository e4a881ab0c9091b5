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

use super::index::Index;
use crate::addresses::AddressSet;
use crate::model::{Service, ServiceName};
use crate::plan::Plan;

/// The most free addresses of a range in an offer, and the fewest that are worth a write of the Lease. In between it is a
/// quarter of the range's free addresses: after an unclean takeover the rest serves others.
const PART: (u128, u128) = if cfg!(test) { (4, 1) } else { (1024, 16) };
/// The most ranges of which a part belongs to every offer.
const RANGES: usize = 64;
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
struct Part {
    offered: AddressRange,
    /// How many free addresses it had at first.
    size: u128,
    /// How many of them were not given since.
    left: u128,
}

/// The offers of the present term.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// What the Lease says. Nothing may be given before it says anything in this term.
    recorded: Option<Offer>,
    /// What is on its way to the Lease.
    under_way: Option<(Arc<str>, Offer)>,
    /// By the first address of the range.
    parts: BTreeMap<IpAddr, Part>,
    /// Addresses of Services that had one which did not belong to the offer.
    wanted: BTreeSet<IpAddr>,
    /// Those of the offer before. The Services may not have been planned again when the next one is due.
    wanted_before: BTreeSet<IpAddr>,
    /// The Services that wait for them, in the order of their plans.
    waiting: Vec<ServiceName>,
    /// First addresses of the ranges of these addresses, the last first.
    recent: Vec<IpAddr>,
    /// Whether another offer would be better.
    is_due: bool,
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

    fn permits(&self, address: IpAddr) -> bool {
        let stated = self.under_way.as_ref().is_none_or(|(_, offer)| offer.contains(address));
        stated && self.recorded.as_ref().is_some_and(|offer| offer.contains(address))
    }

    fn is_wanted(&self, address: IpAddr) -> bool {
        self.wanted.contains(&address) || self.wanted_before.contains(&address)
    }

    /// The address is given.
    fn given(&mut self, address: IpAddr) {
        let Some((_, part)) = self.parts.range_mut(..=address).next_back() else { return };
        if part.offered.contains(address) {
            part.left = part.left.saturating_sub(1);
            self.is_due |= part.left < part.size.div_ceil(2);
        }
    }

    fn wait(&mut self, name: &ServiceName, address: IpAddr, range: Option<AddressRange>) {
        self.wanted.insert(address);
        if self.waiting.last() != Some(name) {
            self.waiting.push(name.clone());
        }
        if let Some(range) = range {
            self.recent.retain(|first| *first != range.first());
            self.recent.insert(0, range.first());
            self.recent.truncate(RANGES);
        }
    }
}

impl Index {
    /// Whether the Service may be given what it would gain: the Lease says so, or the Service names it. If not, the
    /// Service is planned again when the Lease does.
    pub(super) fn may_give(&mut self, name: &ServiceName, plan: &Plan) -> bool {
        let Some(service) = self.services.get(name) else { return false };
        let named = named_addresses(service);
        let gains: Vec<IpAddr> = gains(service, plan).collect();
        // One that names an address does not overtake another that waits for it.
        let is_named = |address: &IpAddr| named.contains(address) && !self.offers.is_wanted(*address);
        let may = gains.iter().all(|address| is_named(address) || self.offers.permits(*address));
        for address in gains {
            if may {
                self.offers.given(address);
            } else {
                // Those that the present offer has must be in the next one as well.
                self.offers.wait(name, address, self.addresses.range_of(address));
            }
        }
        may
    }

    /// What the Lease is to say next, if that is to change. Call [`offer_recorded`](Self::offer_recorded) when it does;
    /// until then there is no other.
    pub fn offer_to_state(&mut self) -> Option<Arc<str>> {
        let wanted = self.offers.is_due || !self.offers.wanted.is_empty();
        if !self.leading || self.offers.under_way.is_some() || !wanted {
            return None;
        }
        self.offers.is_due = false;
        let offer = self.next_offer();
        self.offers.wanted_before = std::mem::take(&mut self.offers.wanted);
        if self.offers.recorded.as_ref() == Some(&offer) {
            self.resume();
            return None;
        }
        let text: Arc<str> = offer.to_string().into();
        self.offers.under_way = Some((text.clone(), offer));
        Some(text)
    }

    /// The Lease says this.
    pub fn offer_recorded(&mut self, text: &str) {
        if let Some((_, offer)) = self.offers.under_way.take_if(|(stated, _)| **stated == *text) {
            self.offers.recorded = Some(offer);
            self.resume();
        }
    }

    /// Plans the Services again that waited for the Lease, before all others.
    fn resume(&mut self) {
        for name in std::mem::take(&mut self.offers.waiting).iter().rev() {
            if self.services.contains(name) {
                self.queue.push_first(name);
            }
        }
    }

    fn next_offer(&mut self) -> Offer {
        let Offer::These(predecessors) = self.fencing.offer() else { return Offer::Anything };
        let mut ranges = predecessors.ranges().to_vec();
        let all: Vec<AddressRange> = self.groups.table().ranges().collect();
        let recent = self.offers.recent.iter().filter_map(|first| all.iter().find(|range| range.first() == *first));
        let others = all.iter().filter(|range| !self.offers.recent.contains(&range.first()));
        let mut parts = BTreeMap::new();
        for range in recent.chain(others).take(RANGES) {
            if let Some(part) = self.part(*range) {
                ranges.push(part.offered);
                parts.insert(range.first(), part);
            }
        }
        self.offers.parts = parts;
        let wanted = self.offers.wanted.union(&self.offers.wanted_before).copied();
        let single = wanted.chain(self.services.reserved());
        ranges.extend(single.filter_map(|address| AddressRange::new(address, address)));
        Offer::These(AddressSet::new(ranges))
    }

    /// The part of the range to offer. The present one stays as long as half of it is left.
    fn part(&self, range: AddressRange) -> Option<Part> {
        let lowest = self.addresses.lowest_free(&[range])?;
        let known = self.offers.parts.get(&range.first()).filter(|known| {
            known.offered.contains(lowest)
                && range.contains(known.offered.last())
                && known.left >= known.size.div_ceil(2)
        });
        known.copied().or_else(|| {
            let (most, fewest) = PART;
            let size = (self.addresses.available(range) / 4).clamp(fewest, most);
            let part = self.addresses.lowest_part(range, size)?;
            Some(Part { offered: part, size, left: size })
        })
    }
}

/// The addresses that the Service itself names.
pub(super) fn named_addresses(service: &Service) -> Vec<IpAddr> {
    // If one of them is not an address, nothing is given.
    let pins = service.requested.pins().into_iter().flat_map(|pins| pins.split(','));
    pins.filter_map(|pin| pin.trim().parse().ok()).collect()
}

/// The addresses of the plan that the Service does not have yet.
pub(super) fn gains(service: &Service, plan: &Plan) -> impl Iterator<Item = IpAddr> {
    let has = |address: &IpAddr| service.addresses.contains(address) || service.claimed().contains(address);
    plan.addresses.iter().copied().filter(move |address| !has(address))
}
