//! Which Service holds which address.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use api_types::range::{from_bits, to_bits};
use api_types::{AddressRange, SharingKey};

use super::intervals::Intervals;
use super::refusal::Refusal;
use crate::model::{ServiceName, Sharing, SharingConflict};

/// A range to allocate from, and its addresses in use.
#[derive(Debug, Clone)]
struct RangeUse {
    range: AddressRange,
    taken: Intervals,
}

/// One Service.
#[derive(Debug, Default)]
struct Holder {
    sharing: Sharing,
    addresses: Vec<IpAddr>,
}

/// All addresses in use, and all ranges. No two ranges overlap.
///
/// A Service may hold an address that lies in no range. The table keeps it, so that nobody else gets the address when a
/// range grows over it.
#[derive(Debug, Default)]
pub struct AddressTable {
    holders: BTreeMap<IpAddr, Vec<ServiceName>>,
    services: HashMap<ServiceName, Holder>,
    keys: BTreeMap<SharingKey, BTreeSet<ServiceName>>,
    /// By first address.
    ranges: BTreeMap<IpAddr, RangeUse>,
    outside: BTreeSet<IpAddr>,
}

impl AddressTable {
    /// Replaces the ranges, which must not overlap. Only a new range costs O(n) of its addresses in use.
    pub fn set_ranges(&mut self, ranges: impl IntoIterator<Item = AddressRange>) {
        let mut old = std::mem::take(&mut self.ranges);
        for range in ranges {
            let known = old.remove(&range.first()).filter(|known| known.range == range);
            let taken = known.map_or_else(|| self.taken_of(range), |known| known.taken);
            self.ranges.insert(range.first(), RangeUse { range, taken });
        }
        let outside = self.holders.keys().copied().filter(|&address| self.range_of(address).is_none()).collect();
        self.outside = outside;
    }

    fn taken_of(&self, range: AddressRange) -> Intervals {
        let mut taken = Intervals::default();
        for (&address, _) in self.holders.range(range.first()..=range.last()) {
            taken.insert(to_bits(address));
        }
        taken
    }

    /// The range that holds the address.
    #[must_use]
    pub fn range_of(&self, address: IpAddr) -> Option<AddressRange> {
        let (_, found) = self.ranges.range(..=address).next_back()?;
        found.range.contains(address).then_some(found.range)
    }

    /// Sets the sharing key and the ports of a Service, which apply to all its addresses. Returns whether they changed.
    pub fn set_sharing(&mut self, service: &ServiceName, sharing: &Sharing) -> bool {
        let known = self.services.entry(service.clone()).or_default();
        if known.sharing == *sharing {
            return false;
        }
        let old = std::mem::replace(&mut known.sharing, sharing.clone());
        self.drop_key(service, old.key.as_ref());
        if let Some(key) = &sharing.key {
            self.keys.entry(key.clone()).or_default().insert(service.clone());
        }
        true
    }

    fn drop_key(&mut self, service: &ServiceName, key: Option<&SharingKey>) {
        if let Some(key) = key
            && let Some(sharers) = self.keys.get_mut(key)
        {
            sharers.remove(service);
            if sharers.is_empty() {
                self.keys.remove(key);
            }
        }
    }

    /// Removes a Service. Returns the addresses that are free now.
    pub fn forget(&mut self, service: &ServiceName) -> Vec<IpAddr> {
        let freed = self.hold(service, &[]);
        if let Some(known) = self.services.remove(service) {
            self.drop_key(service, known.sharing.key.as_ref());
        }
        freed
    }

    /// Sets the addresses that a Service holds, whoever else holds them. Returns the addresses that are free now.
    pub fn hold(&mut self, service: &ServiceName, addresses: &[IpAddr]) -> Vec<IpAddr> {
        let known = self.services.entry(service.clone()).or_default();
        if known.addresses == addresses {
            return Vec::new();
        }
        let old = std::mem::replace(&mut known.addresses, addresses.to_vec());
        for &address in addresses.iter().filter(|address| !old.contains(address)) {
            self.add_holder(address, service);
        }
        old.into_iter().filter(|address| !addresses.contains(address) && self.release(*address, service)).collect()
    }

