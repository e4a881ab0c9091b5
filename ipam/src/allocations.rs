//! What the example has given, and to whom.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Whose an allocation is. Without a cluster and a UID it was made for an older allocator.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Owner {
    /// The cluster.
    pub cluster: String,
    /// `namespace/name` of the Service.
    pub service: String,
    /// Its UID.
    pub uid: String,
}

/// The allocation of one owner in one pool.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Allocation {
    /// The sharing key; empty for none.
    pub key: String,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
}

/// The allocations of all pools, by pool and then by owner.
pub type Allocations = BTreeMap<String, BTreeMap<Owner, Allocation>>;
