//! The node agent: makes this Linux host answer for the addresses of `LoadBalancer` Services.
//!
//! Data flows one way. Watches and notifications change pure state; the state decides where each address belongs; the
//! difference to the kernel becomes a plan; one writer for each kind of address applies it; what the kernel then has
//! flows back in. Modules import each other in this direction only, the lower ones of this table from the upper ones.
//!
//! | Module | Holds |
//! |---|---|
//! | [`flags`] | the command line and the environment |
//! | [`model`] | the values that all others speak of: addresses, links, placements, operations |
//! | [`cluster`] | what is known of Services, groups, endpoints, nodes, members, configuration and keys |
//! | [`decide`] | where an address belongs, and why |
//! | [`plan`] | from desired and observed state to operations |
//! | [`kernel`] | netlink, packet and UDP sockets |
//! | [`kube_proxy`] | what kube-proxy says on its ports |
//! | [`bfd`] | which routers are to be answered by BFD, and what they see |
//! | [`report`] | what this node says of itself: Kubernetes events, metrics, `/state`, annotations, its Lease |
//! | [`local`] | local addresses: the protocol between the agents on this node's kernel and sockets |
//! | [`guard`] | the VIP guard: what it knows of the kernel and of kube-proxy |
//! | [`remote`] | remote addresses: the dummy interface and what is on it |
//! | [`agent`] | the loop around all of it |

pub mod agent;
pub mod bfd;
pub mod cluster;
pub mod decide;
pub mod flags;
pub mod guard;
pub mod kernel;
pub mod kube_proxy;
pub mod local;
pub mod model;
pub mod plan;
pub mod remote;
pub mod report;
