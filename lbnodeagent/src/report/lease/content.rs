//! What this node's Lease says.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use api_types::lease::{Inactive, ProxyState};
use ipnetwork::IpNetwork;

use super::own::OwnLists;
use crate::cluster::node::NodeView;
use crate::decide::interfaces::{Selected, Selection};
use crate::decide::networks::own_addresses;
use crate::model::observed::Observed;
use crate::model::ours::Ours;

/// The field manager of all our writes.
pub const FIELD_MANAGER: &str = "purelb-lbnodeagent";

/// What the Lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// UID of the Node, the owner of the Lease.
    pub node_uid: String,
    /// The subnets on which this node can answer.
    pub subnets: Vec<IpNetwork>,
    /// The node's own addresses on its local interfaces, each with its prefix length.
    pub addresses: Vec<IpNetwork>,
    /// The node's own addresses on any interface, and its gateways.
    pub own: OwnLists,
    /// The hardware addresses of all its interfaces.
    pub macs: Vec<[u8; 6]>,
    /// Where this agent listens for gossip, the best endpoint first.
    pub endpoints: Vec<SocketAddr>,
    /// How often it is renewed.
    pub every: Duration,
    /// Whether kube-proxy serves this node; nothing on one that announces no routed addresses.
    pub proxy: Option<ProxyState>,
    /// Why this agent announces nothing.
    pub inactive: Option<Inactive>,
}

impl Content {
    /// What follows from the node and its interfaces.
    #[must_use]
    pub fn new(
        node: &NodeView,
        selection: &Selection,
        observed: &Observed,
        ours: Ours<'_>,
        own: OwnLists,
        gossip_port: u16,
        every: Duration,
    ) -> Self {
        // Those of interfaces without a cable too: others must know to whom they belong.
        let on = |selected: &Selected| own_addresses(observed, selected.index, ours);
        let places = selection.iter().flat_map(|selected| selected.places(on(selected)));
        let places: BTreeSet<(IpAddr, u8)> = places.collect();
        let mut hosts = node.internal.clone();
        let listening: BTreeSet<IpAddr> = selection.iter().flat_map(on).map(|key| key.ip).collect();
        hosts.extend(listening);
        let mut endpoints: Vec<SocketAddr> = Vec::new();
        for host in hosts {
            let endpoint = SocketAddr::new(host, gossip_port);
            if !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
        }
        Self {
            node_uid: node.uid.clone(),
            subnets: selection.subnets(),
            addresses: places.into_iter().filter_map(|(ip, length)| IpNetwork::new(ip, length).ok()).collect(),
            own,
            macs: answering_macs(selection, observed),
            endpoints,
            every,
            proxy: None,
            inactive: None,
        }
    }

    /// Whether the others can wait for this content after they were sent another one: what no Service may have differs, or
    /// the node's own addresses do, and it still has one in each subnet and one to send to that the others know.
    #[must_use]
    pub fn can_wait(&self, sent: &Self) -> bool {
        let (own, addresses, endpoints) = (sent.own.clone(), sent.addresses.clone(), sent.endpoints.clone());
        let same = Self { addresses, own, endpoints, ..self.clone() } == *sent;
        let kept = |subnet: &IpNetwork| {
            self.addresses.iter().any(|own| subnet.contains(own.ip()) && sent.addresses.contains(own))
        };
        let reached = self.endpoints == sent.endpoints || self.endpoints.iter().any(|to| sent.endpoints.contains(to));
        same && reached && self.subnets.iter().all(|subnet| self.addresses == sent.addresses || kept(subnet))
    }
}

/// The hardware addresses with which this node can be seen to answer. The hosts' ends of pods, which come and go, are
/// not among them.
fn answering_macs(selection: &Selection, observed: &Observed) -> Vec<[u8; 6]> {
    let on_a_network: BTreeSet<u32> =
        observed.addresses.iter().filter(|(_, found)| found.scope == 0).map(|(key, _)| key.index).collect();
    let answering = observed.links.iter().filter(|(index, link)| {
        let port = link.bond.is_some_and(|bond| selection.has(bond));
        link.resolves && !link.loopback && (on_a_network.contains(index) || selection.has(**index) || port)
    });
    let macs: BTreeSet<[u8; 6]> = answering.filter_map(|(_, link)| link.mac).filter(|mac| *mac != [0; 6]).collect();
    macs.into_iter().collect()
}

/// Who writes the Lease, and where.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The install namespace.
    pub namespace: String,
    /// The node.
    pub node: String,
    /// UID of the pod.
    pub pod_uid: String,
}

#[cfg(test)]
mod tests {
    use api_types::AgentConfig;
    use serde_json::json;

    use super::*;
    use crate::decide::default_interfaces::DefaultInterfaces;
    use crate::model::link::Link;
    use crate::model::observed::Change;
    use crate::model::testing::node;

    #[test]
    fn ports_of_a_selected_bond_answer_and_ends_of_pods_do_not() {
        let mut observed = node();
        for (index, mac, bond) in [(10, 10, Some(2)), (11, 11, Some(9)), (12, 12, None)] {
            let link = Link { resolves: true, mac: Some([2, 0, 0, 0, 0, mac]), bond, ..Link::default() };
            observed.apply(Change::Link(index, link));
        }
        let config = AgentConfig::new(&serde_json::from_value(json!({"localInterface": "eth0"})).unwrap()).unwrap();
        let (none, defaults) = (BTreeSet::new(), DefaultInterfaces::default());
        let selection = Selection::new(&config, &observed, Ours::new(&none, true), &[], &defaults);
        // The first one is the node's own in this observation.
        assert_eq!(answering_macs(&selection, &observed), [1, 10].map(|last| [2, 0, 0, 0, 0, last]));
    }
}
