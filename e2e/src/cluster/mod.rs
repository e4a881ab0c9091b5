//! A whole cluster: started, found, used, stopped.
//!
//! - `handle`: a running cluster and its hosts.
//! - `lock`: one process at a time.
//! - `specs`: the addresses, services and configuration files of each host.
//! - `start`: starts a cluster.
//! - `stop`: ends a cluster.
//! - `readiness`: waits until nodes, BGP sessions and agents are ready.
//! - `kubectl`: client, `kubectl`, documents, images.
//! - `installation`: the load balancer of this checkout.
//! - `candidates`: the order of nodes for a local address.

pub(crate) mod candidates;
pub(crate) mod handle;
pub(crate) mod installation;
pub(crate) mod kubectl;
pub(crate) mod lock;
pub(crate) mod readiness;
pub(crate) mod specs;
pub(crate) mod start;
pub(crate) mod stop;
