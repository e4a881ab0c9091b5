//! Where on this node an address goes.

use api_types::AddressAttributes;
use serde::Serialize;

use crate::model::address::AddressKey;

/// How an address is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// On a network interface of its owner alone.
    Local,
    /// On the dummy interface of every node.
    Remote,
}

/// Where on this node an address goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// How it is announced.
    pub kind: Kind,
    /// The interface and the prefix length.
    pub key: AddressKey,
    /// Lifetimes and flags.
    pub attributes: AddressAttributes,
}
