//! Held addresses that somebody else removed from the kernel, and when the protocol is told.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;
use runtime::BootTime;

use super::{Findings, Table};
use crate::decide::networks::own_addresses;
use crate::model::address::AddressKey;

/// How long a loss is postponed while the host has no address of its own in the network.
const UNCONNECTED: Duration = Duration::from_millis(10);

impl Table {
    /// What happened since the last call.
    pub(in crate::local) fn take_findings(&mut self) -> Findings {
        let now = BootTime::now();
        let due: BTreeSet<IpAddr> = self.postponed.iter().filter(|(_, at)| **at <= now).map(|(ip, _)| *ip).collect();
        for ip in &due {
            self.postponed.remove(ip);
        }
        self.lose(&due, now);
        let findings = std::mem::take(&mut self.findings);
        self.missing.extend(findings.lost.iter().copied());
        findings
    }

    /// Reports addresses that the kernel does not have any more, now or later.
    ///
    /// Where the host's own address of the network is gone too, ours is not added again at once: it would become the
    /// primary one, and the host's own would get no connected route when it returns. Meanwhile it shows whether this
    /// node still takes part in the address at all.
    pub(super) fn lose(&mut self, gone: &BTreeSet<IpAddr>, now: BootTime) {
        if gone.is_empty() {
            return;
        }
        let networks = self.own_networks();
        for ip in gone {
            let Some(placement) = self.held.get(ip) else { continue };
            if self.observed().addresses.contains_key(&placement.key) {
                continue;
            }
            match self.postponed_until(&placement.key, &networks, now) {
                Some(at) => drop(self.postponed.insert(*ip, at)),
                None => drop(self.findings.lost.insert(*ip)),
            }
        }
    }

    /// Notes which held addresses a dump did not contain. The protocol gets the whole list anyway; a loss that is not
    /// to be reported now is postponed.
    pub(super) fn note_missing(&mut self) {
        let (now, networks) = (BootTime::now(), self.own_networks());
        let gone = self.held.values().filter(|held| !self.observed().addresses.contains_key(&held.key));
        for key in gone.map(|held| held.key).collect::<Vec<_>>() {
            match self.postponed_until(&key, &networks, now) {
                Some(at) => drop(self.postponed.entry(key.ip).or_insert(at)),
                None => drop(self.missing.insert(key.ip)),
            }
        }
    }

    /// When the loss of an address is reported, if not now.
    fn postponed_until(&self, key: &AddressKey, networks: &[(u32, IpNetwork)], now: BootTime) -> Option<BootTime> {
        let connected = networks.iter().any(|(index, own)| *index == key.index && own.contains(key.ip));
        self.repair_limit.until(key.ip, now).or_else(|| (!connected).then(|| now + UNCONNECTED))
    }

    /// The networks that the host's own addresses make it part of, each with its interface.
    fn own_networks(&self) -> Vec<(u32, IpNetwork)> {
        let indices: BTreeSet<u32> = self.held.values().map(|placement| placement.key.index).collect();
        let keys = indices.iter().flat_map(|index| own_addresses(self.observed(), *index, self.ours()));
        keys.filter_map(|key| Some((key.index, key.network()?))).collect()
    }
}
