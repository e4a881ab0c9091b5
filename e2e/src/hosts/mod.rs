//! A host: a process with namespaces of its own, and the network between hosts.
//!
//! - `spec`: what a host consists of, as data.
//! - `boot`: makes the namespaces and brings the host up.
//! - `mounts`: a host's view of the file system.
//! - `cgroups`: the cgroups of a host's pods.
//! - `supervisor`: the first process of a host, which keeps its services running.
//! - `cables`: virtual Ethernet pairs and the bridge of the switch.
//! - `host`: a running host: its programs, processes, addresses and routes.
//! - `network_state`: addresses and routes as `ip` prints them.
//! - `teardown`: ends what hosts have left behind.

pub mod boot;
pub(crate) mod cables;
pub(crate) mod cgroups;
pub(crate) mod host;
pub(crate) mod mounts;
pub(crate) mod network_state;
pub(crate) mod spec;
pub(crate) mod supervisor;
pub(crate) mod teardown;
