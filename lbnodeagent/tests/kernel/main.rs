//! Tests against the real kernel, each in a network namespace of its own.
//!
//! They need root (`CAP_SYS_ADMIN` and `CAP_NET_ADMIN`) and the command `ip`; without them they
//! fail. Nothing outside of the namespaces is touched.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod agent;
mod gossip;
mod hearing;
mod netlink;
mod node;
mod packet;
mod program;
mod scale;
mod support;
mod wire;
