//! The interfaces for local addresses, and the subnets that they reach (specification, announcing.md 3).
//!
//! The same selection decides where an address goes and which subnets the Lease advertises, so a node never becomes
//! the owner of an address that it has no interface for. An interface whose cable is unplugged is not advertised
//! but stays selected, because the cable may be plugged in again.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api_types::{AgentConfig, Family, InterfaceChoice};
use ipnetwork::IpNetwork;

use crate::decide::networks::networks;
use crate::model::link::Link;
use crate::model::observed::Observed;
use crate::model::ours::Ours;

/// An interface for local addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The networks that its addresses make it part of, without duplicates.
    pub networks: Vec<IpNetwork>,
    /// The cable is plugged in. If it is not, the interface stays selected, and the protocol between the agents
    /// decides what becomes of its addresses.
    pub works: bool,
}

/// The interfaces for local addresses, in order of preference.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    interfaces: Vec<Selected>,
    /// The interfaces of the last known default routes, IPv4 and IPv6.
    defaults: [Option<u32>; 2],
}

impl Selection {
    /// Applies the configuration to what the kernel has.
    ///
    /// Only interfaces that are set up are selected. Our own addresses never make an interface part of a
    /// subnet. `before` is the selection until now: while a family has no default route at all, as when a DHCP
    /// client replaces it, its interface stays selected.
    #[must_use]
    pub fn new(config: &AgentConfig, observed: &Observed, ours: Ours<'_>, before: &Self) -> Self {
        let mut selection = Self { defaults: before.defaults, ..Self::default() };
        let eligible = |link: &Link| link.up && link.name != config.dummy_interface;
        let networks = |index: u32, family: Option<Family>| networks(observed, index, family, ours);
        match &config.local_interface {
            InterfaceChoice::DefaultRoute => {
                // The default interface of one family has no meaning for the other.
                for (family, default) in Family::ALL.into_iter().zip(0..) {
                    let known = default_interface(observed, family, eligible).or_else(|| {
                        let index = before.defaults.get(default).copied().flatten()?;
                        observed.links.get(&index).map(|link| (index, link))
                    });
                    if let Some((index, link)) = known.filter(|(_, link)| eligible(link)) {
                        selection.add(index, link, networks(index, Some(family)));
                        if let Some(place) = selection.defaults.get_mut(default) {
                            *place = Some(index);
                        }
                    }
                }
            }
            InterfaceChoice::Matching(pattern) => {
                let matches = |link: &Link| eligible(link) && !link.loopback && pattern.is_match(&link.name);
                let mut found: Vec<_> = observed.links.iter().filter(|(_, link)| matches(link)).collect();
                found.sort_by(|(_, one), (_, two)| one.name.cmp(&two.name));
                for (index, link) in found {
                    selection.add(*index, link, networks(*index, None));
                }
            }
        }
        for name in &config.interfaces {
            let found = observed.links.iter().find(|(_, link)| link.name == *name && eligible(link));
            if let Some((index, link)) = found {
                selection.add(*index, link, networks(*index, None));
            }
        }
        selection
    }

    fn add(&mut self, index: u32, link: &Link, networks: Vec<IpNetwork>) {
        if let Some(known) = self.interfaces.iter_mut().find(|known| known.index == index) {
            for network in networks {
                if !known.networks.contains(&network) {
                    known.networks.push(network);
                }
            }
        } else {
            self.interfaces.push(Selected { index, name: link.name.clone(), networks, works: link.works() });
        }
    }

    /// Appends an interface of an earlier selection; returns whether it was missing.
    pub fn keep(&mut self, selected: &Selected) -> bool {
        let missing = !self.has(selected.index);
        if missing {
            self.interfaces.push(selected.clone());
        }
        missing
    }

    /// The first interface in the subnet of the address, with the narrowest network that contains it.
    /// Interfaces that work come first.
    #[must_use]
    pub fn containing(&self, ip: IpAddr) -> Option<(&Selected, IpNetwork)> {
        let working = self.interfaces.iter().filter(|selected| selected.works);
        working.chain(self.interfaces.iter().filter(|selected| !selected.works)).find_map(|selected| {
            let holding = selected.networks.iter().filter(|network| network.contains(ip));
            holding.max_by_key(|network| network.prefix()).map(|network| (selected, *network))
        })
    }

