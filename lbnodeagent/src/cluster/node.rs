//! The part of this node's Node object that matters here.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api_types::names::EXCLUDE_NODE_LABEL;
use ipnetwork::IpNetwork;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};

use crate::cluster::selector::Labels;

/// The prefix of Kubernetes' own taints. They represent conditions of the node, which the `DaemonSet` tolerates.
const CONDITION: &str = "node.kubernetes.io/";
/// The prefix of calico-node's annotations.
const CALICO: &str = "projectcalico.org/";

/// The part of this node's Node object that matters here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeView {
    /// Its UID: the node owns the Lease.
    pub uid: String,
    /// Its labels, by which LBNodeAgents select nodes.
    pub labels: Labels,
    /// The addresses in its status.
    pub addresses: BTreeSet<IpAddr>,
    /// The internal ones among them, in the order of the status. Kubernetes reaches the node by the first.
    pub internal: Vec<IpAddr>,
    /// The networks of its pods, as far as Kubernetes knows them.
    pub pod_networks: Vec<IpNetwork>,
    /// Whether the label that excludes the node from load balancers is there. As for Kubernetes' own service
    /// controller its value does not matter: `false` excludes the node too.
    pub excluded: bool,
    /// The node is shut down, or the agent is evicted by a taint with the effect `NoExecute` that the
    /// `DaemonSet` does not tolerate.
    pub leaving: bool,
    /// The host is shut down.
    pub shutting_down: bool,
    /// The annotations of calico-node.
    pub calico: Labels,
}

impl NodeView {
    /// Reads a Node.
    #[must_use]
    pub fn new(object: &Node) -> Self {
        let labels = object.metadata.labels.clone().unwrap_or_default();
        let status = object.status.as_ref();
        let listed = || status.and_then(|status| status.addresses.as_ref()).into_iter().flatten();
        let internal = listed().filter(|address| address.type_ == "InternalIP");
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let spec = object.spec.as_ref();
        let pod_networks = spec.and_then(|spec| spec.pod_cidrs.as_ref()).into_iter().flatten();
        let shutting_down = conditions.into_iter().flatten().any(is_shutdown);
        let calico = |(name, _): &(&String, &String)| name.starts_with(CALICO);
        let annotations = object.metadata.annotations.iter().flatten();
        let taints = object.spec.as_ref().and_then(|spec| spec.taints.as_ref());
        Self {
            uid: object.metadata.uid.clone().unwrap_or_default(),
            excluded: labels.contains_key(EXCLUDE_NODE_LABEL),
            leaving: taints.into_iter().flatten().any(evicts) || shutting_down,
            shutting_down,
            calico: annotations.filter(calico).map(|(name, text)| (name.clone(), text.clone())).collect(),
            labels,
            pod_networks: pod_networks.filter_map(|network| network.parse().ok()).collect(),
            addresses: listed().filter_map(|address| address.address.parse().ok()).collect(),
            internal: internal.filter_map(|address| address.address.parse().ok()).collect(),
        }
    }
}

/// Whether systemd delays a shutdown for the kubelet ("Graceful node shutdown"). The kubelet says so in this
/// condition.
fn is_shutdown(condition: &NodeCondition) -> bool {
    let said = condition.message.as_deref().is_some_and(|message| message.contains("node is shutting down"));
    condition.type_ == "Ready" && condition.status == "False" && said
}

fn evicts(taint: &Taint) -> bool {
    taint.effect == "NoExecute" && !taint.key.starts_with(CONDITION)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn node(value: serde_json::Value) -> NodeView {
        NodeView::new(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn addresses_are_known_in_their_order() {
        let view = node(json!({"status": {"addresses": [
            {"type": "InternalIP", "address": "fd00:50::11"},
            {"type": "Hostname", "address": "node1"},
            {"type": "ExternalIP", "address": "203.0.113.7"},
            {"type": "InternalIP", "address": "192.168.50.11"}
        ]}}));
        assert_eq!(view.internal, ["fd00:50::11", "192.168.50.11"].map(|ip| ip.parse::<IpAddr>().unwrap()));
        assert_eq!(view.addresses.len(), 3);
    }

    #[test]
    fn the_networks_of_its_pods_are_known() {
        let view = node(json!({"spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:10:1::/64"]}}));
        assert_eq!(view.pod_networks, ["10.244.1.0/24", "fd00:10:1::/64"].map(|net| net.parse::<IpNetwork>().unwrap()));
    }

    #[rstest]
    #[case(json!({}), false)]
    #[case(json!({"node.kubernetes.io/exclude-from-external-load-balancers": ""}), true)]
    #[case(json!({"node.kubernetes.io/exclude-from-external-load-balancers": "false"}), true)]
    #[case(json!({"node-role.kubernetes.io/control-plane": ""}), false)]
    fn the_label_alone_excludes(#[case] labels: serde_json::Value, #[case] expected: bool) {
        assert_eq!(node(json!({"metadata": {"labels": labels}})).excluded, expected);
    }

    #[rstest]
    #[case("example.com/maintenance", "NoExecute", true)]
    #[case("example.com/maintenance", "NoSchedule", false)]
    #[case("node.kubernetes.io/not-ready", "NoExecute", false)]
    #[case("node.kubernetes.io/unreachable", "NoExecute", false)]
    #[case("node.kubernetes.io/unschedulable", "NoSchedule", false)]
    #[case("node.kubernetes.iox/unreachable", "NoExecute", true)]
    fn who_is_evicted_leaves(#[case] key: &str, #[case] effect: &str, #[case] expected: bool) {
        let view = node(json!({"spec": {"taints": [
            {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}, {"key": key, "effect": effect}
        ]}}));
        assert_eq!(view.leaving, expected);
    }
}
