//! Local addresses while nodes, agents, networks and the API server fail: one node answers at a time, and always one.
//!
//! Speed is measured by `make bench-failover`; the bounds here are only far from what a user would call an outage.

mod blocked_gossip;
mod eviction;
mod foreign_hosts;
pub(crate) mod local_service;
mod outages;
mod planned_moves;
pub(crate) mod reboot;
mod traffic_policy;
