//! What tests on a real cluster share.
//!
//! - [`Cluster::shared`](crate::Cluster::shared): a cluster for one test at a time.
//! - [`installed`]: the same with the load balancer in it; [`WithoutAgents`],
//!   [`WithoutAllocator`]: without one of its programs for a while; [`restart_agents`]: new agents on all nodes;
//!   [`change_leader`]: another allocator leads.
//! - [`Applied`], [`object`], [`group_object`], [`host_routes_object`], [`endpoint_slice`], [`node_agent_yaml`]:
//!   objects; [`overwrite_status`], [`delete_events`]: changes to them.
//! - [`EchoNamespace`], [`BareService`], [`service_object`]: backends and Services.
//! - [`wait_for_next_hops`], [`wait_for_address`], [`wait_for_event`], [`wait_for_condition`]: what to wait for.
//! - [`Watched`]: addresses that the client asks for each millisecond.
//! - [`Undo`]: a change that ends with the test.
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
mod leader;
mod objects;
mod replica;
mod shared;
mod undo;
mod waits;
mod watched;
mod workloads;

pub use installation::{WithoutAgents, WithoutAllocator, installed, restart_agents};
pub use leader::change_leader;
pub use objects::{
    Applied, delete_events, endpoint_slice, group_object, host_routes_object, node_agent_yaml, object, overwrite_status,
};
pub use replica::Replica;
pub use undo::Undo;
pub use waits::{
    DEADLINE, SETTLE_TIME, events, nodes_with, only_node_with, wait_for_address, wait_for_condition, wait_for_event,
    wait_for_event_among, wait_for_group_ready, wait_for_next_hops, wait_for_no_condition,
};
pub use watched::{STEADY, Watched};
pub use workloads::{BareService, EchoNamespace, ROUTED_GROUPS, service_object};
