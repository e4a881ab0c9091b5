//! The interfaces for local addresses, and the subnets that they reach (specification, announcing.md 3).
//!
//! The same selection decides where an address goes and which subnets the Lease advertises, so a node never becomes
//! the owner of an address that it has no interface for. An interface whose cable is unplugged is not advertised
//! but stays selected, because the cable may be plugged in again.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api_types::{AgentConfig, Family, InterfaceChoice};
use ipnetwork::IpNetwork;

use crate::decide::default_interfaces::DefaultInterfaces;
use crate::decide::networks::{networks, on_link_networks};
use crate::model::address::AddressKey;
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
    /// The networks that only on-link routes make it part of, without duplicates.
    pub on_link: Vec<IpNetwork>,
    /// The cable is plugged in. If it is not, the interface stays selected, and the protocol between the agents
    /// decides what becomes of its addresses.
    pub works: bool,
}

impl Selected {
    /// The prefix length that an address of ours gets here; nothing if it is in none of the networks.
    ///
    /// It is that of the narrowest network of an own address. Where only an on-link route makes the network, ours is a
    /// host route: as the only address with the network's prefix it would become the source of the host's packets.
    #[must_use]
    pub fn prefix_len(&self, ip: IpAddr) -> Option<u8> {
        let narrowest = self.networks.iter().filter(|network| network.contains(ip)).map(IpNetwork::prefix).max();
        narrowest.or_else(|| self.on_link.iter().any(|network| network.contains(ip)).then(|| Family::of(ip).bits()))
    }

    /// The narrowest network of the interface that holds an address.
    #[must_use]
    pub fn network_of(&self, ip: IpAddr) -> Option<IpNetwork> {
        let holding = self.networks.iter().chain(&self.on_link).filter(|network| network.contains(ip));
        holding.max_by_key(|network| network.prefix()).copied()
    }

    /// The own addresses with the prefix lengths of the interface's networks that they lie in.
    pub fn places<'a>(
        &'a self,
        own: impl Iterator<Item = &'a AddressKey> + 'a,
    ) -> impl Iterator<Item = (IpAddr, u8)> + 'a {
        own.flat_map(move |key| {
            let by_address = key.network().filter(|network| self.networks.contains(network));
            let on_link = self.on_link.iter().filter(move |network| network.contains(key.ip)).copied();
            by_address.into_iter().chain(on_link).map(move |network| (key.ip, network.prefix()))
        })
    }
}

/// The interfaces for local addresses, in order of preference.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    interfaces: Vec<Selected>,
    /// The default choice.
    defaults: DefaultInterfaces,
}

impl Selection {
    /// Without interfaces, but with the default choice that was found last.
    #[must_use]
    pub const fn remembering(defaults: DefaultInterfaces) -> Self {
        Self { interfaces: Vec::new(), defaults }
    }

    /// The default choice that was found last.
    #[must_use]
    pub const fn defaults(&self) -> &DefaultInterfaces {
        &self.defaults
    }

    /// Applies the configuration to what the kernel has.
    ///
    /// Only interfaces that are set up are selected. Our own addresses never make an interface part of a
    /// subnet. `internal` are the node's internal addresses, `before` is the default choice that was found last.
    #[must_use]
    pub fn new(
        config: &AgentConfig,
        observed: &Observed,
        ours: Ours<'_>,
        internal: &[IpAddr],
        before: &DefaultInterfaces,
    ) -> Self {
        let mut selection = Self::remembering(before.clone());
        let eligible = |link: &Link| link.up && link.name != config.dummy_interface;
        let mut chosen: Vec<(u32, &Link)> = Vec::new();
        match &config.local_interface {
            InterfaceChoice::DefaultRoute => {
                selection.defaults = before.refreshed(observed, ours, internal, eligible);
                chosen.extend(selection.defaults.names().filter_map(|name| named(observed, name)));
            }
            InterfaceChoice::Matching(pattern) => {
                let matches = |link: &Link| !link.loopback && link.names().any(|name| pattern.is_match(name));
                let mut found: Vec<(u32, &Link)> = observed
                    .links
                    .iter()
                    .filter(|(_, link)| matches(link))
                    .map(|(index, link)| (*index, link))
                    .collect();
                found.sort_by(|(_, one), (_, two)| one.name.cmp(&two.name));
                chosen.extend(found);
            }
        }
        chosen.extend(config.interfaces.iter().filter_map(|name| named(observed, name)));
        for (index, link) in chosen.into_iter().filter(|(_, link)| eligible(link)) {
            if !selection.has(index) {
                selection.interfaces.push(Selected {
                    index,
                    name: link.name.clone(),
                    networks: networks(observed, index, ours),
                    on_link: on_link_networks(observed, index, ours),
                    works: link.works(),
                });
            }
        }
        selection
    }

