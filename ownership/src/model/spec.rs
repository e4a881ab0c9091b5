//! What is to be served: an address, the link that it belongs to, and the limits on who may own it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::model::link::LinkId;
use crate::model::node::NodeId;

/// Limits on who may own an address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Qualified {
    /// Every node.
    #[default]
    All,
    /// These nodes if any candidate is among them, else every node (`node-affinity`).
    Preferred(BTreeSet<NodeId>),
    /// Traffic policy `Local`: the nodes of the first set that has a candidate (ready endpoints, then serving ones). If
    /// no set has one, no node claims the address anew, and its present owner keeps it.
    Tiers(Vec<BTreeSet<NodeId>>),
}

/// An address that must be served on a link of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressSpec {
    /// The address.
    pub address: IpAddr,
    /// The interface of this node that the address belongs to.
    pub link: LinkId,
    /// Who may own the address.
    pub qualified: Qualified,
    /// The hash of the value of `purelb.io/rebalance`: a change moves the address once to its first choice.
    pub rebalance: u64,
    /// A free address of the same subnet. Probing it tells proxy ARP from a foreign host.
    pub free: Option<IpAddr>,
    /// `skip-ipv6-dad`: claim without asking the link.
    pub skip_probe: bool,
}
