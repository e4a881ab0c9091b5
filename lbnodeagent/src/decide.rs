//! Where an address belongs, and why: objects of the cluster and the observed kernel in, decisions out.
//!
//! | Module | Holds |
//! |---|---|
//! | [`address`] | the decision about one address |
//! | [`context`] | everything that a decision depends on |
//! | [`decision`] | decisions and this node's participation in a local address |
//! | [`reason`] | the reasons of decisions |
//! | [`interfaces`] | the interfaces for local addresses and the subnets that they reach |
//! | [`networks`] | the networks that interfaces are part of by addresses that are not ours |
//! | `traffic_policy` | what traffic policies and affinities require of a node |

pub mod address;
pub mod context;
pub mod decision;
pub mod interfaces;
pub mod networks;
pub mod reason;
mod traffic_policy;