    /// The addresses that a Service holds.
    #[must_use]
    pub fn held_by(&self, service: &ServiceName) -> &[IpAddr] {
        self.services.get(service).map_or(&[], |known| known.addresses.as_slice())
    }

    fn add_holder(&mut self, address: IpAddr, service: &ServiceName) {
        let holders = self.holders.entry(address).or_default();
        holders.push(service.clone());
        if holders.len() == 1 {
            match self.range_mut(address) {
                Some(range) => _ = range.taken.insert(to_bits(address)),
                None => _ = self.outside.insert(address),
            }
        }
    }

    /// Removes a holder. Returns whether the address is free now.
    fn release(&mut self, address: IpAddr, service: &ServiceName) -> bool {
        let Some(holders) = self.holders.get_mut(&address) else { return false };
        holders.retain(|holder| holder != service);
        if !holders.is_empty() {
            return false;
        }
        self.holders.remove(&address);
        self.outside.remove(&address);
        if let Some(range) = self.range_mut(address) {
            range.taken.remove(to_bits(address));
        }
        true
    }

    fn range_mut(&mut self, address: IpAddr) -> Option<&mut RangeUse> {
        let (_, found) = self.ranges.range_mut(..=address).next_back()?;
        found.range.contains(address).then_some(found)
    }

    /// The Services that hold the address.
    #[must_use]
    pub fn holders(&self, address: IpAddr) -> &[ServiceName] {
        self.holders.get(&address).map_or(&[], Vec::as_slice)
    }

    /// The number of distinct addresses of the range in use.
    #[must_use]
    pub fn used(&self, range: AddressRange) -> u128 {
        self.ranges.get(&range.first()).map_or(0, |found| found.taken.len())
    }

    /// The addresses in use that lie in no range.
    #[must_use]
    pub const fn outside(&self) -> &BTreeSet<IpAddr> {
        &self.outside
    }

    /// The lowest address of a range that nobody holds.
    #[must_use]
    pub fn lowest_free(&self, range: AddressRange) -> Option<IpAddr> {
        let found = self.ranges.get(&range.first()).filter(|found| found.range == range)?;
        let bits = found.taken.lowest_missing(to_bits(range.first()), to_bits(range.last()))?;
        from_bits(range.family(), bits)
    }

    /// The addresses that other Services with this key hold, sorted, each once.
    #[must_use]
    pub fn addresses_of_key(&self, key: &SharingKey, service: &ServiceName) -> BTreeSet<IpAddr> {
        let sharers = self.keys.get(key).into_iter().flatten().filter(|sharer| *sharer != service);
        sharers.flat_map(|sharer| self.held_by(sharer)).copied().collect()
    }

    /// A holder with which the Service may not share the address, and why.
    #[must_use]
    pub fn conflict(
        &self,
        address: IpAddr,
        service: &ServiceName,
        sharing: &Sharing,
    ) -> Option<(&ServiceName, SharingConflict)> {
        self.holders(address).iter().filter(|holder| *holder != service).find_map(|holder| {
            let theirs = self.services.get(holder).map(|known| &known.sharing);
            let conflict = theirs.map_or(Some(SharingConflict::Key), |theirs| sharing.conflict(theirs))?;
            Some((holder, conflict))
        })
    }

