//! The protocol on a simulated network: the rows of the project's table, each over many seeds, with its bounds.
//!
//! `OWNERSHIP_SEEDS` sets how many seeds a row takes. Each test prints what it measured (`--nocapture`).

// The helpers of a test may panic, like the test itself.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::struct_excessive_bools)]
#![allow(clippy::large_enum_variant, clippy::needless_pass_by_value, clippy::unused_self)]
#![allow(clippy::single_match_else, clippy::semicolon_if_nothing_returned)]

mod row;
#[path = "../sim/mod.rs"]
mod sim;

mod agents;
mod busy;
mod conflicts;
mod control_plane;
mod crashes;
mod frames;
mod holders;
mod loss;
mod moves;
mod silent;
mod startup;
mod versions;
