//! The allocator on the real cluster: one test for each thing that it can do. They share one cluster, one at a time, and
//! each cleans up after itself.
//!
//! | Module | Tests |
//! |---|---|
//! | `replicas` | two replicas: death, pause, partition, late write |
//! | `crash` | killed at random moments under load |
//! | `groups` | which group serves a Service: annotation, namespaces, default, class, scope |
//! | `families` | one address per family |
//! | `ranges` | several ranges, multi-pool, balanced |
//! | `pins` | addresses that the user names |
//! | `sharing` | several Services on one address |
//! | `external` | addresses from an IPAM sidecar |
//! | `life` | Services and groups that change, fill up, overlap and go |
//! | `telling` | conditions, columns, counters, metrics, events |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod crash;
mod external;
mod families;
mod field;
mod groups;
mod life;
mod pins;
mod ranges;
mod replicas;
mod sharing;
mod sidecar;
mod telling;
mod vigil;
