//! What the kernel reports, and which of it was not our own doing.

use std::collections::BTreeSet;
use std::net::IpAddr;

use runtime::BootTime;

use super::{News, Table};
use crate::netlink::Heard;
use crate::observed::{Change, MARK};
use crate::reconcile::Operation;

impl Table {
    /// Takes over what the kernel reports.
    pub(in crate::local) fn hear(&mut self) {
        let Heard { changes, lost } = self.monitor.hear();
        self.news.unsure |= lost;
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
            self.news.unsure |= stray;
            let changes = self.observed.apply(change);
            if changes.links {
                self.note_remote_links();
                self.news.interfaces = true;
            }
            for ip in changes.addresses {
                if self.ours.contains(&ip) {
                    touched.insert(ip);
                } else {
                    self.news.interfaces = true;
                }
            }
        }
        let now = BootTime::now();
        for ip in gone {
            let Some(placement) = self.held.get(&ip) else { continue };
            if self.observed.addresses.contains_key(&placement.key) {
                continue;
            }
            match self.restraint.until(ip, now) {
                Some(at) => drop(self.later.insert(ip, at)),
                None => drop(self.news.lost.insert(ip)),
            }
        }
        // Somebody changed one of ours: it gets its attributes back.
        touched.retain(|ip| {
            self.held.get(ip).is_some_and(|held| self.observed.addresses.contains_key(&held.key))
                && self.restraint.until(*ip, now).is_none()
        });
        let operations = self.plan().operations(touched);
        for operation in &operations {
            self.restraint.repaired(operation.key().ip, now);
        }
        self.write(&operations);
    }

    /// Whether it concerns an address on an interface for remote ones.
    fn is_remote(&self, change: &Change) -> bool {
        matches!(change, Change::Address(key, _) | Change::NoAddress(key) if self.remote_links.contains(&key.index))
    }

    /// What happened since the last call.
    pub(in crate::local) fn news(&mut self) -> News {
        let now = BootTime::now();
        let due: Vec<IpAddr> = self.later.iter().filter(|(_, at)| **at <= now).map(|(ip, _)| *ip).collect();
        for ip in due {
            self.later.remove(&ip);
            let gone = self.held.get(&ip).is_some_and(|held| !self.observed.addresses.contains_key(&held.key));
            if gone {
                self.news.lost.insert(ip);
            }
        }
        let news = std::mem::take(&mut self.news);
        self.missing.extend(news.lost.iter().copied());
        news
    }

    /// Takes over what our own writing changed, so that it is not mistaken for somebody else's.
    pub(super) fn settle(&mut self, batch: &[Operation]) {
        let Heard { changes, lost } = self.monitor.hear();
        self.news.unsure |= lost;
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
            self.news.interfaces |= changes.links || foreign;
        }
        // Whoever took it out was faster than this look.
        gone.retain(|key| {
            self.held.get(&key.ip).is_some_and(|held| held.key == *key) && !self.observed.addresses.contains_key(key)
        });
        self.later.extend(gone.into_iter().map(|key| (key.ip, BootTime::now())));
        for operation in batch {
            if let Operation::Put(entry, _) = operation
                && self.observed.addresses.get(&entry.key).is_some_and(|found| found.mark != Some(MARK))
            {
                self.recorded.insert(entry.key);
            }
        }
    }
}
