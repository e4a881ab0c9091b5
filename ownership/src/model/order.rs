//! The contract's order of nodes for an address: SHA-256 of `node#address`, compared as bytes.
//!
//! It decides who is asked first, and between equals. It is advice: sticky owners and probes come before it.

use std::fmt::Display;

use ring::digest::{Context, SHA256};

use crate::model::node::NodeId;

/// The order for one thing (an address, or a subnet), whose text is made once for all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order(String);

impl Order {
    /// The order for this thing.
    #[must_use]
    pub fn new(thing: &impl Display) -> Self {
        // The canonical text: RFC 5952 for IPv6.
        Self(thing.to_string())
    }

    /// The place of a node: smaller comes first.
    #[must_use]
    pub fn place(&self, node: &NodeId) -> [u8; 32] {
        let mut hash = Context::new(&SHA256);
        hash.update(node.as_str().as_bytes());
        hash.update(b"#");
        hash.update(self.0.as_bytes());
        hash.finish().as_ref().try_into().unwrap_or([u8::MAX; 32])
    }

    /// Sorts nodes by their place.
    pub fn sort(&self, nodes: &mut [NodeId]) {
        nodes.sort_by_cached_key(|node| self.place(node));
    }

    /// How many of the nodes come before this one.
    #[must_use]
    pub fn rank(&self, nodes: &[NodeId], node: &NodeId) -> usize {
        let own = self.place(node);
        nodes.iter().filter(|other| *other != node && self.place(other) < own).count()
    }
}

/// Whether `left` comes before `right`.
#[must_use]
pub fn precedes(left: &NodeId, right: &NodeId, thing: &impl Display) -> bool {
    let order = Order::new(thing);
    order.place(left) < order.place(right)
}

/// Sorts nodes by their place.
pub fn sort(nodes: &mut [NodeId], thing: &impl Display) {
    Order::new(thing).sort(nodes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_the_contracts() {
        // As computed by sha256sum over "node-c#192.0.2.10" and so on.
        let mut nodes: Vec<_> = ["node-a", "node-b", "node-c"].into_iter().filter_map(NodeId::new).collect();
        let address: std::net::IpAddr = "192.0.2.10".parse().unwrap();
        sort(&mut nodes, &address);
        assert_eq!(nodes[0].as_str(), "node-c");
        assert!(precedes(&nodes[0], &nodes[1], &address));
        let order = Order::new(&address);
        let ranks: Vec<_> = nodes.iter().map(|node| order.rank(&nodes, node)).collect();
        assert_eq!(ranks, [0, 1, 2]);
    }
}
