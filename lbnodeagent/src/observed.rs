//! What the kernel has: links, addresses, default routes.
//!
//! Filled by a dump, kept current by notifications, and asked by everything that decides. It knows
//! nothing of netlink, so tests build one by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use api_types::Family;
use ipnetwork::IpNetwork;
use runtime::BootTime;

/// The mark (`IFA_PROTO`, Linux 5.18) on every address that we add: `ip address` shows it as
/// `proto 0x4c` (an L, for load balancer). The kernel uses 1 to 3; other programs are free to use
/// any number, so the mark counts only together with what we want or with an interface of ours.
pub const MARK: u8 = 0x4c;

/// A network interface.
#[allow(clippy::struct_excessive_bools, reason = "they are the kernel's flags")]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Set up by the administrator (`IFF_UP`).
    pub up: bool,
    /// The cable is in (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// The loopback interface.
    pub loopback: bool,
    /// Asks and answers by ARP and neighbour discovery: no `IFF_NOARP`, which dummy interfaces have.
    pub resolves: bool,
    /// Its Ethernet address, if it has one.
    pub mac: Option<[u8; 6]>,
}

impl Link {
    /// Whether packets can pass.
    #[must_use]
    pub const fn works(&self) -> bool {
        self.up && self.carrier
    }
}

/// Names one address of the kernel: the kernel tells addresses apart by just these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressKey {
    /// The address.
    pub ip: IpAddr,
    /// Index of its interface.
    pub index: u32,
    /// Prefix length in bits.
    pub prefix_len: u8,
}

impl AddressKey {
    /// The network that the address makes its interface part of.
    #[must_use]
    pub fn network(&self) -> Option<IpNetwork> {
        let network = IpNetwork::new(self.ip, self.prefix_len).ok()?;
        IpNetwork::new(network.network(), self.prefix_len).ok()
    }
}

/// The attributes of an address in the kernel.
#[allow(clippy::struct_excessive_bools, reason = "they are the kernel's flags")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelAddress {
    /// Who added it (`IFA_PROTO`).
    pub mark: Option<u8>,
    /// Seconds that it is valid, counted from `seen`; nothing means for ever.
    pub valid: Option<u32>,
    /// Seconds that it is preferred, counted from `seen`; nothing means for ever.
    pub preferred: Option<u32>,
    /// When the kernel said so.
    pub seen: BootTime,
    /// IPv4: another address of the same network is the primary one.
    pub secondary: bool,
    /// Without the connected route.
    pub no_prefix_route: bool,
    /// Not tentative, not deprecated, not failed: fit to say which subnet the interface is in.
    pub usable: bool,
    /// The scope (`RT_SCOPE_*`), 0 for global.
    pub scope: u8,
    /// IPv4: the broadcast address.
    pub broadcast: Option<Ipv4Addr>,
    /// IPv4: a label other than the interface's name, such as `eth0:1`.
    pub label: Option<Box<str>>,
}

impl KernelAddress {
    /// Seconds that it is still valid; nothing means for ever.
    #[must_use]
    pub fn remaining(&self, now: BootTime) -> Option<u32> {
        let passed = u32::try_from(now.since(self.seen).as_secs()).unwrap_or(u32::MAX);
        self.valid.map(|valid| valid.saturating_sub(passed))
    }
}

/// A route to everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefaultRoute {
    /// Its family.
    pub family: Family,
    /// The lowest metric wins.
    pub metric: u32,
    /// Number of its routing table.
    pub table: u32,
    /// Index of its interface; of a route with several next hops, of the first.
    pub index: u32,
    /// The next hop there; nothing if the network itself is on the link.
    pub gateway: Option<IpAddr>,
    /// IPv4: the source address that it gives to packets, if it says so. It does not outlive that address.
    pub source: Option<Ipv4Addr>,
}

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
pub struct Changes {
    /// Addresses that appeared, changed or went.
    pub addresses: BTreeSet<IpAddr>,
    /// An interface appeared, changed or went.
    pub links: bool,
    /// A default route appeared or went.
    pub routes: bool,
}

