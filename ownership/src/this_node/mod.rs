//! This node itself: how it is configured, what it may do, and how far its start has come.
//!
//! | Module | Holds |
//! |---|---|
//! | `policy` | what to do about foreign hosts, when to announce, how to probe |
//! | `eligibility` | whether this node may claim addresses, and keep them |
//! | `startup` | from when on claims may be made |

mod eligibility;
mod policy;
mod startup;

pub use eligibility::Eligibility;
pub use policy::{PROBE_INTERVAL, PROBE_INTERVALS, Policy};
pub use startup::Startup;
