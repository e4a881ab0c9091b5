//! The machine: it hands each event to the part that it concerns, and collects what they do.
//!
//! | Module | Holds |
//! |---|---|
//! | `config` | what a machine is made from |
//! | `machine` | the machine, and the order in which a call is handled |
//! | `events` | which parts an event of the edge concerns |
//! | `timers` | what is due |
//! | `receive` | which part each frame concerns |
//! | `consequences` | what a change in one part means for the others |
//! | `snapshot` | what people see |

mod config;
mod consequences;
mod events;
#[expect(clippy::module_inception, reason = "the struct that ties everything together")]
mod machine;
mod receive;
mod snapshot;
mod timers;

pub use crate::address::AddressStatus;
pub use config::Config;
pub use machine::{Machine, PAUSE};
pub use snapshot::{MemberStatus, Snapshot};
