//! A Node, reduced to its addresses and the label that excludes it from load balancers.

use std::net::IpAddr;

use api_types::names::EXCLUDE_NODE_LABEL;
use api_types::range::parse_cidr;
use api_types::reserved::names_a_host;
use ipnetwork::IpNetwork;
use k8s_openapi::api::core::v1::Node as Full;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;

/// The most addresses of one Node that are used.
const MOST_ADDRESSES: usize = 64;

/// A Node from the API server, without its images and conditions.
#[derive(Debug, Clone, Deserialize, Resource)]
#[resource(inherit = Full)]
pub struct WatchedNode {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Spec {
    #[serde(rename = "podCIDR")]
    pod_cidr: Option<String>,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Status {
    addresses: Option<Vec<NodeAddress>>,
}

#[derive(Debug, Clone, Deserialize)]
struct NodeAddress {
    address: String,
}

/// A Node as kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The addresses in its status.
    pub addresses: Vec<IpAddr>,
    /// The networks of its pods, if the cluster assigns them to nodes.
    pub pod_networks: Vec<IpNetwork>,
    /// Whether it has the label that excludes it from load balancers.
    pub excluded: bool,
}

impl WatchedNode {
    /// The Node as kept. Names and what is no address of a host are left out.
    #[must_use]
    pub fn keep(&self) -> Node {
        let listed = self.status.addresses.iter().flatten().filter_map(|entry| entry.address.parse().ok());
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in listed.filter(|address| names_a_host(*address)).take(MOST_ADDRESSES) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let mut pod_networks: Vec<IpNetwork> = Vec::new();
        for network in
            self.spec.pod_cidrs.iter().flatten().chain(&self.spec.pod_cidr).filter_map(|text| parse_cidr(text))
        {
            if !pod_networks.contains(&network) {
                pod_networks.push(network);
            }
        }
        let labels = self.metadata.labels.as_ref();
        Node {
            name: self.metadata.name.clone().unwrap_or_default(),
            addresses,
            pod_networks,
            excluded: labels.is_some_and(|labels| labels.contains_key(EXCLUDE_NODE_LABEL)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keeps_addresses_and_pod_networks() {
        let watched: WatchedNode = serde_json::from_value(json!({
            "metadata": {"name": "node1", "labels": {"node.kubernetes.io/exclude-from-external-load-balancers": ""}},
            "spec": {"podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24", "fd00:244::/64"]},
            "status": {
                "addresses": [
                    {"type": "InternalIP", "address": "192.168.50.11"}, {"type": "Hostname", "address": "node1"},
                    {"type": "ExternalIP", "address": "192.168.50.11"}, {"type": "InternalIP", "address": "127.0.0.1"}
                ],
                "images": [{"names": ["x"]}]
            }
        }))
        .unwrap();
        let node = watched.keep();
        assert_eq!(node.addresses, ["192.168.50.11".parse::<IpAddr>().unwrap()]);
        assert_eq!(node.pod_networks.len(), 2);
        assert!(node.excluded);
    }
}