    /// The subnets to advertise: those of interfaces that work, sorted, without duplicates.
    #[must_use]
    pub fn subnets(&self) -> Vec<IpNetwork> {
        let working = self.interfaces.iter().filter(|selected| selected.works);
        let mut subnets: Vec<IpNetwork> = working.flat_map(|selected| selected.networks.iter().copied()).collect();
        subnets.sort_unstable();
        subnets.dedup();
        subnets
    }

    /// Whether the interface is selected.
    #[must_use]
    pub fn has(&self, index: u32) -> bool {
        self.interfaces.iter().any(|selected| selected.index == index)
    }

    /// The interfaces, the preferred one first.
    pub fn iter(&self) -> impl Iterator<Item = &Selected> {
        self.interfaces.iter()
    }
}

/// The interfaces for remote addresses: the dummy interface, and every other one without ARP that is not selected
/// for local addresses, such as the dummy interface of an earlier configuration.
#[must_use]
pub fn remote_links(observed: &Observed, dummy: Option<u32>, selection: &Selection) -> BTreeSet<u32> {
    let mute = observed.links.iter().filter(|(index, link)| !link.resolves && !selection.has(**index));
    mute.map(|(index, _)| *index).chain(dummy).collect()
}

/// `RT_TABLE_MAIN`.
const MAIN: u32 = 254;

