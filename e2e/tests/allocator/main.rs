//! Tests of the allocator on a real cluster: one for each thing that it can do. They share the clusters, one test at a
//! time, and each cleans up after itself.
//!
//! | Module | Tests |
//! |---|---|
//! | `groups` | which group serves a Service: annotation, namespaces, default, class, scope |
//! | `families` | one address per family |
//! | `ranges` | several ranges, multi-pool, balanced |
//! | `requested_addresses` | addresses that the user names |
//! | `sharing` | several Services on one address |
//! | `external` | addresses from an IPAM sidecar |
//! | `external_habits` | sidecars with bad habits, and people who edit what belongs to the allocator |
//! | `lifecycle` | Services and groups that change, fill up, overlap and are deleted |
//! | `status` | conditions, columns, counters, metrics, events |
//! | `field` | what happened to users of such software |
//! | `replicas` | two replicas: death, pause, partition, late writes |
//! | `crash` | killed at random moments under load |
//! | `support` | what these tests share |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod crash;
mod external;
mod external_habits;
mod families;
mod field;
mod groups;
mod lifecycle;
mod ranges;
mod replicas;
mod requested_addresses;
mod sharing;
mod status;
mod support;
