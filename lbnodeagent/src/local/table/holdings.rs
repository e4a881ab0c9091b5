//! The addresses on interfaces for remote ones, and what may have changed of what the kernel has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ownership::KernelHolding;

use crate::model::address::{AddressKey, KernelAddress, MARK};
use crate::model::observed::{Change, Observed};

/// The addresses on interfaces for remote ones, and what was reported of all others.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// The addresses on interfaces for remote ones, and whether the agent put them there.
    remote: BTreeMap<AddressKey, bool>,
    pub reported: BTreeMap<IpAddr, KernelHolding>,
    /// What may have changed since the last report.
    pub touched: BTreeSet<IpAddr>,
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

    /// What is there of an address, and whether the agent put it there.
    pub fn of(&self, ip: IpAddr) -> impl Iterator<Item = (&AddressKey, bool)> {
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
