//! What the tests of the allocator share.
//!
//! - `fixture`: a namespace, ServiceGroups and Services of one test.
//! - `expectations`: what is expected of Services and groups.
//! - `leader`: the allocator that leads, its pod and its metrics.
//! - `replicas`: allocators outside the cluster.
//! - `sidecar`: an IPAM sidecar that misbehaves on request.
//! - `node_lease`: the Lease of a node that does not exist.
//! - `invariants`: the rules about allocated addresses, checked at every change.

pub(crate) mod expectations;
pub(crate) mod fixture;
pub(crate) mod invariants;
pub(crate) mod leader;
pub(crate) mod node_lease;
pub(crate) mod replicas;
pub(crate) mod sidecar;
