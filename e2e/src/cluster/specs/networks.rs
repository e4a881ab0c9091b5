//! The networks of pods and of cluster IPs, and the routes to each node's pods.

use crate::topology::host_id::HostId;

/// The pod networks of the cluster; each node has a part of them.
pub(crate) const PODS: &str = "10.244.0.0/16,fd00:10:244::/56";

/// The networks of cluster IPs.
pub(crate) const SERVICES: &str = "10.96.0.0/16,fd00:10:96::/112";

/// A node's part of the pod networks.
pub(crate) fn pod_networks(number: u8) -> [String; 2] {
    [format!("10.244.{number}.0/24"), format!("fd00:10:244:{number}::/64")]
}

/// Commands for `ip` that lead to the pods of a node.
pub(crate) fn routes_to_pods(number: u8) -> [String; 2] {
    let [v4, v6] = pod_networks(number);
    let node = HostId::Node(number);
    [format!("route add {v4} via {}", node.ipv4()), format!("route add {v6} via {}", node.ipv6())]
}
