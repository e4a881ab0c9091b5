//! Faults: each lasts as long as its value lives.
//!
//! - `frames`: frames that the switch loses.
//! - `foreign_host`: a host outside the cluster that uses an address.
//! - `frozen_agent`: an agent that stands still.
//! - `datagrams`: captured and forged datagrams.
//! - `api_proxy`: a connection to the API server that can be blocked.
//! - `repair`: undoes every fault.

pub(crate) mod api_proxy;
pub(crate) mod datagrams;
pub(crate) mod foreign_host;
pub(crate) mod frames;
pub(crate) mod frozen_agent;
pub(crate) mod repair;
