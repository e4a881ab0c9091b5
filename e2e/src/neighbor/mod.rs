//! Asks "who has this address" on the node LAN, by ARP or by neighbour solicitation, and listens to who answers.

mod frames;
mod monitor;
mod observations;
mod socket;

pub use frames::{Heard, Kind};
pub use monitor::ArpMonitor;
pub use observations::Observations;

pub(crate) use frames::Asker;
pub(crate) use socket::LinkSocket;
