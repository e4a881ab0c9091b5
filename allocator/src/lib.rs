//! The allocator: gives Services of type `LoadBalancer` their addresses.
//!
//! Watches feed [`state`], which holds everything that is known and says what to write. [`edge`] sends the writes, and
//! the answers of the API server go back into the state. Only `edge` waits and knows a network; all else is synchronous.
//!
//! Each module uses only those above it:
//!
//! | Module | Holds |
//! |---|---|
//! | [`model`] | Services and ServiceGroups, reduced to what is used |
//! | [`addresses`] | who holds which address, and the next free address |
//! | [`external`] | allocations by IPAM sidecars: their states, and which call is next |
//! | [`plan`] | what one Service should have |
//! | [`metrics`] | the metrics of the allocator |
//! | [`state`] | the index: objects in; writes, calls and Kubernetes events out |
//! | [`edge`] | watches, writes, calls, leadership, the gossip key |

pub mod addresses;
pub mod edge;
pub mod external;
pub mod metrics;
pub mod model;
pub mod plan;
pub mod state;

#[cfg(test)]
mod tests;

/// The field manager of every write.
pub const FIELD_MANAGER: &str = "purelb-allocator";
