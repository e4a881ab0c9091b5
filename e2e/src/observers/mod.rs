//! Observers: who answers for an address, which connections succeed, what a kernel reports.
//!
//! - `neighbor`: asks by ARP and neighbour discovery, and records the answers.
//! - `connector`: opens TCP connections again and again.
//! - `acceptor`: accepts TCP connections.
//! - `kernel_log`: changes of addresses and routes as the kernel reports them.
//! - `client`: the client of a cluster, which most observers run on.

pub(crate) mod acceptor;
pub(crate) mod client;
pub(crate) mod connector;
pub(crate) mod kernel_log;
pub(crate) mod neighbor;
