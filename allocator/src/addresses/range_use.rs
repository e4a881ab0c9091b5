//! One range to allocate from, and which of its addresses can be given.

use std::net::IpAddr;

use api_types::AddressRange;
use api_types::range::{from_bits, to_bits};

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

    /// The lowest address that can be given and is not reserved at all.
    pub(super) fn lowest_free(&self) -> Option<IpAddr> {
        self.lowest_missing(&self.avoided)
    }

    /// The lowest address that can be given.
    pub(super) fn lowest_available(&self) -> Option<IpAddr> {
        self.lowest_missing(&self.unavailable)
    }

    fn lowest_missing(&self, set: &Intervals) -> Option<IpAddr> {
        let bits = set.lowest_missing(to_bits(self.range.first()), to_bits(self.range.last()))?;
        from_bits(self.range.family(), bits)
    }
}
