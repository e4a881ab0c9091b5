//! Who answers for a local address.

pub mod choice;
pub mod claims;
pub mod envelope;
pub mod event;
pub mod link;
pub mod machine;
pub mod membership;
pub mod node;
pub mod order;
pub mod probe;
pub mod rng;
pub mod time;
pub mod wire;

pub use choice::{Qualified, Want};
pub use envelope::{Keys, Refusal};
pub use event::{Action, Ask, ConflictPolicy, Event, Fact, Frame, ProbeResult, Stop, Why};
pub use link::{Link, LinkId, Peer, Place};
pub use machine::{Config, Machine, Snapshot};
pub use node::{BootId, Mac, NodeId};
pub use probe::Cause;
pub use time::Time;
pub use wire::{Epoch, Vital};
