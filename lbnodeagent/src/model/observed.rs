//! What the kernel has: links, addresses, default routes.
//!
//! Filled by a dump, kept current by notifications, and asked by everything that decides. It knows
//! nothing of netlink, so tests build one by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::Family;

use crate::model::address::{AddressKey, KernelAddress};
use crate::model::link::{DefaultRoute, Link};

/// One thing that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An interface appeared or changed.
    Link(u32, Link),
    /// An interface is gone, and with it its addresses.
    NoLink(u32),
    /// An address appeared or changed.
    Address(AddressKey, KernelAddress),
    /// An address is gone.
    NoAddress(AddressKey),
    /// A default route appeared.
    Route(DefaultRoute),
    /// A default route appeared in the place of the one with the same metric in the same table. IPv6 may have several of
    /// these, of different interfaces.
    Replacement(DefaultRoute),
    /// A default route is gone.
    NoRoute(DefaultRoute),
}

/// What [`Observed::apply`] found changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Affected {
    /// Addresses that appeared, changed or went.
    pub addresses: BTreeSet<IpAddr>,
    /// An interface appeared, changed or went.
    pub links: bool,
    /// A default route appeared or went.
    pub routes: bool,
}

impl Affected {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && !self.links && !self.routes
    }

    /// Adds what another found.
    pub fn extend(&mut self, other: Self) {
        self.addresses.extend(other.addresses);
        self.links |= other.links;
        self.routes |= other.routes;
    }
}

/// Links, addresses and default routes of this network namespace.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Interfaces by index.
    pub links: BTreeMap<u32, Link>,
    /// Addresses, those of one IP together.
    pub addresses: BTreeMap<AddressKey, KernelAddress>,
    /// Default routes of both families.
    pub routes: BTreeSet<DefaultRoute>,
    /// IPv6 addresses that the kernel was given and has not reported: it does so when duplicate address detection is
    /// through, which even without any is done later and elsewhere (`addrconf_dad_work`).
    underway: BTreeSet<AddressKey>,
}

impl Observed {
    /// Takes over one change and says what it changed.
    pub fn apply(&mut self, change: Change) -> Affected {
        let mut changes = Affected::default();
        match change {
            Change::Link(index, link) => {
                // The kernel sends a message for every counter; most change nothing for us.
                changes.links = self.links.get(&index) != Some(&link);
                changes.routes = !link.up && self.forget_ipv4_routes(|route| route.index == index);
                self.links.insert(index, link);
            }
            Change::NoLink(index) => {
                changes.links = self.links.remove(&index).is_some();
                let gone: Vec<AddressKey> = self.addresses.keys().filter(|key| key.index == index).copied().collect();
                for key in gone {
                    self.addresses.remove(&key);
                    changes.addresses.insert(key.ip);
                }
                self.routes.retain(|route| route.index != index);
                self.underway.retain(|key| key.index != index);
            }
            Change::Address(key, address) => {
                self.addresses.insert(key, address);
                self.expect_nothing_of(key.ip, key.index);
                changes.addresses.insert(key.ip);
            }
            Change::NoAddress(key) => {
                // What is deleted and put again in one go is underway before the deletion is reported.
                if self.addresses.remove(&key).is_some() {
                    changes.addresses.insert(key.ip);
                    changes.routes = self.forget_routes_with(&key);
                } else if self.underway.remove(&key) {
                    changes.addresses.insert(key.ip);
                }
            }
            Change::Route(route) => changes.routes = self.routes.insert(route),
            Change::Replacement(route) => {
                let place = |route: &DefaultRoute| {
                    let index = (route.family == Family::V6).then_some(route.index);
                    (route.family, route.table, route.metric, index)
                };
                let before = self.routes.clone();
                self.routes.retain(|other| place(other) != place(&route));
                self.routes.insert(route);
                changes.routes = self.routes != before;
            }
            Change::NoRoute(route) => changes.routes = self.routes.remove(&route),
        }
        changes
    }

