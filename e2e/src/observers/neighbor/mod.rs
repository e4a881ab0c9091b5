//! Asks for the owner of an address on the node LAN, by ARP or by neighbour solicitation, and records who answers.
//!
//! - `frames`: the frames of both protocols.
//! - `socket`: a socket for whole Ethernet frames.
//! - `monitor`: asks for one address every millisecond.
//! - `observations`: the recorded answers, and what follows from them.

pub(crate) mod frames;
pub(crate) mod monitor;
pub(crate) mod observations;
pub(crate) mod socket;
