//! Which Service holds which address, and which addresses are reserved.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use api_types::{AddressRange, SharingKey};

use super::address_set::AddressSet;
use super::range_use::RangeUse;
use super::refusal::{OtherService, Refusal};
use super::reserved::{Reserved, ReservedFor};
use crate::model::{ServiceName, Sharing, SharingConflict};

/// One Service.
#[derive(Debug, Default)]
struct Holder {
    sharing: Sharing,
    addresses: Vec<IpAddr>,
}

/// All addresses in use, and all ranges. No two ranges overlap.
///
/// A Service may hold an address that lies in no range. The table keeps it, so that nobody else gets the address when a
/// range grows over it. A Service may also hold a reserved address: the reservation binds what is given, not what a
/// Service has.
#[derive(Debug, Default)]
pub struct AddressTable {
    holders: BTreeMap<IpAddr, Vec<ServiceName>>,
    services: HashMap<ServiceName, Holder>,
    keys: BTreeMap<SharingKey, BTreeSet<ServiceName>>,
    /// By first address.
    ranges: BTreeMap<IpAddr, RangeUse>,
    outside: BTreeSet<IpAddr>,
    reserved: Reserved,
    held_back: AddressSet,
}

impl AddressTable {
    /// Replaces the ranges, which must not overlap. Only a new range costs O(n) of its addresses in use or reserved.
    pub fn set_ranges(&mut self, ranges: impl IntoIterator<Item = AddressRange>) {
        let mut old = std::mem::take(&mut self.ranges);
        for range in ranges {
            let known = old.remove(&range.first()).filter(|known| known.range == range);
            let range_use = known.unwrap_or_else(|| self.use_of(range));
            self.ranges.insert(range.first(), range_use);
        }
        let outside = self.holders.keys().copied().filter(|&address| self.range_of(address).is_none()).collect();
        self.outside = outside;
    }

    fn use_of(&self, range: AddressRange) -> RangeUse {
        let mut found = RangeUse::new(range);
        let held = self.holders.range(range.first()..=range.last()).map(|(&address, _)| address);
        for address in held.chain(self.reserved.within(range)) {
            found.record(address, self.holders.contains_key(&address), self.reserved.strength(address));
        }
        found
    }

    /// Replaces the addresses that are reserved for this. Returns those that were added or removed.
    pub fn set_reserved(&mut self, reserved_for: &ReservedFor, addresses: &[IpAddr]) -> Vec<IpAddr> {
        let changed = self.reserved.set(reserved_for, addresses);
        for &address in &changed {
            self.record(address);
        }
        changed
    }

    /// Brings the range of the address in line with its holders and its reservation. Returns whether it lies in a range.
    fn record(&mut self, address: IpAddr) -> bool {
        let (held, strength) = (self.holders.contains_key(&address), self.reserved.strength(address));
        let Some(range) = self.range_mut(address) else { return false };
        range.record(address, held, strength);
        true
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
        if holders.len() == 1 && !self.record(address) {
            self.outside.insert(address);
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
        self.record(address);
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

    fn range_use(&self, range: AddressRange) -> Option<&RangeUse> {
        self.ranges.get(&range.first()).filter(|found| found.range == range)
    }

    /// The Services that hold an address of the range.
    pub fn holders_in(&self, range: AddressRange) -> impl Iterator<Item = &ServiceName> {
        self.holders.range(range.first()..=range.last()).flat_map(|(_, holders)| holders)
    }

    /// The number of distinct addresses of the range in use.
    #[must_use]
    pub fn used(&self, range: AddressRange) -> u128 {
        self.range_use(range).map_or(0, RangeUse::held)
    }

    /// The number of addresses of the range that can be given.
    #[must_use]
    pub fn available(&self, range: AddressRange) -> u128 {
        self.range_use(range).map_or(0, RangeUse::free)
    }

    /// The number of addresses of the range that no Service holds and none may be given.
    #[must_use]
    pub fn forbidden(&self, range: AddressRange) -> u128 {
        self.range_use(range).map_or(0, RangeUse::forbidden)
    }

    /// The addresses in use that lie in no range.
    #[must_use]
    pub const fn outside(&self) -> &BTreeSet<IpAddr> {
        &self.outside
    }

    /// Replaces the addresses that are given only if there are no others: a late write of an earlier leader may give them.
    pub fn hold_back(&mut self, addresses: AddressSet) {
        self.held_back = addresses;
    }

    /// The lowest free address of the first of these ranges that has one: first one that is not reserved at all, then
    /// one that is only avoided. One that is held back only if there is no other of its kind.
    #[must_use]
    pub fn lowest_free(&self, ranges: &[AddressRange]) -> Option<IpAddr> {
        let nothing = AddressSet::default();
        let found = |lowest: fn(&RangeUse, &AddressSet) -> Option<IpAddr>| {
            let lowest = |held_back: &AddressSet| {
                ranges.iter().filter_map(|range| self.range_use(*range)).find_map(|range| lowest(range, held_back))
            };
            lowest(&self.held_back).or_else(|| lowest(&nothing))
        };
        found(RangeUse::lowest_free).or_else(|| found(RangeUse::lowest_available))
    }

    /// The part of the range that begins with its lowest free address and has so many free ones, or to its end.
    #[must_use]
    pub fn lowest_part(&self, range: AddressRange, count: u128) -> Option<AddressRange> {
        self.range_use(range)?.part(self.lowest_free(&[range])?, count)
    }

    /// For whom the address is reserved, apart from a Node whose status lists it while a Service holds it: cloud
    /// providers and kubelets list what we announce there.
    pub fn reserved_for(&self, address: IpAddr) -> impl Iterator<Item = &ReservedFor> {
        let held = self.holders.contains_key(&address);
        self.reserved.of(address).filter(move |found| !(held && matches!(found, ReservedFor::NodeStatus(_))))
    }

    /// The reserved addresses of a range, in order, with the one for whom each is reserved first.
    pub fn reserved_in(&self, range: AddressRange) -> impl Iterator<Item = (IpAddr, &ReservedFor)> {
        self.reserved.within(range).filter_map(|address| Some((address, self.reserved_for(address).next()?)))
    }

    /// Whether a Service of the namespace may be given this very address, as far as reservations go. One that is in
    /// `spec.externalIPs` is for Services of that namespace.
    ///
    /// # Errors
    /// Whose it is.
    pub fn check_reserved(&self, address: IpAddr, namespace: &str) -> Result<(), Refusal> {
        let is_own = |found: &&ReservedFor| matches!(found, ReservedFor::ExternalIp(service) if service.namespace() == namespace);
        let forbids = self.reserved_for(address).find(|found| found.forbids());
        let avoided =
            || self.reserved_for(address).next().filter(|_| !self.reserved_for(address).any(|found| is_own(&found)));
        match forbids.or_else(avoided) {
            None => Ok(()),
            Some(found) => Err(Refusal::Reserved { address, whose: found.seen_from(namespace) }),
        }
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
        let Some((holder, conflict)) = self.conflict(address, service, sharing) else { return Ok(()) };
        let holder = OtherService::new(holder, service);
        Err(match conflict {
            SharingConflict::Key => Refusal::Taken { address, holder },
            SharingConflict::Port(port) => Refusal::Port { port, holder, address },
        })
    }
}

#[cfg(test)]
mod tests;
