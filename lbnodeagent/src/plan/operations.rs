//! From what should be and what is to the operations that make them agree.
//!
//! A plan adopts what matches, repairs what does not, and deletes only what is ours. It is made for a set of
//! addresses at a time, and is empty when there is nothing to do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use runtime::BootTime;

use crate::model::address::{AddressKey, KernelAddress};
use crate::model::observed::Observed;
use crate::model::operation::{Entry, Operation, Purpose};
use crate::model::ours::Ours;
use crate::model::placement::Placement;
use crate::model::writer::Writer;

/// What a plan is made from.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// Where addresses should be. One with an aggregate beside it has two places.
    pub desired: &'a BTreeMap<IpAddr, Placement>,
    /// Where addresses that are no Service's should be: the anchors of aggregates.
    pub anchors: &'a BTreeMap<IpAddr, Placement>,
    /// The kernel's state as last heard.
    pub observed: &'a Observed,
    /// Which addresses in the kernel are ours.
    pub ours: Ours<'a>,
    /// The interfaces for remote addresses ([`crate::decide::interfaces::remote_links`]).
    pub remote_links: &'a BTreeSet<u32>,
    /// Who makes the plan, and so which interfaces it covers.
    pub writer: Writer,
    /// Whether addresses that are not desired are deleted: every first list is complete.
    pub sweep: bool,
    /// Seconds until the next full comparison. Addresses that would expire soon after it are renewed now.
    pub interval: u32,
    /// The time.
    pub now: BootTime,
}

