//! What everything else is about: time, randomness, nodes, links, and the addresses to be served.

pub mod link;
pub mod node;
pub mod order;
pub mod rng;
pub mod spec;
pub mod time;
