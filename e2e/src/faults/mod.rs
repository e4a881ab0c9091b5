//! Faults: each ends when its value is dropped.
//!
//! - `frames`: frames that the switch drops.
//! - `foreign_host`: a host outside the cluster that uses an address.
//! - `frozen_agent`: a suspended agent.
//! - `busy`: a host whose processors are all taken.
//! - `datagrams`: captured and forged datagrams.
//! - `api_proxy`: a connection to the API server that can be blocked.
//! - `repair`: undoes every fault.

pub(crate) mod api_proxy;
pub(crate) mod busy;
pub(crate) mod datagrams;
pub(crate) mod foreign_host;
pub(crate) mod frames;
pub(crate) mod frozen_agent;
pub(crate) mod repair;
