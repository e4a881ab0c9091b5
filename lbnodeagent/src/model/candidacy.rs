//! This node's candidacy for a local address.

use std::collections::BTreeSet;

use ownership::Want;

use crate::model::placement::Placement;

/// A local address that this node takes part in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidacy {
    /// For the protocol.
    pub want: Want,
    /// Where and how it goes into the kernel.
    pub placement: Placement,
    /// The values of `purelb.io/rebalance` of the Services that use it. A new one asks for a move.
    pub requests: BTreeSet<u64>,
}
