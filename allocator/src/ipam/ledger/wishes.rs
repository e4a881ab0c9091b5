//! What Services want, have and give back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Ledger;
use crate::ipam::call::Ask;
use crate::service::Name;

impl Ledger {
    /// A Service wants this of a group.
    pub fn ask(&mut self, group: &str, name: &Name, ask: Ask) {
        if let Some(pool) = self.pools.get_mut(group) {
            pool.leases.entry(name.clone()).or_default().ask(ask);
            self.enqueue(group, name);
        }
    }

    /// Addresses that were given cannot be used; see [`Lease::reject`].
    pub fn reject(&mut self, group: &str, name: &Name, addresses: &[IpAddr], why: Option<&str>) {
        let now = self.now;
        if let Some(lease) = self.pools.get_mut(group).and_then(|pool| pool.leases.get_mut(name)) {
            lease.reject(addresses, why, now);
            self.enqueue(group, name);
        }
    }

    /// A Service has these addresses by its status: after a restart that is all there is to know.
    pub fn note(&mut self, name: &Name, has: &BTreeMap<&str, BTreeSet<IpAddr>>) {
        for (group, addresses) in has {
            if let Some(pool) = self.pools.get_mut(*group) {
                let lease = pool.leases.entry(name.clone()).or_default();
                lease.held.extend(addresses);
                lease.sent = true;
            }
        }
    }

    /// A Service is at rest: it has `needed` of some groups and asks some for more. All else is given back.
    /// Returns the groups for which that is news.
    pub fn settle(
        &mut self,
        name: &Name,
        needed: &BTreeMap<&str, BTreeSet<IpAddr>>,
        asked: &[(String, Ask)],
    ) -> Vec<String> {
        let (mut touched, mut changed) = (Vec::new(), Vec::new());
        for (group, pool) in &mut self.pools {
            let none = BTreeSet::new();
            let needed = needed.get(group.as_str()).unwrap_or(&none);
            let Some(lease) = pool.leases.get_mut(name) else { continue };
            let owed = lease.owes();
            if asked.iter().any(|(asked, _)| asked == group) {
                lease.give_back_but(needed);
            } else {
                lease.keep(needed);
            }
            if lease.owes() != owed {
                touched.push(group.clone());
            }
            if lease.is_over() {
                pool.leases.remove(name);
            } else {
                changed.push(group.clone());
            }
        }
        for group in &changed {
            self.enqueue(group, name);
        }
        touched
    }

    /// A write is under way after which a Service has these addresses; see [`Lease::leave`].
    pub fn leave(&mut self, name: &Name, kept: &[IpAddr], asked: &[(String, Ask)]) {
        for (group, pool) in &mut self.pools {
            if let Some(lease) = pool.leases.get_mut(name) {
                lease.leave(asked.iter().any(|(asked, _)| asked == group), kept);
            }
        }
    }

    /// A Service is gone: all it had is given back. `marked` are groups that its annotations name, which count also if
    /// nothing else is known of it. Returns the groups for which that is news.
    pub fn forget<'a>(&mut self, name: &Name, marked: impl Iterator<Item = &'a str>) -> Vec<String> {
        for group in marked {
            if let Some(pool) = self.pools.get_mut(group) {
                pool.leases.entry(name.clone()).or_default().sent = true;
            }
        }
        let mut touched = Vec::new();
        for (group, pool) in &mut self.pools {
            let Some(lease) = pool.leases.get_mut(name) else { continue };
            lease.end();
            if lease.is_over() {
                pool.leases.remove(name);
            } else {
                touched.push(group.clone());
            }
        }
        for group in &touched {
            self.enqueue(group, name);
        }
        touched
    }

    /// A leader before may have asked for this Service, and not have come to write what it got.
    pub fn suspect(&mut self, name: &Name, key: &str) {
        for pool in self.pools.values_mut() {
            pool.leases.entry(name.clone()).or_default().suspect(key);
        }
    }

    /// Something that a leader before could not give back: one address, or all.
    pub fn recall(&mut self, group: &str, name: &Name, address: Option<IpAddr>) {
        let Some(pool) = self.pools.get_mut(group) else { return };
        let lease = pool.leases.entry(name.clone()).or_default();
        lease.sent = true;
        match address {
            Some(address) => {
                lease.held.insert(address);
                lease.back.insert(address);
            }
            None => lease.back_all = true,
        }
        self.enqueue(group, name);
    }
}
