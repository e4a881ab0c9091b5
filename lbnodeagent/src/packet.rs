//! Frames that tell the neighbours where an address is.
//!
//! | Module | Holds |
//! |---|---|
//! | [`frames`] | what the frames look like |
//! | [`socket`] | sending them |
//! | [`schedule`] | when they are sent |

pub mod frames;
pub mod schedule;
pub mod socket;
