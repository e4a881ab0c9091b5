//! This node's Lease: that it is here, where its agent listens, and which subnets it reaches (specification, api.md 9).
//!
//! | Module | Holds |
//! |---|---|
//! | [`content`] | what the Lease says |
//! | `body` | the Lease as it is written |
//! | `schedule` | when it is written |
//! | [`renewal`] | writing it |

mod body;
pub mod content;
pub mod renewal;
mod schedule;
