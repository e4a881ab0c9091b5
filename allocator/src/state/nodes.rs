//! The Nodes.

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;

use crate::model::Node;

/// All Nodes, as far as the API server lets us read them.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    nodes: BTreeMap<String, Node>,
    listed: bool,
}

impl Nodes {
    /// A Node was added or changed. Returns the state before.
    pub(super) fn apply(&mut self, node: Node) -> Option<Node> {
        self.nodes.insert(node.name.clone(), node)
    }

    /// A Node was deleted. Returns its last state.
    pub(super) fn delete(&mut self, name: &str) -> Option<Node> {
        self.nodes.remove(name)
    }

    /// The complete list begins. Returns the names of known Nodes that are not listed.
    pub(super) fn begin_list(&mut self, listed: &[Node]) -> Vec<String> {
        self.listed = true;
        let is_listed = |name: &&String| listed.iter().any(|node| node.name == **name);
        self.nodes.keys().filter(|name| !is_listed(name)).cloned().collect()
    }

    /// All Nodes.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// Whether there may be a Node of this name. While Nodes cannot be read, nobody knows.
    pub(super) fn may_exist(&self, name: &str) -> bool {
        !self.listed || self.nodes.contains_key(name)
    }

    /// The networks of pods, with their nodes.
    pub(super) fn pod_networks(&self) -> impl Iterator<Item = (IpNetwork, &str)> {
        self.nodes.values().flat_map(|node| node.pod_networks.iter().map(|network| (*network, node.name.as_str())))
    }
}
