//! The node's own addresses and gateways, which no Service may have.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api_types::reserved::{SERVICE_PROXY_INTERFACES, names_a_host};
use ipnetwork::IpNetwork;

use crate::model::observed::Observed;
use crate::model::ours::Ours;

/// The node's own addresses and gateways.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnLists {
    /// The own addresses, those inside a group's range first.
    pub addresses: Vec<IpAddr>,
    /// The gateways of the default routes.
    pub gateways: BTreeSet<IpAddr>,
}

impl OwnLists {
    /// Every address that the kernel has and that is not from us, on any interface.
    ///
    /// What is on an interface for remote addresses (`dummies`) is not the node's. Nor is what a service proxy keeps on
    /// every node, nor what lies in the networks of the node's pods: some CNI plugins put a gateway on the host's end of
    /// each pod.
    #[must_use]
    pub fn new(
        observed: &Observed,
        ours: Ours<'_>,
        dummies: &BTreeSet<u32>,
        pod_networks: &[IpNetwork],
        in_a_range: impl Fn(IpAddr) -> bool,
    ) -> Self {
        let exempt =
            |index: u32| dummies.contains(&index) || SERVICE_PROXY_INTERFACES.contains(&observed.name_of(index));
        let exempt: BTreeSet<u32> = observed.links.keys().copied().filter(|index| exempt(*index)).collect();
        let own = observed.addresses.iter().filter(|(key, found)| {
            !exempt.contains(&key.index)
                && names_a_host(key.ip)
                && !ours.includes(key, found)
                && !pod_networks.iter().any(|network| network.contains(key.ip))
        });
        let own: BTreeSet<IpAddr> = own.map(|(key, _)| key.ip).collect();
        let (mut addresses, others): (Vec<IpAddr>, Vec<IpAddr>) = own.into_iter().partition(|ip| in_a_range(*ip));
        addresses.extend(others);
        Self { addresses, gateways: gateways(observed) }
    }
}

/// The gateways of the default routes that a Service could be given.
#[must_use]
pub fn gateways(observed: &Observed) -> BTreeSet<IpAddr> {
    observed.routes.iter().filter_map(|route| route.gateway).filter(|gateway| names_a_host(*gateway)).collect()
}

#[cfg(test)]
mod tests {
    use api_types::Family;

    use super::*;
    use crate::model::link::{DefaultRoute, Link};
    use crate::model::observed::Change;
    use crate::model::testing::{key, node, ours, plain};

    #[test]
    fn case_3_every_address_that_is_not_from_us_is_the_nodes_own() {
        let mut observed = node();
        for (index, name) in [(5, "kube-ipvs0"), (6, "tun0"), (7, "veth1")] {
            let link = Link { name: name.to_owned(), resolves: false, ..observed.links[&2].clone() };
            observed.apply(Change::Link(index, link));
        }
        for (index, cidr) in [
            (1, "10.255.0.1/32"),
            (2, "192.168.50.235/32"),
            (3, "172.30.200.9/32"),
            (5, "172.30.200.155/32"),
            (6, "10.8.0.2/24"),
            (7, "10.244.1.1/32"),
        ] {
            observed.apply(Change::Address(key(index, cidr), plain()));
        }
        observed.apply(Change::Address(key(2, "192.168.50.200/24"), ours()));
        let gateway = Some("192.168.50.1".parse().unwrap());
        let route = DefaultRoute { family: Family::V4, metric: 0, table: 254, index: 2, gateway, source: None };
        observed.apply(Change::Route(route));
        let link_local = Some("fe80::1".parse().unwrap());
        observed.apply(Change::Route(DefaultRoute { family: Family::V6, gateway: link_local, ..route }));
        let none = BTreeSet::new();
        let in_a_range = |ip: IpAddr| ip.to_string() == "192.168.50.235";
        let lists = OwnLists::new(
            &observed,
            Ours::new(&none, true),
            &[3].into(),
            &["10.244.1.0/24".parse().unwrap()],
            in_a_range,
        );
        let texts: Vec<String> = lists.addresses.iter().map(ToString::to_string).collect();
        let expected = ["192.168.50.235", "10.1.0.11", "10.8.0.2", "10.255.0.1", "192.168.50.11", "fd00:50::11"];
        assert_eq!(texts, expected);
        assert_eq!(lists.gateways, ["192.168.50.1".parse().unwrap()].into());
    }
}