    /// The kernel is about to be given an address that it does not have. IPv4 addresses are reported at once.
    pub fn expect(&mut self, key: AddressKey) {
        if key.ip.is_ipv6() {
            self.underway.insert(key);
        }
    }

    /// The kernel refused it.
    pub fn expect_no_more(&mut self, key: &AddressKey) {
        self.underway.remove(key);
    }

    /// Nobody can say any more what the kernel was given.
    pub fn expect_nothing(&mut self) {
        self.underway.clear();
    }

    /// IPv6 knows an address once per interface. Given with another prefix length, the one that is there stays as it is,
    /// and is not reported as what was given.
    fn expect_nothing_of(&mut self, ip: IpAddr, index: u32) {
        let lengths = AddressKey { ip, index, prefix_len: 0 }..=AddressKey { ip, index, prefix_len: u8::MAX };
        while let Some(key) = self.underway.range(lengths.clone()).next().copied() {
            self.underway.remove(&key);
        }
    }

    /// Whether the kernel was given the address and will report it.
    #[must_use]
    pub fn expects(&self, key: &AddressKey) -> bool {
        self.underway.contains(key)
    }

    /// Drops the IPv4 routes that go with an address: all of its interface with the last one there, and those that
    /// name it as their source when the host has it no more.
    fn forget_routes_with(&mut self, gone: &AddressKey) -> bool {
        let IpAddr::V4(ip) = gone.ip else { return false };
        let concerns = |route: &DefaultRoute| route.index == gone.index || route.source == Some(ip);
        if !self.routes.iter().any(concerns) {
            return false;
        }
        let last = !self.addresses.keys().any(|key| key.index == gone.index && key.ip.is_ipv4());
        let nowhere = self.of(gone.ip).next().is_none();
        self.forget_ipv4_routes(|route| last && route.index == gone.index || nowhere && route.source == Some(ip))
    }

    /// The kernel reports no IPv4 route that it drops by itself (`fib_flush`), as when an interface is set down; it
    /// does report IPv6 ones. Returns whether there was any.
    fn forget_ipv4_routes(&mut self, dropped: impl Fn(&DefaultRoute) -> bool) -> bool {
        let before = self.routes.len();
        self.routes.retain(|route| route.family == Family::V6 || !dropped(route));
        self.routes.len() != before
    }

    /// What differs in another state, lifetimes apart.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Affected {
        let same = |one: &KernelAddress, two: &KernelAddress| {
            one.mark == two.mark && one.no_prefix_route == two.no_prefix_route && one.secondary == two.secondary
        };
        let missing = |from: &Self, to: &Self| -> Vec<IpAddr> {
            let differs = |(key, address): &(&AddressKey, &KernelAddress)| {
                to.addresses.get(key).is_none_or(|there| !same(address, there))
            };
            from.addresses.iter().filter(differs).map(|(key, _)| key.ip).collect()
        };
        let addresses = missing(self, other).into_iter().chain(missing(other, self)).collect();
        Affected { addresses, links: self.links != other.links, routes: self.routes != other.routes }
    }

    /// Everything that the kernel has for an address.
    pub fn of(&self, ip: IpAddr) -> impl Iterator<Item = (&AddressKey, &KernelAddress)> {
        let first = AddressKey { ip, index: 0, prefix_len: 0 };
        let last = AddressKey { ip, index: u32::MAX, prefix_len: u8::MAX };
        self.addresses.range(first..=last)
    }

    /// The index of the interface with this name.
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<u32> {
        self.links.iter().find(|(_, link)| link.name == name).map(|(index, _)| *index)
    }

    /// The name of an interface; empty if it is gone.
    #[must_use]
    pub fn name_of(&self, index: u32) -> &str {
        self.links.get(&index).map_or("", |link| link.name.as_str())
    }
}

#[cfg(test)]
#[path = "observed_tests.rs"]
mod tests;
