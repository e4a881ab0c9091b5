//! The node agent: makes this Linux host answer for the addresses of `LoadBalancer` Services.
//!
//! One direction of data: watches and notifications change a pure state, the state says where
//! each address belongs, the difference to the kernel becomes a plan, one writer carries it out,
//! and what the kernel then has flows back in.
//!
//! | Module | Holds |
//! |---|---|
//! | [`flags`] | the command line and the environment |
//! | [`services`], [`groups`], [`endpoints`], [`nodes`] | what we keep of the cluster's objects |
//! | [`config`] | which LBNodeAgent applies to this node |
//! | [`keys`] | the gossip's key, from its Secret |
//! | [`members`] | the nodes that can answer, known by their Leases |
//! | [`world`] | all of the above: inputs in, addresses to look at again out |
//! | [`observed`] | what the kernel has |
//! | [`interfaces`] | where local addresses may go, and which subnets that reaches |
//! | [`desired`] | where an address belongs, and why |
//! | [`reconcile`] | from desired and observed to operations |
//! | [`netlink`] | the kernel |
//! | [`record`] | what is ours, on kernels that cannot mark addresses |
//! | `restraint` | patience with whoever keeps removing an address |
//! | [`packet`] | ARP and neighbour discovery: announcing, asking, hearing |
//! | [`gossip`] | the datagrams between the agents |
//! | [`publish`] | our Lease and the announcing annotations |
//! | [`watches`], [`lean`] | the cluster's objects, read no further than needed |
//! | [`local`] | local addresses: the protocol between the agents on this node's kernel and sockets |
//! | [`agent`] | the loop around all of it |
//! | [`metrics`], [`state`] | what the agent says of itself |

pub mod agent;
pub mod config;
pub mod desired;
pub mod endpoints;
pub mod flags;
pub mod gossip;
pub mod groups;
pub mod interfaces;
pub mod keys;
pub mod lean;
pub mod local;
pub mod members;
pub mod metrics;
pub mod netlink;
pub mod nodes;
pub mod observed;
pub mod packet;
pub mod publish;
pub mod reconcile;
pub mod record;
mod restraint;
pub mod services;
pub mod state;
pub mod watches;
pub mod world;