impl Plan<'_> {
    /// The operations for these addresses, in the order in which they must be done.
    #[must_use]
    pub fn operations(&self, addresses: impl IntoIterator<Item = IpAddr>) -> Vec<Operation> {
        let mut puts = Vec::new();
        let mut deletes = Vec::new();
        let mut addresses: BTreeSet<IpAddr> = addresses.into_iter().collect();
        let usurped = self.usurped(&addresses);
        if !usurped.is_empty() {
            let there = |key: &AddressKey| network(key).is_some_and(|network| usurped.contains(&network));
            addresses.extend(self.desired.values().map(|desired| desired.key).filter(there).map(|key| key.ip));
        }
        for ip in addresses {
            for placement in self.wanted(ip) {
                self.put(&placement, &usurped, &mut puts, &mut deletes);
            }
            if self.wanted(ip).next().is_none() && !self.sweep {
                continue;
            }
            let superfluous = self.observed.of(ip).filter(|(key, found)| {
                let elsewhere = |placement: Placement| placement.key != **key && !self.waits(key, &placement);
                self.wanted(ip).all(elsewhere) && self.is_ours(key, found)
            });
            deletes.extend(superfluous.map(|(key, _)| *key));
        }
        self.ordered(puts, deletes)
    }

    /// Where an address should be.
    pub(super) fn wanted(&self, ip: IpAddr) -> impl Iterator<Item = Placement> {
        let desired = self.desired.get(&ip).copied();
        let beside = desired.and_then(|placement| placement.aggregate_beside());
        [desired, beside, self.anchors.get(&ip).copied()].into_iter().flatten()
    }

    /// All addresses of ours in the kernel, whether they are desired or not.
    pub fn ours_in_kernel(&self) -> impl Iterator<Item = IpAddr> {
        self.observed.addresses.iter().filter(|(key, found)| self.is_ours(key, found)).map(|(key, _)| key.ip)
    }

    /// Whether the address is ours and the plan may delete it.
    #[must_use]
    pub fn is_ours(&self, key: &AddressKey, found: &KernelAddress) -> bool {
        self.covers(key.index) && self.ours.includes(key, found)
    }

    /// Whether an address stays until its successor on another dummy interface is reported. The kernel accepts
    /// an IPv6 address some time before it has its routes and reports it. If the old address went at once,
    /// programs that import the routes would see none for a moment.
    fn waits(&self, key: &AddressKey, successor: &Placement) -> bool {
        let to = &successor.key;
        to.ip.is_ipv6()
            && to.index != key.index
            && self.remote_links.contains(&to.index)
            && !self.observed.addresses.contains_key(to)
    }

    fn covers(&self, index: u32) -> bool {
        match self.writer {
            Writer::Remote => self.remote_links.contains(&index),
            Writer::Local => !self.remote_links.contains(&index),
            Writer::Sole => true,
        }
    }

    /// Gives our addresses a lifetime of `grace` seconds, so that they outlive a time in which nobody knows
    /// what the cluster wants. With `only_running_out`, those that live for more than half of that are left as
    /// they are.
    #[must_use]
    pub fn extensions(&self, grace: u32, only_running_out: bool) -> Vec<Operation> {
        let ours = self.observed.addresses.iter().filter(|(key, found)| self.is_ours(key, found));
        ours.filter(|(_, found)| !only_running_out || found.remaining(self.now).is_some_and(|left| left < grace / 2))
            .map(|(key, found)| Operation::Put(Entry::extended(*key, found, grace, self.now), Purpose::Renew))
            .collect()
    }

    /// The networks of real interfaces in which one of these addresses is the primary one and the host's own
    /// address a secondary one, for example after a renumbering with `promote_secondaries`. The kernel makes
    /// the connected route only for the primary address, and ours has none. Until the host's own address is the
    /// primary one, the host cannot reach its network.
    fn usurped(&self, addresses: &BTreeSet<IpAddr>) -> BTreeSet<(u32, IpNetwork)> {
        let local = |key: &&AddressKey| key.ip.is_ipv4() && !self.remote_links.contains(&key.index);
        let keys = addresses.iter().filter_map(|ip| self.desired.get(ip)).map(|placement| &placement.key).filter(local);
        let primary = keys.filter(|key| {
            self.observed.addresses.get(key).is_some_and(|found| !found.secondary && self.is_ours(key, found))
        });
        let mut networks: BTreeSet<(u32, IpNetwork)> = primary.filter_map(network).collect();
        networks.retain(|place| {
            let own = |(key, found): (&AddressKey, &KernelAddress)| {
                found.secondary && network(key) == Some(*place) && !self.is_ours(key, found)
            };
            self.observed.addresses.iter().any(own)
        });
        networks
    }

    fn put(
        &self,
        placement: &Placement,
        usurped: &BTreeSet<(u32, IpNetwork)>,
        puts: &mut Vec<Operation>,
        deletes: &mut Vec<AddressKey>,
    ) {
        let entry = Entry::ours(placement);
        let Some(found) = self.observed.addresses.get(&placement.key) else {
            if !self.observed.expects(&placement.key) {
                puts.push(Operation::Put(entry, Purpose::Add));
            }
            return;
        };
        if network(&placement.key).is_some_and(|network| usurped.contains(&network)) {
            deletes.push(placement.key);
            puts.push(Operation::Put(entry, Purpose::Restore));
        } else if found.no_prefix_route != entry.no_prefix_route
            && placement.key.ip.is_ipv4()
            && self.is_ours(&placement.key, found)
        {
            // The kernel cannot change this flag of an IPv4 address. Of an IPv6 address it can, together
            // with the route.
            deletes.push(placement.key);
            puts.push(Operation::Put(entry, Purpose::Add));
        } else if self.needs_renewal(&entry, found) {
            if entry.no_prefix_route {
                puts.extend(self.made_permanent(&placement.key));
            }
            puts.push(Operation::Put(entry, Purpose::Renew));
        }
    }

    /// What is done before an IPv6 address or its connected route is removed. The kernel removes the route
    /// together with an address only if that has no lifetime; otherwise it keeps the route until the lifetime
    /// is over (`ipv6_del_addr`, `inet6_addr_modify`).
    pub(super) fn made_permanent(&self, key: &AddressKey) -> Option<Operation> {
        let found = self.observed.addresses.get(key)?;
        let stays = key.ip.is_ipv6() && found.valid.is_some() && !found.no_prefix_route;
        stays.then(|| {
            let found = Entry::found(*key, found, self.now);
            let preferred = found.preferred.filter(|preferred| *preferred == 0);
            Operation::Put(Entry { valid: None, preferred, ..found }, Purpose::Renew)
        })
    }

    fn needs_renewal(&self, entry: &Entry, found: &KernelAddress) -> bool {
        let foreign = !self.ours.includes(&entry.key, found);
        let lifetime = match (entry.valid, found.remaining(self.now)) {
            (None, None) => false,
            // Renewed after half of the lifetime (specification, announcing.md 7), and before the next
            // comparison would be too late.
            (Some(desired), Some(left)) => left <= (desired / 2).saturating_add(self.interval) || left > desired,
            _ => true,
        };
        let route = entry.key.ip.is_ipv6() && found.no_prefix_route != entry.no_prefix_route;
        // An IPv4 address is chosen as a source whether it is deprecated or not.
        let source = entry.key.ip.is_ipv6() && entry.preferred == Some(0) && found.preferred != Some(0);
        foreign || self.ours.lacks_mark(found) || lifetime || route || source
    }
}

/// For a writer that has no aggregates.
pub static NO_ANCHORS: BTreeMap<IpAddr, Placement> = BTreeMap::new();

/// The interface and network that an IPv4 address shares with others. A host route shares its network with none.
pub(super) fn network(key: &AddressKey) -> Option<(u32, IpNetwork)> {
    (key.ip.is_ipv4() && key.prefix_len < 32).then(|| key.network().map(|network| (key.index, network)))?
}

#[cfg(test)]
#[path = "operations_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "operations_properties.rs"]
mod properties;
