//! One range to allocate from, and which of its addresses can be given.

use std::net::IpAddr;

use api_types::AddressRange;
use api_types::range::{from_bits, to_bits};

use super::address_set::AddressSet;
use super::intervals::Intervals;
use super::reserved::Strength;

/// A range to allocate from. Each set contains the one before it.
#[derive(Debug, Clone)]
pub(super) struct RangeUse {
    pub(super) range: AddressRange,
    /// Addresses that a Service holds.
    held: Intervals,
    /// Those, and the addresses that no Service may be given.
    unavailable: Intervals,
    /// Those, and the addresses that are given when no other is free.
    avoided: Intervals,
}

impl RangeUse {
    /// A range of which all addresses can be given.
    pub(super) fn new(range: AddressRange) -> Self {
        let (held, unavailable, avoided) = (Intervals::default(), Intervals::default(), Intervals::default());
        Self { range, held, unavailable, avoided }
    }

    /// Records whether a Service holds the address, and how much it is reserved. O(log n).
    pub(super) fn record(&mut self, address: IpAddr, held: bool, reserved: Strength) {
        for (set, member) in [
            (&mut self.held, held),
            (&mut self.unavailable, held || reserved == Strength::Forbidden),
            (&mut self.avoided, held || reserved != Strength::None),
        ] {
            if member {
                set.insert(to_bits(address));
            } else {
                set.remove(to_bits(address));
            }
        }
    }

    /// The number of addresses that Services hold.
    pub(super) const fn held(&self) -> u128 {
        self.held.len()
    }

    /// The number of addresses that no Service holds and none may be given.
    pub(super) const fn forbidden(&self) -> u128 {
        self.unavailable.len().saturating_sub(self.held.len())
    }

    /// The number of addresses that can be given.
    pub(super) const fn free(&self) -> u128 {
        self.range.size().saturating_sub(self.unavailable.len())
    }

    /// The lowest address that can be given, is not reserved at all, and is not held back.
    pub(super) fn lowest_free(&self, held_back: &AddressSet) -> Option<IpAddr> {
        self.lowest_missing(&self.avoided, held_back)
    }

    /// The lowest address that can be given and is not held back.
    pub(super) fn lowest_available(&self, held_back: &AddressSet) -> Option<IpAddr> {
        self.lowest_missing(&self.unavailable, held_back)
    }

    fn lowest_missing(&self, set: &Intervals, held_back: &AddressSet) -> Option<IpAddr> {
        let (mut from, last) = (to_bits(self.range.first()), to_bits(self.range.last()));
        loop {
            let address = from_bits(self.range.family(), set.lowest_missing(from, last)?)?;
            let Some(held_back) = held_back.range_of(address) else { return Some(address) };
            from = to_bits(held_back.last()).checked_add(1)?;
        }
    }

    /// The part of the range from this address that has so many which can be given, or to its end.
    pub(super) fn part(&self, first: IpAddr, count: u128) -> Option<AddressRange> {
        let last = self.avoided.missing_up_to(to_bits(first), to_bits(self.range.last()), count);
        AddressRange::new(first, from_bits(self.range.family(), last)?)
    }
}
