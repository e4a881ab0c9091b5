//! The machine: it hands each event to the part that it concerns, and collects what they do.
//!
//! | Module | Holds |
//! |---|---|
//! | `config` | what a machine is made from |
//! | `machine` | events and timers, in the order in which they are handled |
//! | `receive` | which part each frame concerns |
//! | `snapshot` | what people see |

mod config;
#[expect(clippy::module_inception, reason = "the struct that ties everything together")]
mod machine;
mod receive;
mod snapshot;

pub use crate::address::AddressState;
pub use config::Config;
pub use machine::{Machine, PAUSE};
pub use snapshot::{MemberState, Snapshot};
