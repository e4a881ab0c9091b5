//! Tests of the load balancer on a real cluster. They share the clusters, one test at a time, and each cleans up after
//! itself.
//!
//! | Module | Tests |
//! |---|---|
//! | `lab`, `faults` | the lab itself: what the other tests rely on |
//! | `install` | installing, uninstalling, both API versions, metrics |
//! | `security` | what the programs' accounts may do |
//! | `bad_input` | wrong input is reported where the user looks |
//! | `configuration` | LBNodeAgent resources that come, change and go |
//! | `routed` | remote addresses: kube-lb0, BIRD, router, client |
//! | `kube_proxy` | a node whose kube-proxy fails |
//! | `vip_guard` | what addresses of Services let in |
//! | `bfd` | routers that notice the death of a node by BFD |
//! | `local`, `many_addresses` | local addresses, one and a thousand |
//! | `traffic_policy` | `externalTrafficPolicy: Local` and remote addresses |
//! | `rolling_update` | connections under `externalTrafficPolicy: Local` while a Deployment is updated |
//! | `failover` | local addresses while something fails |
//! | `field` | what happened to users of such software, each with its right answer |
//! | `bad_habits` | programs that share the cluster and do not behave |
//! | `outage`, `restart`, `repair` | an API server out of reach, restarts, addresses removed by hand |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod bad_habits;
mod bad_input;
mod bfd;
mod configuration;
mod failover;
mod faults;
mod field;
mod install;
mod kube_proxy;
mod lab;
mod local;
mod many_addresses;
mod outage;
mod repair;
mod restart;
mod rolling_update;
mod routed;
mod security;
mod traffic_policy;
mod vip_guard;
