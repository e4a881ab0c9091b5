//! The boundary of the machine: events in, actions out.
//!
//! | Module | Holds |
//! |---|---|
//! | `event` | what goes in |
//! | `action` | what comes out |
//! | `fact` | what is reported to people |
//! | `output` | where a call of the machine collects what comes out |

mod action;
mod event;
mod fact;
mod output;

pub use action::{Action, Ask};
pub use event::{ConflictPolicy, Event, Frame, Stop};
pub use fact::{Cause, Fact, ProbeResult, Why};
pub use output::Output;
