//! ARP and neighbour discovery frames: announcements, probes, and what other hosts send.
//!
//! | Module | Holds |
//! |---|---|
//! | [`frames`] | our frames: announcements and questions |
//! | [`decode`] | the meaning of other hosts' frames |
//! | [`socket`] | sending |
//! | [`listener`], `filter` | receiving, and the frames that are not received |
//! | `groups` | the IPv6 groups on which questions for an address arrive |

pub mod decode;
mod filter;
pub mod frames;
mod groups;
pub mod listener;
pub mod socket;
