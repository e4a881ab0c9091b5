//! The order of candidates for a local address: by SHA-256 of `node#address`, smallest first.

use std::net::IpAddr;

use sha2::{Digest, Sha256};

use crate::{cluster::handle::Cluster, nodes::node::Node};

impl Cluster {
    /// All nodes, the first choice for `address` first.
    #[must_use]
    pub fn order(&self, address: IpAddr) -> Vec<Node> {
        let mut nodes: Vec<Node> = self.nodes().collect();
        nodes.sort_by_cached_key(|node| place(&node.name(), address));
        nodes
    }

    /// The first of the addresses that has the same order of nodes as `address`: the node that answers for one does so
    /// for the other, as long as nothing but the order decides.
    #[must_use]
    pub fn with_same_order(&self, address: IpAddr, among: impl IntoIterator<Item = IpAddr>) -> Option<IpAddr> {
        let order = |address| -> Vec<_> { self.order(address).iter().map(|node| node.id()).collect() };
        let wanted = order(address);
        among.into_iter().find(|other| order(*other) == wanted)
    }
}

fn place(node: &str, address: IpAddr) -> [u8; 32] {
    Sha256::digest(format!("{node}#{address}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_the_contracts() {
        // As computed by sha256sum over "node-a#192.0.2.10" and so on.
        let address = "192.0.2.10".parse().unwrap();
        let mut nodes = ["node-a", "node-b", "node-c"];
        nodes.sort_by_key(|node| place(node, address));
        assert_eq!(nodes[0], "node-c");
    }
}
