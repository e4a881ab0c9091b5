//! Adding addresses to the kernel and removing them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use nix::errno::Errno;
use ownership::NodeId;
use runtime::BootTime;

use super::Table;
use crate::kernel::netlink::requests::{BATCH, Kernel};
use crate::local::messages::{Applied, Update};
use crate::model::address::AddressKey;
use crate::model::operation::{Failure, Operation, Purpose};
use crate::model::placement::Placement;

impl Table {
    /// Sets the placement of an address for which this node is a candidate. If the address is here already, the kernel's
    /// is changed to match. Returns whether the kernel refused that.
    pub(in crate::local) fn place(&mut self, placement: Placement) -> bool {
        let ip = placement.key.ip;
        self.placements.insert(ip, placement);
        let here = self.owned.contains(&ip) && self.held.get(&ip) != Some(&placement);
        here && !self.add(&[ip], &BTreeMap::new()).is_empty()
    }

    /// This node is no candidate for the address any more.
    pub(in crate::local) fn forget(&mut self, ip: IpAddr) {
        self.placements.remove(&ip);
    }

    /// Adds addresses to the kernel. Returns those that it refused; the protocol has them removed then, for a part of the
    /// operations may have been done. `from` names the previous owners.
    pub(in crate::local) fn add(&mut self, addresses: &[IpAddr], from: &BTreeMap<IpAddr, NodeId>) -> Vec<IpAddr> {
        self.owned.extend(addresses);
        let now = BootTime::now();
        let mut failed = Vec::new();
        for ip in addresses {
            match self.placements.get(ip) {
                Some(placement) => drop(self.held.insert(*ip, *placement)),
                // The protocol adds only addresses for which this node is a candidate.
                None => failed.push(*ip),
            }
        }
        let operations = self.plan().operations(addresses.iter().copied().filter(|ip| self.held.contains_key(ip)));
        let (done, refused) = self.write(&operations);
        for ip in addresses {
            let Some(placement) = self.held.get(ip).copied() else { continue };
            if let Some(failure) = refused.get(ip) {
                self.send(Update::Failed(*failure));
                failed.push(*ip);
                continue;
            }
            let repaired = self.missing.remove(ip);
            if repaired {
                self.repair_limit.repaired(*ip, now);
            }
            let purpose = done.get(ip).copied();
            self.send(Update::Applied(Applied { placement, purpose, repaired, from: from.get(ip).cloned() }));
        }
        failed
    }

    /// Removes addresses from the kernel.
    pub(in crate::local) fn remove(&mut self, addresses: &[IpAddr]) {
        let mut keys = Vec::new();
        for ip in addresses {
            self.owned.remove(ip);
            self.missing.remove(ip);
            self.postponed.remove(ip);
            keys.extend(self.held.remove(ip).map(|placement| placement.key));
        }
        let mut operations = self.plan().operations(addresses.iter().copied());
        // The kernel updates a new IPv6 address some time after it has it.
        let planned: BTreeSet<AddressKey> = operations.iter().map(|operation| *operation.key()).collect();
        let unseen = keys.iter().filter(|key| !planned.contains(key) && !self.observed().addresses.contains_key(key));
        operations.extend(unseen.map(|key| Operation::Delete(*key)).collect::<Vec<_>>());
        let (_, refused) = self.write(&operations);
        if !refused.is_empty() {
            self.observer.set_stale();
        }
        for key in keys {
            if let Some(failure) = refused.get(&key.ip) {
                self.send(Update::Failed(*failure));
            }
            self.send(Update::Withdrawn(key));
        }
    }

    /// Extends the lifetimes of what earlier runs left, until it is known what the cluster wants.
    pub(in crate::local) fn extend(&mut self) {
        let operations = self.plan().extensions(self.grace, true);
        self.write(&operations);
    }

    /// Carries operations out; returns for which purpose an address was changed, and what the kernel refused.
    pub(super) fn write(&mut self, operations: &[Operation]) -> (BTreeMap<IpAddr, Purpose>, BTreeMap<IpAddr, Failure>) {
        let (mut done, mut failed) = (BTreeMap::new(), BTreeMap::new());
        for batch in operations.chunks(BATCH) {
            let results = self.kernel.apply(batch).unwrap_or_else(|error| {
                tracing::error!(op = "netlink", %error, "cannot write local addresses");
                self.reopen();
                vec![Err(Errno::EIO); batch.len()]
            });
            for (operation, result) in batch.iter().zip(results) {
                self.metrics.count_operation(operation, result);
                match (operation, result) {
                    (operation, Err(errno)) => {
                        failed.insert(operation.key().ip, Failure::of(operation, errno));
                    }
                    (Operation::Put(entry, purpose), Ok(())) => {
                        done.entry(entry.key.ip).or_insert(*purpose);
                    }
                    (Operation::Delete(key), Ok(())) => drop(self.recorded.remove(key)),
                }
            }
            self.settle(batch);
        }
        (done, failed)
    }

    /// Replaces the socket after a failure: nobody knows which answers are still to come on the old one.
    pub(super) fn reopen(&mut self) {
        match Kernel::open() {
            Ok(kernel) => self.kernel = kernel,
            Err(error) => tracing::error!(op = "netlink", %error, "cannot open a socket to the kernel"),
        }
    }
}
