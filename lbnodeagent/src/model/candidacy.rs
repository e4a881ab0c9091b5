//! This node's candidacy for a local address.

use std::collections::BTreeSet;

use ownership::AddressSpec;

use crate::model::placement::Placement;

/// This node's candidacy for a local address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidacy {
    /// What the protocol is told.
    pub want: AddressSpec,
    /// Where the address goes in the kernel if this node becomes its owner.
    pub placement: Placement,
    /// The values of the annotation `purelb.io/rebalance` of the Services that use the address. A new value
    /// requests a move.
    pub requests: BTreeSet<u64>,
}
