//! The contract's order of nodes for an address: SHA-256 of `node#address`, compared as bytes.
//!
//! It decides who is asked first, and between equals. It is advice: sticky owners and probes come before it.

use std::fmt::Display;

use ring::digest::{Context, SHA256};

use crate::node::NodeId;

/// The place of a node for a thing (an address, or an owner on a subnet): smaller comes first.
#[must_use]
pub fn place(node: &NodeId, thing: &impl Display) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    hash.update(node.as_str().as_bytes());
    hash.update(b"#");
    // The canonical text: RFC 5952 for IPv6.
    hash.update(thing.to_string().as_bytes());
    hash.finish().as_ref().try_into().unwrap_or([u8::MAX; 32])
}

/// Whether `left` comes before `right`.
#[must_use]
pub fn precedes(left: &NodeId, right: &NodeId, thing: &impl Display) -> bool {
    place(left, thing) < place(right, thing)
}

/// Sorts nodes by their place.
pub fn sort(nodes: &mut [NodeId], thing: &impl Display) {
    nodes.sort_by_cached_key(|node| place(node, thing));
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
    }
}
