//! Tests against the real kernel, each in a network namespace of its own.
//!
//! They need root (`CAP_SYS_ADMIN` and `CAP_NET_ADMIN`) and the commands `ip` and `nft`; without them they fail. Nothing outside
//! the namespaces changes. Two tests start a kernel of their own (user-mode Linux).
//!
//! | Module | Holds |
//! |---|---|
//! | `agent` | the whole agent: Services come and go, restarts, repairs |
//! | `answers` | what the agent answers when another asks whether this kernel has an address |
//! | `announcements` | frames that announce an address |
//! | `changes` | what people, daemons and hardware do to a node's interfaces |
//! | `configuration` | settings of LBNodeAgent and of Services; events and logs |
//! | `dummy` | the interface `kube-lb0` |
//! | `foreign_addresses` | our addresses beside those of the host and of others |
//! | `golden` | scenarios, with what the kernel reports in each step |
//! | `gossip` | the UDP sockets of the gossip |
//! | `guard` | what addresses of Services let in |
//! | `listener` | frames that the agent receives |
//! | `netlink`, `nftables` | requests to the kernel, and its notifications |
//! | `program` | the program: probes and stop |
//! | `restarts` | start, stop and outages |
//! | `routing` | BIRD beside the agent |
//! | `scale` | many addresses |
//! | `sources` | which source the kernel gives to the node's own packets |
//! | `stacked_interfaces` | VRFs, bonds and VLANs |
//! | `traffic_policy` | what the agent reports about the traffic policy `Local` |
//! | `node`, `objects`, `proxy`, `interfaces`, `support`, `uml`, `wire` | helpers |

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod agent;
mod announcements;
mod answers;
mod changes;
mod configuration;
mod dummy;
mod foreign_addresses;
mod golden;
mod gossip;
mod guard;
mod interfaces;
mod listener;
mod netlink;
mod nftables;
mod node;
mod objects;
mod places;
mod program;
mod proxy;
mod restarts;
mod rights;
mod routes;
mod routing;
mod scale;
mod sources;
mod stacked_interfaces;
mod support;
mod traffic_policy;
mod uml;
mod wire;
