//! What we keep of this node's Node object.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Node;

use crate::config::Labels;

/// This node as the API server knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeView {
    /// Its UID: owner of the Lease.
    pub uid: String,
    /// Its labels: the LBNodeAgents select by them.
    pub labels: Labels,
    /// Its own addresses: never touched.
    pub addresses: BTreeSet<IpAddr>,
}

impl NodeView {
    /// Reads a Node.
    #[must_use]
    pub fn new(object: &Node) -> Self {
        let addresses = object.status.as_ref().and_then(|status| status.addresses.as_ref());
        Self {
            uid: object.metadata.uid.clone().unwrap_or_default(),
            labels: object.metadata.labels.clone().unwrap_or_default(),
            addresses: addresses.into_iter().flatten().filter_map(|address| address.address.parse().ok()).collect(),
        }
    }
}
