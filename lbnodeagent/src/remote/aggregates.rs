//! Aggregates beside host routes.
//!
//! An address under the traffic policy `Local` is announced only by nodes with endpoints. In a group with an aggregate,
//! any other address of the aggregate would attract its traffic to other nodes, so it has a host route of its own, which
//! is longer and wins. The aggregate stays beside it, because some routers accept nothing longer.
//!
//! Routing software imports what is connected to the dummy interface: BIRD's `protocol direct` and FRR's `redistribute
//! connected` go by addresses and their prefix lengths. A route of ours through the interface would need a second
//! protocol there (`protocol kernel` with `learn`, `redistribute kernel`), which not every configuration has. So both
//! routes come from addresses:
//!
//! | Family | Host route | Aggregate |
//! |---|---|---|
//! | IPv4 | the address with /32 | the same address with the prefix length of the aggregate: the kernel tells addresses apart by their prefix lengths |
//! | IPv6 | the address with /128 | the *anchor*, one for each aggregate: the kernel has an address once per interface |
//!
//! The anchor is the first address of the aggregate, which is the anycast address of its routers (RFC 4291, section
//! 2.6.1) and which a node that forwards packets answers for anyway. If a Service has that, it is the last one.
//!
//! A release without host routes has left the IPv6 address with the prefix length of the aggregate. The kernel cannot
//! change that length, so the address is deleted and added again by one datagram.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::model::address::AddressKey;
use crate::model::placement::Placement;

/// The anchors of IPv6 aggregates.
#[derive(Debug, Default)]
pub struct Aggregates {
    /// The addresses of each aggregate that have host routes.
    members: BTreeMap<IpNetwork, BTreeMap<IpAddr, Placement>>,
    anchors: BTreeMap<IpAddr, Placement>,
}

impl Aggregates {
    /// Where the anchors are to be.
    #[must_use]
    pub const fn anchors(&self) -> &BTreeMap<IpAddr, Placement> {
        &self.anchors
    }

    /// The placement of an address has changed from `before` to what `desired` has; returns the anchors that change
    /// with it.
    pub fn update(
        &mut self,
        ip: IpAddr,
        before: Option<&Placement>,
        desired: &BTreeMap<IpAddr, Placement>,
    ) -> BTreeSet<IpAddr> {
        let network = |placement: &Placement| placement.aggregate_network().filter(IpNetwork::is_ipv6);
        if let Some(network) = before.and_then(network)
            && let Some(members) = self.members.get_mut(&network)
        {
            members.remove(&ip);
            if members.is_empty() {
                self.members.remove(&network);
            }
        }
        if let Some(placement) = desired.get(&ip)
            && let Some(network) = network(placement)
        {
            self.members.entry(network).or_default().insert(ip, *placement);
        } else if before.and_then(network).is_none() && !self.could_hold(ip) {
            return BTreeSet::new();
        }
        let anchors = self.members.iter().filter_map(|(network, members)| anchor(*network, members, desired));
        let anchors: BTreeMap<IpAddr, Placement> = anchors.map(|anchor| (anchor.key.ip, anchor)).collect();
        let before = std::mem::replace(&mut self.anchors, anchors);
        let both = before.keys().chain(self.anchors.keys());
        both.filter(|ip| before.get(*ip) != self.anchors.get(*ip)).copied().collect()
    }

    fn could_hold(&self, ip: IpAddr) -> bool {
        self.members.keys().any(|network| candidates(*network).contains(&ip))
    }
}

/// The addresses that may hold an aggregate, the preferred one first.
fn candidates(network: IpNetwork) -> [IpAddr; 2] {
    [network.network(), network.broadcast()]
}

/// Where the anchor of an aggregate is to be; nothing if the address of a Service is there with this very prefix.
fn anchor(
    network: IpNetwork,
    members: &BTreeMap<IpAddr, Placement>,
    desired: &BTreeMap<IpAddr, Placement>,
) -> Option<Placement> {
    let like = members.values().next()?;
    let at = |ip| AddressKey { ip, prefix_len: network.prefix(), ..like.key };
    let fits = |ip: &IpAddr| desired.get(ip).is_none_or(|placement| placement.key == at(*ip));
    let ip = candidates(network).into_iter().find(fits).filter(|ip| !desired.contains_key(ip))?;
    Some(Placement { key: at(ip), aggregate: None, ..*like })
}

#[cfg(test)]
mod tests {
    use api_types::AddressAttributes;

    use super::*;
    use crate::model::placement::Kind;
    use crate::model::testing::key;

    #[derive(Default)]
    struct Remote {
        desired: BTreeMap<IpAddr, Placement>,
        aggregates: Aggregates,
    }

    impl Remote {
        /// Sets where an address is to be, and returns the anchors that change.
        fn set(&mut self, cidr: &str, aggregate: Option<u8>) -> Vec<String> {
            let key = key(3, cidr);
            let attributes = AddressAttributes::REMOTE;
            let placement = Placement { kind: Kind::Remote, key, aggregate, attributes };
            let before = self.desired.insert(key.ip, placement);
            texts(self.aggregates.update(key.ip, before.as_ref(), &self.desired))
        }

        fn remove(&mut self, ip: &str) -> Vec<String> {
            let ip = ip.parse().unwrap();
            let before = self.desired.remove(&ip);
            texts(self.aggregates.update(ip, before.as_ref(), &self.desired))
        }

        fn anchors(&self) -> Vec<String> {
            let keys = self.aggregates.anchors().values().map(|placement| placement.key);
            keys.map(|key| format!("{}/{}", key.ip, key.prefix_len)).collect()
        }
    }

    fn texts(changed: BTreeSet<IpAddr>) -> Vec<String> {
        changed.into_iter().map(|ip| ip.to_string()).collect()
    }

    #[test]
    fn case_83_an_aggregate_has_one_anchor_while_a_host_route_lies_in_it() {
        let mut remote = Remote::default();
        assert_eq!(remote.set("2001:db8::5/128", Some(64)), ["2001:db8::"]);
        assert!(remote.set("2001:db8::6/128", Some(64)).is_empty());
        assert!(remote.set("2001:db8::7/64", None).is_empty(), "not under Local");
        assert!(remote.set("192.0.2.1/32", Some(24)).is_empty(), "IPv4 needs none");
        assert_eq!(remote.set("2001:db8:0:1::5/128", Some(64)), ["2001:db8:0:1::"]);
        assert_eq!(remote.anchors(), ["2001:db8::/64", "2001:db8:0:1::/64"]);
        assert!(remote.remove("2001:db8::5").is_empty());
        assert_eq!(remote.remove("2001:db8::6"), ["2001:db8::"]);
        assert_eq!(remote.set("2001:db8:0:1::5/128", None), ["2001:db8:0:1::"], "the group lost its aggregate");
        assert!(remote.anchors().is_empty());
    }

    #[test]
    fn case_83_an_anchor_gives_way_to_a_service() {
        let mut remote = Remote::default();
        remote.set("2001:db8::5/128", Some(120));
        assert_eq!(remote.anchors(), ["2001:db8::/120"]);
        assert_eq!(remote.set("2001:db8::/128", Some(120)), ["2001:db8::", "2001:db8::ff"]);
        assert_eq!(remote.anchors(), ["2001:db8::ff/120"]);
        // With the prefix of the aggregate the Service holds it.
        assert_eq!(remote.set("2001:db8::/120", None), ["2001:db8::ff"]);
        assert!(remote.anchors().is_empty());
        assert_eq!(remote.remove("2001:db8::"), ["2001:db8::"]);
        assert_eq!(remote.anchors(), ["2001:db8::/120"]);
    }
}
