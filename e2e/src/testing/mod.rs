//! What tests on a real cluster share.
//!
//! - [`Cluster::shared`](crate::Cluster::shared): a cluster for one test at a time.
//! - [`installed`]: the same with the load balancer installed; [`WithoutAgents`]: without its agents for a time.
//! - [`Applied`], [`object`], [`node_agent_yaml`], [`delete_events`]: objects.
//! - [`EchoNamespace`], [`BareService`]: backends and Services.
//! - [`wait_for_next_hops`], [`wait_for_address`], [`event`], [`wait_for_group_ready`]: conditions to wait for.
//! - [`Undo`]: a change that is undone at the end of the test.
//! - [`Replica`]: an allocator outside the cluster.
//! - [`audit`]: the rules about allocated addresses that hold at every moment.
//!
//! The helpers panic on errors, so that the test fails.
#![allow(
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

pub mod audit;
mod installation;
mod objects;
mod replica;
mod shared;
mod undo;
mod waits;
mod workloads;

pub use installation::{WithoutAgents, installed};
pub use objects::{Applied, delete_events, node_agent_yaml, object};
pub use replica::Replica;
pub use undo::Undo;
pub use waits::{
    DEADLINE, SETTLE_TIME, nodes_with, wait_for_address, wait_for_event, wait_for_group_ready, wait_for_next_hops,
};
pub use workloads::{BareService, EchoNamespace, ROUTED_GROUPS};