    /// Appends an interface of an earlier selection; returns whether it was missing.
    pub fn keep(&mut self, selected: &Selected) -> bool {
        let missing = !self.has(selected.index);
        if missing {
            self.interfaces.push(selected.clone());
        }
        missing
    }

    /// The first interface in the subnet of the address, with the prefix length that the address gets there.
    /// Interfaces that work come first.
    #[must_use]
    pub fn containing(&self, ip: IpAddr) -> Option<(&Selected, u8)> {
        let working = self.interfaces.iter().filter(|selected| selected.works);
        let mut all = working.chain(self.interfaces.iter().filter(|selected| !selected.works));
        all.find_map(|selected| Some((selected, selected.prefix_len(ip)?)))
    }

    /// The subnets to advertise: those of interfaces that work, sorted, without duplicates.
    #[must_use]
    pub fn subnets(&self) -> Vec<IpNetwork> {
        let working = self.interfaces.iter().filter(|selected| selected.works);
        let mut subnets: Vec<IpNetwork> =
            working.flat_map(|selected| selected.networks.iter().chain(&selected.on_link)).copied().collect();
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

/// The interface with this name, or with this further name.
fn named<'a>(observed: &'a Observed, name: &str) -> Option<(u32, &'a Link)> {
    observed.links.iter().find(|(_, link)| link.names().any(|known| known == name)).map(|(index, link)| (*index, link))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::address::KernelAddress;
    use crate::model::link::DefaultRoute;
    use crate::model::observed::Change;
    use crate::model::testing::{key, node, on_link, ours, plain};

    fn config(spec: serde_json::Value) -> AgentConfig {
        AgentConfig::new(&serde_json::from_value(spec).unwrap()).unwrap()
    }

    fn select(spec: serde_json::Value, observed: &Observed) -> Selection {
        let none = BTreeSet::new();
        Selection::new(&config(spec), observed, Ours::new(&none, true), &[], &DefaultInterfaces::default())
    }

    fn texts(selection: &Selection) -> Vec<String> {
        selection.subnets().iter().map(ToString::to_string).collect()
    }

    /// An IPv4 default route.
    fn via(index: u32, table: u32, metric: u32) -> DefaultRoute {
        DefaultRoute { family: Family::V4, metric, table, index, gateway: None, source: None }
    }

    /// A node without IPv6 whose IPv4 default routes are these.
    fn routed(routes: &[DefaultRoute]) -> Observed {
        let mut observed = node();
        observed.apply(Change::NoAddress(key(2, "fd00:50::11/64")));
        observed.routes = routes.iter().copied().collect();
        observed
    }

    #[test]
    fn case_9_the_default_route_of_a_family_selects_for_both() {
        let mut observed = node();
        assert_eq!(texts(&select(json!({}), &observed)), ["192.168.50.0/24", "fd00:50::/64"]);
        observed.routes.retain(|route| route.family == Family::V4);
        assert_eq!(texts(&select(json!({}), &observed)), ["192.168.50.0/24", "fd00:50::/64"]);
        // That of IPv4 is preferred.
        observed.routes = [via(4, 254, 0), DefaultRoute { family: Family::V6, ..via(2, 254, 0) }].into();
        let selection = select(json!({}), &observed);
        assert_eq!(selection.iter().map(|selected| selected.name.as_str()).collect::<Vec<_>>(), ["eth1", "eth0"]);
        assert_eq!(texts(&selection), ["10.1.0.0/24", "192.168.50.0/24", "fd00:50::/64"]);
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
        let selection = Selection::new(
            &AgentConfig::default(),
            &observed,
            Ours::new(&recorded, true),
            &[],
            &DefaultInterfaces::default(),
        );
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
        assert_eq!(selection.containing("192.168.50.200".parse().unwrap()).unwrap().1, 25);
        assert_eq!(selection.containing("192.168.50.20".parse().unwrap()).unwrap().1, 24);
    }

    #[test]
    fn case_12_an_on_link_network_gives_host_routes() {
        let mut observed = node();
        observed.apply(Change::NoAddress(key(2, "fd00:50::11/64")));
        observed.apply(Change::Address(key(2, "fd00:50::11/128"), plain()));
        observed.apply(Change::OnLink(on_link(2, "fd00:50::/64", true)));
        let selection = select(json!({}), &observed);
        assert_eq!(texts(&selection), ["192.168.50.0/24", "fd00:50::/64", "fd00:50::11/128"]);
        assert_eq!(selection.containing("fd00:50::200".parse().unwrap()).unwrap().1, 128);
    }

    #[test]
    fn case_63_altnames_match() {
        let mut observed = node();
        let link = Link { altnames: vec!["enp1s0".to_owned()], ..observed.links[&4].clone() };
        observed.apply(Change::Link(4, link));
        for spec in [json!({"localInterface": "^enp"}), json!({"localInterface": "none", "interfaces": ["enp1s0"]})] {
            assert_eq!(texts(&select(spec.clone(), &observed)), ["10.1.0.0/24"], "{spec}");
        }
    }
}
