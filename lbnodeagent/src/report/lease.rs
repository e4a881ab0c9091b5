//! This node's Lease: that it is here, where its agent listens, and which subnets it reaches (specification, api.md 9).
//!
//! | Module | Holds |
//! |---|---|
//! | [`content`] | what the Lease says |
//! | [`entries`] | what it says of addresses that are refused or held |
//! | `body` | the Lease as it is written |
//! | [`own`] | the node's own addresses and gateways |
//! | [`schedule`] | when it is written |
//! | `health` | how long it could not be written, and what is reported of that |
//! | [`writer`] | writing it |

mod body;
pub mod content;
pub mod entries;
mod health;
pub mod own;
pub mod schedule;
pub mod writer;
