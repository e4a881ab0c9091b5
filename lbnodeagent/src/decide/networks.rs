//! The networks that interfaces are part of: by addresses that are not ours, and by on-link routes.

use std::net::IpAddr;

use api_types::Family;
use ipnetwork::IpNetwork;

use crate::model::address::{AddressKey, KernelAddress};
use crate::model::link::OnLinkRoute;
use crate::model::network::counts;
use crate::model::observed::Observed;
use crate::model::ours::Ours;

/// The networks that interfaces are part of, whatever the interface is for.
///
/// A remote address whose prefix overlaps one of them would cut that network's hosts off.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connected(Vec<(IpNetwork, u32)>);

impl Connected {
    /// Collects them. An address with the full prefix length counts for nothing: kube-proxy's `kube-ipvs0` has every
    /// Service's address that way, and would block all of them.
    #[must_use]
    pub fn new(observed: &Observed, ours: Ours<'_>) -> Self {
        let shared = |key: &AddressKey| key.prefix_len < Family::of(key.ip).bits();
        let foreign = observed
            .addresses
            .iter()
            .filter(|(key, found)| shared(key) && found.scope == 0 && !ours.includes(key, found));
        let mut networks: Vec<(IpNetwork, u32)> =
            foreign.filter_map(|(key, _)| key.network().map(|network| (network, key.index))).collect();
        let on_link = observed.on_link.iter().filter(|route| !is_explained(observed, route));
        networks.extend(on_link.map(|route| (route.network, route.index)));
        Self(networks)
    }

    /// A network of an interface other than `except` that shares addresses with `network`.
    #[must_use]
    pub fn overlapping(&self, network: IpNetwork, except: u32) -> Option<(IpNetwork, u32)> {
        let overlaps = |other: IpNetwork| {
            other.is_ipv4() == network.is_ipv4() && (other.contains(network.ip()) || network.contains(other.ip()))
        };
        self.0.iter().copied().find(|(other, index)| *index != except && overlaps(*other))
    }
}

/// The networks of an interface's own addresses.
pub(super) fn networks(observed: &Observed, index: u32, ours: Ours<'_>) -> Vec<IpNetwork> {
    let mut networks = Vec::new();
    for network in own_addresses(observed, index, ours).filter_map(AddressKey::network) {
        if counts(network) && !networks.contains(&network) {
            networks.push(network);
        }
    }
    networks
}

/// The networks that an interface is part of by on-link routes alone, as with `DHCPv6`, which gives addresses of the
/// full prefix length (RFC 8415).
///
/// The interface must have an own address there. Without one it could ask nobody whether an address is free.
pub(super) fn on_link_networks(observed: &Observed, index: u32, ours: Ours<'_>) -> Vec<IpNetwork> {
    let by_address = networks(observed, index, ours);
    let mut networks: Vec<IpNetwork> = Vec::new();
    for route in observed.on_link.iter().filter(|route| route.index == index && counts(route.network)) {
        let network = route.network;
        let inhabited = || own_addresses(observed, index, ours).any(|key| network.contains(key.ip));
        if !by_address.contains(&network)
            && !networks.contains(&network)
            && !is_explained(observed, route)
            && inhabited()
        {
            networks.push(network);
        }
    }
    networks
}

/// Whether the kernel made the route for an address, so that the address decides whether its network counts: it may be
/// tentative, or ours.
fn is_explained(observed: &Observed, route: &OnLinkRoute) -> bool {
    let explains = |(key, found): (&AddressKey, &KernelAddress)| {
        key.index == route.index && !found.no_prefix_route && key.network() == Some(route.network)
    };
    route.by_kernel && observed.addresses.iter().any(explains)
}

/// The addresses by which an interface is part of networks: neither ours nor link-local.
pub fn own_addresses<'a>(observed: &'a Observed, index: u32, ours: Ours<'a>) -> impl Iterator<Item = &'a AddressKey> {
    let own = observed.addresses.iter().filter(move |(key, address)| {
        key.index == index && !ours.includes(key, address) && names_a_network(key.ip, address)
    });
    own.map(|(key, _)| key)
}

fn names_a_network(ip: IpAddr, address: &KernelAddress) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback(),
        IpAddr::V6(ip) => address.usable && !ip.is_unicast_link_local() && !ip.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::observed::Change;
    use crate::model::testing::{key, node, on_link, ours, plain};

    fn texts(networks: &[IpNetwork]) -> Vec<String> {
        networks.iter().map(ToString::to_string).collect()
    }

    /// The networks of `eth0` by on-link routes alone.
    fn by_routes(observed: &Observed) -> Vec<String> {
        texts(&on_link_networks(observed, 2, Ours::new(&BTreeSet::new(), true)))
    }

    #[test]
    fn case_12_an_on_link_route_makes_a_network_where_the_interface_has_an_address() {
        let mut observed = node();
        observed.apply(Change::NoAddress(key(2, "fd00:50::11/64")));
        observed.apply(Change::Address(key(2, "fd00:50::11/128"), plain()));
        observed.apply(Change::OnLink(on_link(2, "fd00:50::/64", true)));
        observed.apply(Change::OnLink(on_link(2, "10.77.0.0/16", false)));
        observed.apply(Change::OnLink(on_link(4, "fd00:50::/56", false)));
        assert_eq!(by_routes(&observed), ["fd00:50::/64"]);
        observed.apply(Change::NoOnLink(on_link(2, "fd00:50::/64", true)));
        assert!(by_routes(&observed).is_empty());
    }

    #[test]
    fn wide_routes_make_no_network() {
        let mut observed = node();
        for wide in ["192.0.0.0/7", "fc00::/7"] {
            observed.apply(Change::OnLink(on_link(2, wide, false)));
        }
        assert!(by_routes(&observed).is_empty());
        observed.apply(Change::OnLink(on_link(2, "192.0.0.0/8", false)));
        assert_eq!(by_routes(&observed), ["192.0.0.0/8"]);
    }

    /// The kernel has the connected route of an address before it has found out whether the address is another host's.
    #[test]
    fn case_53_the_route_of_a_tentative_address_makes_no_network() {
        let mut observed = node();
        observed.apply(Change::Address(key(2, "fd00:77::11/64"), KernelAddress { usable: false, ..plain() }));
        observed.apply(Change::OnLink(on_link(2, "fd00:77::/64", true)));
        assert!(by_routes(&observed).is_empty());
        // Nor does that of ours.
        observed.apply(Change::Address(key(2, "fd00:77::11/64"), ours()));
        assert!(by_routes(&observed).is_empty());
        // An address of ours without a connected route explains none.
        observed.apply(Change::Address(key(2, "fd00:77::11/64"), KernelAddress { no_prefix_route: true, ..ours() }));
        observed.apply(Change::Address(key(2, "fd00:77::12/128"), plain()));
        assert_eq!(by_routes(&observed), ["fd00:77::/64"]);
    }

    #[test]
    fn on_link_routes_overlap_as_addresses_do() {
        let mut observed = node();
        observed.apply(Change::OnLink(on_link(4, "10.77.0.0/16", false)));
        let none = BTreeSet::new();
        let connected = Connected::new(&observed, Ours::new(&none, true));
        assert_eq!(connected.overlapping("10.77.5.0/24".parse().unwrap(), 3).map(|(_, index)| index), Some(4));
    }
}
