//! Tests on the real cluster. They share one, one at a time, and each cleans up after itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

mod bad_input;
mod configuration;
mod failover;
mod faults;
mod heal;
mod install;
mod lab;
mod local;
mod many;
mod outage;
mod policy;
mod restart;
mod routed;
mod security;
