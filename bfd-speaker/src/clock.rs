//! The clock that all processes of a boot share. It stands still while the machine sleeps, and so do the sessions.

use std::time::Duration;

use bfd::Time;
use nix::time::{ClockId, clock_gettime};

/// Now.
pub fn now() -> Time {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Time::default(), |time| Time::new(Duration::from(time)))
}
