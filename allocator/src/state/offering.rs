//! Keeps the [offer](super::offers) in the Lease wide enough for what is about to be given.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use api_types::AddressRange;

use super::index::Index;
use super::offers::{Offer, Part, RANGES};
use crate::addresses::AddressSet;
use crate::model::{Service, ServiceName};
use crate::plan::Plan;

/// The most free addresses of a range in an offer, and the fewest that are worth a write of the Lease. In between it is a
/// quarter of the range's free addresses: after an unclean takeover the rest serves others.
const PART: (u128, u128) = if cfg!(test) { (4, 1) } else { (1024, 2) };

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
        ranges.extend(single.map(AddressRange::from));
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

/// The addresses of the plan that the Service does not have yet. What only a hint says is not its own.
pub(super) fn gains(service: &Service, plan: &Plan) -> impl Iterator<Item = IpAddr> {
    let has = |address: &IpAddr| {
        let shows = service.addresses.contains(address) && !service.provenance.hint.contains(address);
        shows || service.claimed().contains(address)
    };
    plan.addresses.iter().copied().filter(move |address| !has(address))
}
