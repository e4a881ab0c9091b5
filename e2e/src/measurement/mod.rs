//! Measurement: many Services at once, and what a process uses.
//!
//! - `services`: creates and deletes many Services.
//! - `address_watch`: when their addresses become visible.
//! - `result`: the result of a benchmark.
//! - `usage`: memory and processor time of a process.

pub(crate) mod address_watch;
pub(crate) mod result;
pub(crate) mod services;
pub(crate) mod usage;