impl Changes {
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
    pub fn apply(&mut self, change: Change) -> Changes {
        let mut changes = Changes::default();
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
    pub fn differences(&self, other: &Self) -> Changes {
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
        Changes { addresses, links: self.links != other.links, routes: self.routes != other.routes }
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
pub(crate) mod testing {
    //! States of the kernel for tests.

    use super::*;

    /// An address as an administrator adds it.
    pub fn plain() -> KernelAddress {
        KernelAddress {
            mark: None,
            valid: None,
            preferred: None,
            seen: BootTime::default(),
            secondary: false,
            no_prefix_route: false,
            usable: true,
            scope: 0,
            broadcast: None,
            label: None,
        }
    }

    /// An address as we add it for ever.
    pub fn ours() -> KernelAddress {
        KernelAddress { mark: Some(MARK), ..plain() }
    }

    /// A key from `192.0.2.1/24`.
    pub fn key(index: u32, cidr: &str) -> AddressKey {
        let network: IpNetwork = cidr.parse().unwrap();
        AddressKey { ip: network.ip(), index, prefix_len: network.prefix() }
    }

    /// A node: `lo` is 1, `eth0` is 2 with `192.168.50.11/24` and `fd00:50::11/64`, `kube-lb0` is 3,
    /// `eth1` is 4 with `10.1.0.11/24`; the default routes use `eth0`.
    pub fn node() -> Observed {
        let link = |name: &str| Link {
            name: name.to_owned(),
            up: true,
            carrier: true,
            loopback: name == "lo",
            resolves: name != "kube-lb0",
            mac: Some([2, 0, 0, 0, 0, 1]),
        };
        let mut observed = Observed::default();
        for (index, name) in [(1, "lo"), (2, "eth0"), (3, "kube-lb0"), (4, "eth1")] {
            observed.apply(Change::Link(index, link(name)));
        }
        for (index, cidr) in [
            (1, "127.0.0.1/8"),
            (1, "::1/128"),
            (2, "192.168.50.11/24"),
            (2, "fd00:50::11/64"),
            (2, "fe80::1/64"),
            (4, "10.1.0.11/24"),
        ] {
            observed.apply(Change::Address(key(index, cidr), plain()));
        }
        for family in Family::ALL {
            observed.apply(Change::Route(DefaultRoute {
                family,
                metric: 100,
                table: 254,
                index: 2,
                gateway: None,
                source: None,
            }));
        }
        observed
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{key, node, plain};
    use super::*;

    #[test]
    fn a_removed_link_takes_its_addresses_along() {
        let mut observed = node();
        let changes = observed.apply(Change::NoLink(4));
        assert!(changes.links);
        assert_eq!(changes.addresses, ["10.1.0.11".parse().unwrap()].into());
        assert_eq!(observed.of("10.1.0.11".parse().unwrap()).count(), 0);
    }

    #[test]
    fn what_is_as_before_is_no_change() {
        let mut observed = node();
        let link = observed.links[&2].clone();
        assert!(observed.apply(Change::Link(2, link)).is_empty());
        assert!(observed.apply(Change::NoAddress(key(2, "192.0.2.1/24"))).is_empty());
    }

    #[test]
    fn what_the_kernel_was_given_is_expected_until_it_says_more() {
        let (mut observed, key) = (node(), key(3, "2001:db8::1/64"));
        observed.expect(key);
        assert!(observed.expects(&key));
        observed.apply(Change::Address(key, plain()));
        assert!(!observed.expects(&key));
        // Deleted and put again in one go: it is still to come. Deleted by somebody else before that: it is not.
        observed.expect(key);
        assert_eq!(observed.apply(Change::NoAddress(key)).addresses, [key.ip].into());
        assert!(observed.expects(&key));
        assert_eq!(observed.apply(Change::NoAddress(key)).addresses, [key.ip].into());
        assert!(!observed.expects(&key));
        observed.expect(key);
        observed.apply(Change::NoLink(key.index));
        assert!(!observed.expects(&key));
        // The kernel had it already, with another prefix length.
        observed.expect(key);
        observed.apply(Change::Address(AddressKey { prefix_len: 128, ..key }, plain()));
        assert!(!observed.expects(&key));
    }

    #[test]
    fn differences_are_found_in_both_directions() {
        let one = node();
        let mut two = node();
        two.apply(Change::NoAddress(key(4, "10.1.0.11/24")));
        two.apply(Change::Address(key(4, "10.1.0.12/24"), plain()));
        let expected: BTreeSet<IpAddr> = ["10.1.0.11".parse().unwrap(), "10.1.0.12".parse().unwrap()].into();
        assert_eq!(one.differences(&two).addresses, expected);
        assert_eq!(two.differences(&one).addresses, expected);
        assert!(one.differences(&node()).is_empty());
    }

    /// Which IPv4 default routes are left: their metrics.
    fn metrics(observed: &Observed) -> Vec<u32> {
        observed.routes.iter().filter(|route| route.family == Family::V4).map(|route| route.metric).collect()
    }

    #[test]
    fn a_route_in_the_place_of_another_takes_it_away() {
        let mut observed = node();
        let route = DefaultRoute { family: Family::V4, metric: 100, table: 254, index: 4, gateway: None, source: None };
        assert!(observed.apply(Change::Replacement(route)).routes);
        assert!(!observed.apply(Change::Replacement(route)).routes);
        assert!(observed.apply(Change::Replacement(DefaultRoute { table: 10, ..route })).routes);
        let indices: Vec<_> = observed.routes.iter().map(|route| (route.family, route.table, route.index)).collect();
        assert_eq!(indices, [(Family::V4, 10, 4), (Family::V4, 254, 4), (Family::V6, 254, 2)]);
    }

    #[test]
    fn ipv4_routes_go_without_notice() {
        let route = |metric, index, source: Option<&str>| {
            let source = source.map(|source| source.parse().unwrap());
            Change::Route(DefaultRoute { family: Family::V4, metric, table: 254, index, gateway: None, source })
        };
        let mut before = node();
        before.apply(Change::Address(key(4, "10.1.0.12/24"), plain()));
        before.apply(route(200, 4, None));
        before.apply(route(300, 4, Some("10.1.0.11")));
        let mut observed = before.clone();
        let down = Link { up: false, ..observed.links[&4].clone() };
        assert!(observed.apply(Change::Link(4, down)).routes);
        assert_eq!((metrics(&observed), observed.routes.len()), (vec![100], 2));
        // The source of one goes.
        let mut observed = before.clone();
        assert!(!observed.apply(Change::NoAddress(key(4, "10.1.0.12/24"))).routes);
        let mut observed = before.clone();
        assert!(observed.apply(Change::NoAddress(key(4, "10.1.0.11/24"))).routes);
        assert_eq!(metrics(&observed), [100, 200]);
        // The last address of the interface goes.
        assert!(observed.apply(Change::NoAddress(key(4, "10.1.0.12/24"))).routes);
        assert_eq!(metrics(&observed), [100]);
        // The source is elsewhere now, as when a bridge takes the interface over.
        before.apply(Change::Address(key(2, "10.1.0.11/24"), plain()));
        assert!(!before.apply(Change::NoAddress(key(4, "10.1.0.11/24"))).routes);
    }

    #[test]
    fn a_lifetime_runs_from_when_it_was_seen() {
        let at = |seconds| BootTime::from_duration(std::time::Duration::from_secs(seconds));
        let address = KernelAddress { valid: Some(300), seen: at(100), ..plain() };
        assert_eq!(address.remaining(at(220)), Some(180));
        assert_eq!(address.remaining(at(1000)), Some(0));
        assert_eq!(plain().remaining(at(1000)), None);
    }
}
