//! What the kernel has that the protocol did not put there: the answer to members that ask for it.
//!
//! An address on an interface on which a service proxy keeps VIPs of the whole cluster is none of them. What somebody
//! else put on any other interface is foreign; what the agent put on the dummy interface is a route.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::reserved::{SERVICE_PROXY_INTERFACES, names_a_host};
use ownership::KernelHolding;

use super::Table;
use crate::model::address::{AddressKey, KernelAddress, MARK};
use crate::model::observed::{Change, Observed};

/// The addresses on interfaces for remote ones, and what was reported of all others.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// The addresses on interfaces for remote ones, and whether the agent put them there.
    remote: BTreeMap<AddressKey, bool>,
    reported: BTreeMap<IpAddr, KernelHolding>,
    /// What may have changed since the last report.
    touched: BTreeSet<IpAddr>,
}

impl Holdings {
    /// Something happened to these addresses.
    pub fn touch<'a>(&mut self, addresses: impl IntoIterator<Item = &'a IpAddr>) {
        self.touched.extend(addresses);
    }

    /// Takes the addresses on interfaces for remote ones out of a dump.
    pub fn split(&mut self, observed: &mut Observed, is_remote: impl Fn(u32) -> bool, marks_addresses: bool) {
        self.touch(&self.remote.keys().map(|key| key.ip).collect::<Vec<_>>());
        self.remote.clear();
        self.take(observed, is_remote, marks_addresses);
        self.touch(&observed.addresses.keys().map(|key| key.ip).collect::<Vec<_>>());
    }

    /// Takes the addresses on these interfaces over.
    pub fn take(&mut self, observed: &mut Observed, is_remote: impl Fn(u32) -> bool, marks_addresses: bool) {
        let all = std::mem::take(&mut observed.addresses);
        let (moved, kept): (BTreeMap<_, _>, BTreeMap<_, _>) =
            all.into_iter().partition(|(key, _)| is_remote(key.index));
        observed.addresses = kept;
        for (key, found) in moved {
            self.touched.insert(key.ip);
            self.remote.insert(key, is_from_us(&found, marks_addresses));
        }
    }

    /// Applies a change of an interface for remote addresses, or of an interface that is gone.
    pub fn apply(&mut self, change: &Change, marks_addresses: bool) {
        match change {
            Change::Address(key, found) => {
                self.touched.insert(key.ip);
                self.remote.insert(*key, is_from_us(found, marks_addresses));
            }
            Change::NoAddress(key) => {
                self.touched.insert(key.ip);
                self.remote.remove(key);
            }
            Change::NoLink(index) => {
                self.touched.extend(self.remote.keys().filter(|key| key.index == *index).map(|key| key.ip));
                self.remote.retain(|key, _| key.index != *index);
            }
            _ => {}
        }
    }

    fn of(&self, ip: IpAddr) -> impl Iterator<Item = (&AddressKey, bool)> {
        let first = AddressKey { ip, index: 0, prefix_len: 0 };
        let last = AddressKey { ip, index: u32::MAX, prefix_len: u8::MAX };
        self.remote.range(first..=last).map(|(key, ours)| (key, *ours))
    }
}

/// Whether an address on an interface for remote ones is from the agent. Where the kernel cannot mark addresses, all of
/// them count as such.
fn is_from_us(found: &KernelAddress, marks_addresses: bool) -> bool {
    found.mark == Some(MARK) || !marks_addresses
}

/// Whether an address is there: not while duplicate address detection runs, nor when it has found another host.
fn is_there(key: &AddressKey, found: &KernelAddress) -> bool {
    key.ip.is_ipv4() || found.usable || found.preferred == Some(0)
}

impl Table {
    /// What changed since the last call.
    pub(in crate::local) fn take_holdings(&mut self) -> Vec<(IpAddr, Option<KernelHolding>)> {
        let mut changes = Vec::new();
        for ip in std::mem::take(&mut self.holdings.touched).into_iter().filter(|ip| names_a_host(*ip)) {
            let holding = self.holding(ip);
            let before = match holding {
                Some(holding) => self.holdings.reported.insert(ip, holding),
                None => self.holdings.reported.remove(&ip),
            };
            if before != holding {
                changes.push((ip, holding));
            }
        }
        changes
    }

    /// How the kernel has an address that the protocol does not hold.
    fn holding(&self, ip: IpAddr) -> Option<KernelHolding> {
        if self.owned.contains(&ip) {
            return None;
        }
        let proxied = |key: &AddressKey| SERVICE_PROXY_INTERFACES.contains(&self.observed().name_of(key.index));
        let foreign = |key: &AddressKey, found: &KernelAddress| {
            // Where the kernel cannot mark addresses, one with a lifetime may be left from an earlier run.
            let may_be_ours = !self.marks_addresses && found.valid.is_some();
            !proxied(key) && is_there(key, found) && !may_be_ours && !self.ours().includes(key, found)
        };
        let remote: Vec<bool> = self.holdings.of(ip).filter(|(key, _)| !proxied(key)).map(|(_, ours)| ours).collect();
        if remote.contains(&false) || self.observed().of(ip).any(|(key, found)| foreign(key, found)) {
            return Some(KernelHolding::Foreign);
        }
        (!remote.is_empty()).then_some(KernelHolding::Remote)
    }
}
