//! The values that all parts of the agent speak of. They are pure data, without sockets, clocks or files.
//!
//! | Module | Holds |
//! |---|---|
//! | [`address`] | an address in the kernel: its key and its attributes |
//! | [`guard`] | the VIP guard: the rules and the open ports |
//! | [`link`] | interfaces and default routes |
//! | [`network`] | which networks an interface can be part of |
//! | [`observed`] | the kernel's state as last heard |
//! | [`ours`] | the one answer to the question whether an address in the kernel is ours |
//! | [`port`] | a port of a Service |
//! | [`placement`] | where on this node an address goes |
//! | [`candidacy`] | this node's candidacy for a local address |
//! | [`operation`] | one change of the kernel's addresses, and its failure |
//! | [`service_proxy`] | kube-proxy on this node |
//! | [`uids`] | the Services of an address by their UIDs |
//! | [`writer`] | who writes to which interfaces |

pub mod address;
pub mod candidacy;
pub mod guard;
pub mod link;
pub mod network;
pub mod observed;
pub mod operation;
pub mod ours;

pub mod placement;
pub mod port;
pub mod service_proxy;
#[cfg(test)]
pub(crate) mod testing;
pub mod uids;
pub mod writer;
