//! A simulated network of nodes, each with a kernel that answers for itself and an agent that runs the machine.
#![allow(dead_code, missing_docs)]

mod addressing;
mod agents;
mod api_server;
mod clock;
pub mod cluster;
mod digest;
mod faults;
pub mod measure;
pub mod network;
mod observe;
mod segments;
mod setup;
mod trace;

pub use cluster::Cluster;
#[allow(unused_imports, reason = "only one of the two programs compares builds")]
pub use digest::Digest;
pub use setup::{Family, Setup};
