//! Changes that the kernel reports, and which of them are not our own doing.

use std::collections::BTreeSet;
use std::net::IpAddr;

use runtime::BootTime;

use super::Table;
use crate::local::messages::{Applied, Update};
use crate::model::address::{AddressKey, MARK};
use crate::model::observed::Change;
use crate::model::operation::Operation;

impl Table {
    /// Applies the notifications that have come, and repairs held addresses that somebody changed.
    pub(in crate::local) fn listen(&mut self) {
        let mut gone = BTreeSet::new();
        let mut touched = BTreeSet::new();
        for change in self.observer.changes() {
            gone.extend(self.held_that_go_with(&change));
            if self.is_remote(&change) {
                continue;
            }
            if let Change::Address(key, found) = &change {
                let held_here = self.held.get(&key.ip).is_some_and(|placement| placement.key == *key);
                // Where the kernel cannot mark an address, it is ours as soon as it is where we put it.
                if !self.marks_addresses && found.mark.is_none() && held_here {
                    self.recorded.insert(*key);
                }
                if !self.owned.contains(&key.ip) {
                    // It was reported after we had deleted it, or another program uses our mark.
                    if found.mark == Some(MARK) {
                        self.observer.set_stale();
                    }
                    if found.secondary {
                        touched.extend(self.held_above(key));
                    }
                }
            }
            let affected = self.observer.apply(change);
            if affected.links {
                self.update_remote_links();
                self.findings.interfaces = true;
            }
            for ip in affected.addresses {
                if self.owned.contains(&ip) {
                    touched.insert(ip);
                } else {
                    self.findings.interfaces = true;
                }
            }
        }
        let now = BootTime::now();
        self.lose(&gone, now);
        self.repair(touched, now);
    }

    /// Gives held addresses that somebody changed their attributes back.
    fn repair(&mut self, mut touched: BTreeSet<IpAddr>, now: BootTime) {
        touched.retain(|ip| {
            self.held.get(ip).is_some_and(|held| self.observed().addresses.contains_key(&held.key))
                && self.repair_limit.until(*ip, now).is_none()
        });
        let operations = self.plan().operations(touched);
        let repaired: BTreeSet<IpAddr> = operations.iter().map(|operation| operation.key().ip).collect();
        for ip in repaired {
            self.repair_limit.repaired(ip, now);
        }
        let (done, refused) = self.write(&operations);
        // An address that was to be added again may be gone.
        self.lose(&refused.into_keys().collect(), now);
        for (ip, purpose) in done {
            if let Some(placement) = self.held.get(&ip).copied() {
                self.send(Update::Applied(Applied { placement, purpose: Some(purpose), repaired: true, from: None }));
            }
        }
    }

    /// The held addresses that this change removes.
    fn held_that_go_with(&self, change: &Change) -> Vec<IpAddr> {
        match change {
            Change::NoAddress(key) => {
                let held = self.held.get(&key.ip).filter(|placement| placement.key == *key);
                held.map(|placement| placement.key.ip).into_iter().collect()
            }
            Change::NoLink(index) => {
                self.held.iter().filter(|(_, held)| held.key.index == *index).map(|(ip, _)| *ip).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The held address that is the primary one of this address's network, if any.
    fn held_above(&self, key: &AddressKey) -> Option<IpAddr> {
        let primary = |other: &&AddressKey| {
            other.index == key.index
                && other.prefix_len == key.prefix_len
                && other.network() == key.network()
                && self.observed().addresses.get(other).is_some_and(|found| !found.secondary)
        };
        self.held.values().map(|placement| &placement.key).find(primary).map(|key| key.ip)
    }

    /// Whether a change concerns an address on an interface for remote ones.
    fn is_remote(&self, change: &Change) -> bool {
        matches!(change, Change::Address(key, _) | Change::NoAddress(key) if self.remote_links.contains(&key.index))
    }

    /// Applies the notifications of our own writing, so that it is not mistaken for somebody else's.
    pub(super) fn settle(&mut self, batch: &[Operation]) {
        let own: BTreeSet<IpAddr> = batch.iter().map(|operation| operation.key().ip).collect();
        let mut gone = Vec::new();
        for change in self.observer.changes() {
            if let Change::NoAddress(key) = change
                && !batch.contains(&Operation::Delete(key))
            {
                gone.push(key);
            }
            if self.is_remote(&change) {
                continue;
            }
            let affected = self.observer.apply(change);
            if affected.links {
                self.update_remote_links();
            }
            let foreign = affected.addresses.iter().any(|ip| !own.contains(ip));
            self.findings.interfaces |= affected.links || foreign;
        }
        // Somebody removed a held address before its notification was read.
        gone.retain(|key| {
            self.held.get(&key.ip).is_some_and(|held| held.key == *key) && !self.observed().addresses.contains_key(key)
        });
        self.postponed.extend(gone.into_iter().map(|key| (key.ip, BootTime::now())));
        for operation in batch {
            // An address that is restored for its owner keeps its owner's mark and is not recorded.
            if let Operation::Put(entry, _) = operation
                && entry.mark == Some(MARK)
                && self.observed().addresses.get(&entry.key).is_some_and(|found| found.mark != Some(MARK))
            {
                self.recorded.insert(entry.key);
            }
        }
    }
}