    /// Whether the other holders let the Service have the address.
    ///
    /// # Errors
    /// The holder that rules it out, and why.
    pub fn check(&self, address: IpAddr, service: &ServiceName, sharing: &Sharing) -> Result<(), Refusal> {
        match self.conflict(address, service, sharing) {
            None => Ok(()),
            Some((holder, SharingConflict::Key)) => Err(Refusal::Taken { address, holder: holder.to_string() }),
            Some((holder, SharingConflict::Port(port))) => {
                Err(Refusal::Port { port, holder: holder.to_string(), address })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn range(text: &str) -> AddressRange {
        text.parse().unwrap()
    }

    fn name(text: &str) -> ServiceName {
        ServiceName::new("shop", text)
    }

    #[test]
    fn a_64_costs_nothing_and_counts_correctly() {
        let mut table = AddressTable::default();
        let all = range("2001:db8::/64");
        table.set_ranges([all]);
        assert_eq!(table.lowest_free(all), Some("2001:db8::".parse().unwrap()));
        for number in 0..1000_u32 {
            let address = table.lowest_free(all).unwrap();
            assert_eq!(to_bits(address) - to_bits(all.first()), u128::from(number));
            table.hold(&name(&number.to_string()), &[address]);
        }
        assert_eq!(table.used(all), 1000);
    }

    #[test]
    fn an_address_outside_is_not_allocated_when_the_range_grows() {
        let mut table = AddressTable::default();
        table.set_ranges([range("10.0.0.0/30")]);
        table.hold(&name("a"), &["10.0.0.4".parse().unwrap()]);
        assert_eq!(table.outside().len(), 1);
        let grown = range("10.0.0.4-10.0.0.7");
        table.set_ranges([grown]);
        assert_eq!(table.outside().len(), 0);
        assert_eq!(table.lowest_free(grown), Some("10.0.0.5".parse().unwrap()));
    }

    #[derive(Debug, Clone)]
    enum Operation {
        Hold(u8, Vec<u8>),
        Ranges(Vec<(u8, u8)>),
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            7 => (0_u8..6, prop::collection::btree_set(0_u8..32, 0..4)).prop_map(|(who, held)| Operation::Hold(who, held.into_iter().collect())),
            1 => prop::collection::vec((0_u8..32, 0_u8..8), 0..4).prop_map(Operation::Ranges),
        ]
    }

    fn address(number: u8, six: bool) -> IpAddr {
        if six { format!("2001:db8::{number:x}").parse().unwrap() } else { IpAddr::from([10, 0, 0, number]) }
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_model(six in any::<bool>(), operations in prop::collection::vec(operation(), 0..200)) {
            let mut table = AddressTable::default();
            let mut naive: BTreeMap<IpAddr, BTreeSet<u8>> = BTreeMap::new();
            let mut ranges: Vec<AddressRange> = Vec::new();
            for operation in operations {
                match operation {
                    Operation::Hold(who, wanted) => {
                        let before: BTreeSet<IpAddr> = naive.keys().copied().collect();
                        for holders in naive.values_mut() {
                            holders.remove(&who);
                        }
                        for &number in &wanted {
                            naive.entry(address(number, six)).or_default().insert(who);
                        }
                        naive.retain(|_, holders| !holders.is_empty());
                        let wanted: Vec<IpAddr> = wanted.into_iter().map(|number| address(number, six)).collect();
                        let freed: BTreeSet<IpAddr> = table.hold(&name(&who.to_string()), &wanted).into_iter().collect();
                        let naive_freed: BTreeSet<IpAddr> = before.into_iter().filter(|a| !naive.contains_key(a)).collect();
                        prop_assert_eq!(freed, naive_freed);
                    }
                    Operation::Ranges(wanted) => {
                        ranges.clear();
                        for (first, length) in wanted {
                            let range = AddressRange::new(address(first, six), address(first + length, six)).unwrap();
                            if ranges.iter().all(|other| !other.overlaps(range)) {
                                ranges.push(range);
                            }
                        }
                        table.set_ranges(ranges.clone());
                    }
                }
                for &range in &ranges {
                    let used = naive.keys().filter(|address| range.contains(**address)).count();
                    prop_assert_eq!(table.used(range), u128::try_from(used).unwrap());
                    let free = (0..=255).map(|n| address(n, six)).find(|a| range.contains(*a) && !naive.contains_key(a));
                    prop_assert_eq!(table.lowest_free(range), free);
                }
                let outside: BTreeSet<IpAddr> =
                    naive.keys().copied().filter(|a| ranges.iter().all(|range| !range.contains(*a))).collect();
                prop_assert_eq!(table.outside(), &outside);
            }
        }
    }
}
