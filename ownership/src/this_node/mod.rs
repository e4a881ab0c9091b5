//! This node itself: how it is configured, what it may do, and how far its start has come.
//!
//! | Module | Holds |
//! |---|---|
//! | `policy` | what to do about foreign hosts, when to announce, how to probe |
//! | `eligibility` | whether this node may claim addresses, and keep them |
//! | `holdings` | what its kernel has that the machine did not put there |
//! | `lateness` | how late its own steps are |
//! | `startup` | from when on claims may be made |

mod eligibility;
mod holdings;
mod lateness;
mod policy;
mod startup;

pub use eligibility::Eligibility;
pub use holdings::KernelHoldings;
pub use lateness::Lateness;
pub use policy::{PROBE_INTERVAL, PROBE_INTERVALS, Policy};
pub use startup::Startup;
