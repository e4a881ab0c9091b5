//! The boundary of the machine: events in, actions out.
//!
//! | Module | Holds |
//! |---|---|
//! | `event` | what goes in |
//! | `action` | what comes out |
//! | `notification` | what is reported to people |
//! | `output` | where a call of the machine collects what comes out |

mod action;
mod event;
mod notification;
mod output;

pub use action::{Action, ProbeKind};
pub use event::{ConflictPolicy, Event, FailureDetection, KernelHolding, NeighborFrame, Stop};
pub use notification::{ClaimReason, Notification, ProbeResult, ReleaseReason};
pub use output::Output;
