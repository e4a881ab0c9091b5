//! What this node's Lease says.

use std::net::SocketAddr;

use ipnetwork::IpNetwork;

/// The name under which we write.
pub const FIELD_MANAGER: &str = "purelb-lbnodeagent";

/// What the Lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// UID of the Node, the owner of the Lease.
    pub node_uid: String,
    /// The subnets on which this node can answer.
    pub subnets: Vec<IpNetwork>,
    /// The node's own addresses on its local interfaces, each with the length of its prefix.
    pub addresses: Vec<IpNetwork>,
    /// The hardware addresses of all its interfaces.
    pub macs: Vec<[u8; 6]>,
    /// Where we listen for gossip, the best first.
    pub endpoints: Vec<SocketAddr>,
    /// Gossip is silent, so that Leases have to tell who lives: they are renewed often and are short.
    pub gossip_silent: bool,
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
