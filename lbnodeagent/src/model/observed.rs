//! The kernel's state as last heard: links, addresses, default routes.
//!
//! A dump fills it and notifications keep it current. It does not depend on netlink, so tests build one by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::Family;

use crate::model::address::{AddressKey, KernelAddress};
use crate::model::link::{DefaultRoute, Link};

/// One change in the kernel.
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
    /// A default route has replaced the one with the same metric in the same table. For IPv6 there may be
    /// several of those, through different interfaces.
    Replacement(DefaultRoute),
    /// A default route is gone.
    NoRoute(DefaultRoute),
}

/// What a change affects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Affected {
    /// Addresses that appeared, changed or disappeared.
    pub addresses: BTreeSet<IpAddr>,
    /// An interface appeared, changed or disappeared.
    pub links: bool,
    /// A default route appeared or disappeared.
    pub routes: bool,
}

impl Affected {
    /// Whether it affects nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && !self.links && !self.routes
    }

    /// Adds what another change affects.
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
    /// Addresses in order of their IP.
    pub addresses: BTreeMap<AddressKey, KernelAddress>,
    /// Default routes of both families.
    pub routes: BTreeSet<DefaultRoute>,
    /// IPv6 addresses that were added and that the kernel has not reported yet. It reports them when duplicate
    /// address detection is over, and does so later and on another thread even if there is none
    /// (`addrconf_dad_work`).
    underway: BTreeSet<AddressKey>,
}

impl Observed {
    /// Applies a change; returns what it affects.
    pub fn apply(&mut self, change: Change) -> Affected {
        let mut changes = Affected::default();
        match change {
            Change::Link(index, link) => {
                // The kernel sends such a message for every change of a counter.
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
                // An address that is deleted and added again at once is underway before its deletion
                // is reported.
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

    /// An address is about to be added that the kernel does not have. IPv4 addresses are reported at once.
    pub fn expect(&mut self, key: AddressKey) {
        if key.ip.is_ipv6() {
            self.underway.insert(key);
        }
    }

    /// The kernel refused the address.
    pub fn expect_no_more(&mut self, key: &AddressKey) {
        self.underway.remove(key);
    }

    /// It is not known any more which addresses were added.
    pub fn expect_nothing(&mut self) {
        self.underway.clear();
    }

    /// Expects no report of this address any more. The kernel knows an IPv6 address once per interface: one
    /// that is added with another prefix length changes nothing and is not reported.
    fn expect_nothing_of(&mut self, ip: IpAddr, index: u32) {
        let lengths = AddressKey { ip, index, prefix_len: 0 }..=AddressKey { ip, index, prefix_len: u8::MAX };
        while let Some(key) = self.underway.range(lengths.clone()).next().copied() {
            self.underway.remove(&key);
        }
    }

    /// Whether the address was added and will be reported.
    #[must_use]
    pub fn expects(&self, key: &AddressKey) -> bool {
        self.underway.contains(key)
    }

    /// Removes the IPv4 default routes that the kernel drops together with an address: all of its interface if
    /// it was the last one there, and those that name it as their source if the host has it nowhere else.
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

    /// Removes IPv4 default routes that the kernel drops by itself (`fib_flush`), for example when an interface
    /// is set down. It reports such drops for IPv6 only. Returns whether there was any.
    fn forget_ipv4_routes(&mut self, dropped: impl Fn(&DefaultRoute) -> bool) -> bool {
        let before = self.routes.len();
        self.routes.retain(|route| route.family == Family::V6 || !dropped(route));
        self.routes.len() != before
    }

    /// What differs in another state. Lifetimes are not compared.
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

    /// All occurrences of an address.
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
