//! What the kernel updates, and which of it was not our own doing.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;
use runtime::BootTime;

use super::{Findings, Table};
use crate::decide::networks::own_addresses;
use crate::kernel::marks::marks_addresses;
use crate::kernel::netlink::monitor::Notifications;
use crate::local::messages::{Applied, Update};
use crate::model::address::{AddressKey, MARK};
use crate::model::observed::Change;
use crate::model::operation::Operation;

/// After so long it is looked again whether the host's own address of the network is back.
const UNCONNECTED: Duration = Duration::from_millis(10);

impl Table {
    /// Takes over what the kernel updates.
    pub(in crate::local) fn hear(&mut self) {
        let Notifications { changes, lost } = self.monitor.hear();
        self.findings.stale |= lost;
        let mut gone = BTreeSet::new();
        let mut touched = BTreeSet::new();
        for change in changes {
            if let Change::NoAddress(key) = &change
                && self.held.get(&key.ip).is_some_and(|placement| placement.key == *key)
            {
                gone.insert(key.ip);
            }
            if let Change::NoLink(index) = &change {
                gone.extend(self.held.iter().filter(|(_, held)| held.key.index == *index).map(|(ip, _)| *ip));
            }
            if self.is_remote(&change) {
                continue;
            }
            let stray = match &change {
                Change::Address(key, found) => !self.ours.contains(&key.ip) && found.mark == Some(MARK),
                _ => false,
            };
            // It was reported after we had deleted it, or somebody else uses our mark.
            self.findings.stale |= stray;
            // Where the kernel cannot mark an address, it is ours from the moment on in which we put it there.
            if let Change::Address(key, found) = &change
                && !marks_addresses()
                && found.mark.is_none()
                && self.held.get(&key.ip).is_some_and(|placement| placement.key == *key)
            {
                self.recorded.insert(*key);
            }
            let below = match &change {
                Change::Address(key, found) if found.secondary && !self.ours.contains(&key.ip) => Some(*key),
                _ => None,
            };
            touched.extend(below.iter().filter_map(|key| self.above(key)));
            let changes = self.observed.apply(change);
            if changes.links {
                self.note_remote_links();
                self.findings.interfaces = true;
            }
            for ip in changes.addresses {
                if self.ours.contains(&ip) {
                    touched.insert(ip);
                } else {
                    self.findings.interfaces = true;
                }
            }
        }
        let now = BootTime::now();
        self.lose(&gone, now);
        // Somebody changed one of ours: it gets its attributes back.
        touched.retain(|ip| {
            self.held.get(ip).is_some_and(|held| self.observed.addresses.contains_key(&held.key))
                && self.repair_limit.until(*ip, now).is_none()
        });
        let operations = self.plan().operations(touched);
        let repaired: BTreeSet<IpAddr> = operations.iter().map(|operation| operation.key().ip).collect();
        for ip in repaired {
            self.repair_limit.repaired(ip, now);
        }
        let (done, refused) = self.write(&operations);
        // What was to be put again may be gone.
        self.lose(&refused.into_keys().collect(), now);
        for (ip, why) in done {
            if let Some(placement) = self.held.get(&ip).copied() {
                self.update(Update::Applied(Applied { placement, why: Some(why), repaired: true, from: None }));
            }
        }
    }

    /// Addresses that we hold are not in the kernel any more: what of that is told now, and what later.
    ///
    /// Where the host's own address of the network is gone too, ours does not come back: it would become the primary
    /// one, and the own address would get no connected route when it returns. In that time it is seen whether the node
    /// takes part in the address at all.
    pub(super) fn lose(&mut self, gone: &BTreeSet<IpAddr>, now: BootTime) {
        if gone.is_empty() {
            return;
        }
        let networks = self.own_networks();
        for ip in gone {
            let Some(placement) = self.held.get(ip) else { continue };
            if self.observed.addresses.contains_key(&placement.key) {
                continue;
            }
            match self.put_off(&placement.key, &networks, now) {
                Some(at) => drop(self.later.insert(*ip, at)),
                None => drop(self.findings.lost.insert(*ip)),
            }
        }
    }