/// The interface of a family's best default route among those with a usable interface.
///
/// Routes of the table `main` come before those of VRFs and of policy routing; among them the lowest metric is
/// preferred. A route through an interface without ARP comes last in any case: it leads into a VRF (through the
/// VRF's own device) or a tunnel, where nobody asks for an address.
fn default_interface(observed: &Observed, family: Family, eligible: impl Fn(&Link) -> bool) -> Option<(u32, &Link)> {
    let routes = observed.routes.iter().filter(|route| route.family == family);
    let usable = routes.filter_map(|route| {
        let link = observed.links.get(&route.index).filter(|link| eligible(link))?;
        Some((route, link))
    });
    let best = usable.min_by_key(|(route, link)| (!link.resolves, route.table != MAIN, route.metric, route.table))?;
    Some((best.0.index, best.1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::address::KernelAddress;
    use crate::model::link::DefaultRoute;
    use crate::model::observed::Change;
    use crate::model::testing::{key, node, ours, plain};

    fn config(spec: serde_json::Value) -> AgentConfig {
        AgentConfig::new(&serde_json::from_value(spec).unwrap()).unwrap()
    }

    fn select(spec: serde_json::Value, observed: &Observed) -> Selection {
        Selection::new(&config(spec), observed, Ours::new(&BTreeSet::new()), &Selection::default())
    }

    fn texts(selection: &Selection) -> Vec<String> {
        selection.subnets().iter().map(ToString::to_string).collect()
    }

    /// An IPv4 default route.
    fn via(index: u32, table: u32, metric: u32) -> DefaultRoute {
        DefaultRoute { family: Family::V4, metric, table, index, gateway: None, source: None }
    }

    /// A node whose IPv4 default routes are these.
    fn routed(routes: &[DefaultRoute]) -> Observed {
        let mut observed = node();
        observed.routes = routes.iter().copied().collect();
        observed
    }

    #[test]
    fn the_default_route_selects_by_family() {
        let mut observed = node();
        assert_eq!(texts(&select(json!({}), &observed)), ["192.168.50.0/24", "fd00:50::/64"]);
        observed.routes.retain(|route| route.family == Family::V4);
        assert_eq!(texts(&select(json!({}), &observed)), ["192.168.50.0/24"]);
        // Each family by its own.
        observed.routes = [via(4, 254, 0), DefaultRoute { family: Family::V6, ..via(2, 254, 0) }].into();
        assert_eq!(texts(&select(json!({}), &observed)), ["10.1.0.0/24", "fd00:50::/64"]);
    }

    /// `eth0` is 2 with 192.168.50.0/24, `eth1` is 4 with 10.1.0.0/24.
    #[test]
    fn of_several_default_routes_the_one_that_packets_take_counts() {
        for (routes, expected) in [
            (vec![via(2, 254, 100), via(4, 254, 200)], "192.168.50.0/24"),
            (vec![via(2, 254, 100), via(4, 254, 0)], "10.1.0.0/24"),
            // A policy table or a VRF, whatever its metric, is not where other packets go.
            (vec![via(2, 254, 100), via(4, 10, 0)], "192.168.50.0/24"),
            (vec![via(2, 20, 0), via(4, 10, 50)], "192.168.50.0/24"),
            // Only a VRF has one, and the interface is its port.
            (vec![via(4, 10, 0)], "10.1.0.0/24"),
            // Of the same metric, the lower table.
            (vec![via(2, 1001, 0), via(4, 1000, 0)], "10.1.0.0/24"),
        ] {
            assert_eq!(texts(&select(json!({}), &routed(&routes))), [expected], "{routes:?}");
        }
    }

    /// As netlink shows a VRF: `mgmt` (5) is a device without ARP, which carries `127.0.0.1/8`; its port `eth1` keeps its
    /// name and addresses, and its routes are in the VRF's table.
    #[test]
    fn a_route_into_a_vrf_is_no_way_to_an_interface() {
        let mut observed = routed(&[via(5, 254, 0), via(2, 254, 100), via(4, 10, 0)]);
        let link = Link { name: "mgmt".to_owned(), resolves: false, ..observed.links[&2].clone() };
        observed.apply(Change::Link(5, link));
        observed.apply(Change::Address(key(5, "127.0.0.1/8"), plain()));
        assert_eq!(texts(&select(json!({}), &observed)), ["192.168.50.0/24"]);
        // The only route of the main table leads into the VRF: its port has the way out.
        observed.apply(Change::NoRoute(via(2, 254, 100)));
        assert_eq!(texts(&select(json!({}), &observed)), ["10.1.0.0/24"]);
        // By name a port is as good as any other interface, and the VRF's device has no network.
        assert_eq!(texts(&select(json!({"localInterface": "eth1|mgmt"}), &observed)), ["10.1.0.0/24"]);
    }

    #[test]
    fn a_default_route_of_an_interface_that_cannot_be_used_hides_no_other() {
        let mut observed = routed(&[via(2, 254, 100), via(4, 254, 200), via(9, 254, 0), via(3, 254, 1)]);
        assert_eq!(texts(&select(json!({}), &observed)), ["192.168.50.0/24"], "kube-lb0 and one that is gone");
        let link = Link { up: false, ..observed.links[&2].clone() };
        observed.links.insert(2, link);
        assert_eq!(texts(&select(json!({}), &observed)), ["10.1.0.0/24"]);
    }

    #[test]
    fn a_pattern_selects_by_name_and_extra_interfaces_come_after() {
        let observed = node();
        assert_eq!(
            texts(&select(json!({"localInterface": "^eth"}), &observed)),
            ["10.1.0.0/24", "192.168.50.0/24", "fd00:50::/64"]
        );
        let selection =
            select(json!({"localInterface": "eth1", "interfaces": ["none", "kube-lb0", "eth0"]}), &observed);
        assert_eq!(selection.containing("192.168.50.200".parse().unwrap()).unwrap().0.name, "eth0");
        assert!(texts(&select(json!({"localInterface": "lo|kube"}), &observed)).is_empty());
    }

    #[test]
    fn our_own_addresses_never_count() {
        let mut observed = node();
        observed.apply(Change::Address(key(2, "198.51.100.1/24"), ours()));
        observed.apply(Change::Address(key(2, "203.0.113.1/24"), plain()));
        let recorded = [key(2, "203.0.113.1/24")].into();
        let selection = Selection::new(&AgentConfig::default(), &observed, Ours::new(&recorded), &Selection::default());
        assert_eq!(texts(&selection), ["192.168.50.0/24", "fd00:50::/64"]);
    }

    #[test]
    fn unusable_ipv6_addresses_and_dead_links_do_not_count() {
        let mut observed = node();
        observed.apply(Change::Address(key(2, "fd00:50::11/64"), KernelAddress { usable: false, ..plain() }));
        assert_eq!(texts(&select(json!({}), &observed)), ["192.168.50.0/24"]);
        let link = Link { carrier: false, ..observed.links[&2].clone() };
        observed.apply(Change::Link(2, link));
        assert!(texts(&select(json!({}), &observed)).is_empty());
    }

    #[test]
    fn the_narrowest_network_gives_the_prefix() {
        let mut observed = node();
        observed.apply(Change::Address(key(2, "192.168.50.130/25"), plain()));
        let selection = select(json!({}), &observed);
        assert_eq!(selection.containing("192.168.50.200".parse().unwrap()).unwrap().1.prefix(), 25);
        assert_eq!(selection.containing("192.168.50.20".parse().unwrap()).unwrap().1.prefix(), 24);
    }
}
