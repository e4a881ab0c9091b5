//! Tests against the real kernel, each in a network namespace of its own.
//!
//! They need root (`CAP_SYS_ADMIN` and `CAP_NET_ADMIN`) and the command `ip`; without them they
//! fail. Nothing outside of the namespaces is touched. Two of them bring a kernel of their own.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod agent;
mod changes;
mod dummy;
mod golden;
mod gossip;
mod hearing;
mod netdevs;
mod netlink;
mod nics;
mod node;
mod objects;
mod others;
mod packet;
mod program;
mod routing;
mod runs;
mod scale;
mod settings;
mod support;
mod uml;
mod wire;