    /// When the loss of an address is to be told, if not now.
    fn put_off(&self, key: &AddressKey, networks: &[(u32, IpNetwork)], now: BootTime) -> Option<BootTime> {
        let connected = networks.iter().any(|(index, own)| *index == key.index && own.contains(key.ip));
        self.repair_limit.until(key.ip, now).or_else(|| (!connected).then(|| now + UNCONNECTED))
    }

    /// What a reading of the kernel shows to be gone: what is not to be told now is told later.
    pub(super) fn miss(&mut self) {
        let (now, networks) = (BootTime::now(), self.own_networks());
        let gone = self.held.values().filter(|held| !self.observed.addresses.contains_key(&held.key));
        for key in gone.map(|held| held.key).collect::<Vec<_>>() {
            match self.put_off(&key, &networks, now) {
                Some(at) => drop(self.later.entry(key.ip).or_insert(at)),
                None => drop(self.missing.insert(key.ip)),
            }
        }
    }

    /// The address of ours that is the primary one of this address's network, if any.
    fn above(&self, key: &AddressKey) -> Option<IpAddr> {
        let primary = |other: &&AddressKey| {
            other.index == key.index
                && other.prefix_len == key.prefix_len
                && other.network() == key.network()
                && self.observed.addresses.get(other).is_some_and(|found| !found.secondary)
        };
        self.held.values().map(|placement| &placement.key).find(primary).map(|key| key.ip)
    }

    /// The networks that the host's own addresses make it part of, each with its interface.
    fn own_networks(&self) -> Vec<(u32, IpNetwork)> {
        let indices: BTreeSet<u32> = self.held.values().map(|placement| placement.key.index).collect();
        let keys = indices
            .iter()
            .flat_map(|index| own_addresses(&self.observed, *index, |key, found| self.is_vip(key, found.mark)));
        keys.filter_map(|key| Some((key.index, key.network()?))).collect()
    }

    /// Whether it concerns an address on an interface for remote ones.
    fn is_remote(&self, change: &Change) -> bool {
        matches!(change, Change::Address(key, _) | Change::NoAddress(key) if self.remote_links.contains(&key.index))
    }

    /// What happened since the last call.
    pub(in crate::local) fn findings(&mut self) -> Findings {
        let now = BootTime::now();
        let due: BTreeSet<IpAddr> = self.later.iter().filter(|(_, at)| **at <= now).map(|(ip, _)| *ip).collect();
        for ip in &due {
            self.later.remove(ip);
        }
        self.lose(&due, now);
        let findings = std::mem::take(&mut self.findings);
        self.missing.extend(findings.lost.iter().copied());
        findings
    }

    /// Takes over what our own writing changed, so that it is not mistaken for somebody else's.
    pub(super) fn settle(&mut self, batch: &[Operation]) {
        let Notifications { changes, lost } = self.monitor.hear();
        self.findings.stale |= lost;
        let own: BTreeSet<IpAddr> = batch.iter().map(|operation| operation.key().ip).collect();
        let mut gone = Vec::new();
        for change in changes {
            if let Change::NoAddress(key) = change
                && !batch.contains(&Operation::Delete(key))
            {
                gone.push(key);
            }
            if self.is_remote(&change) {
                continue;
            }
            let changes = self.observed.apply(change);
            if changes.links {
                self.note_remote_links();
            }
            let foreign = changes.addresses.iter().any(|ip| !own.contains(ip));
            self.findings.interfaces |= changes.links || foreign;
        }
        // Whoever took it out was faster than this look.
        gone.retain(|key| {
            self.held.get(&key.ip).is_some_and(|held| held.key == *key) && !self.observed.addresses.contains_key(key)
        });
        self.later.extend(gone.into_iter().map(|key| (key.ip, BootTime::now())));
        for operation in batch {
            // What is put back for its owner is his.
            if let Operation::Put(entry, _) = operation
                && entry.mark == Some(MARK)
                && self.observed.addresses.get(&entry.key).is_some_and(|found| found.mark != Some(MARK))
            {
                self.recorded.insert(entry.key);
            }
        }
    }
}
