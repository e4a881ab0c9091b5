//! Frames on the local links: where an address is, whether anybody has it, and what the others say of it.
//!
//! | Module | Holds |
//! |---|---|
//! | [`frames`] | what our frames look like: announcements and questions |
//! | [`decode`] | what the others' frames mean |
//! | [`socket`] | sending |
//! | [`listener`], `filter` | hearing, and what is not worth hearing |
//! | `groups` | the IPv6 groups on which questions for an address arrive |

pub mod decode;
mod filter;
pub mod frames;
mod groups;
pub mod listener;
pub mod socket;
