//! Time as an argument: the distance from a fixed moment of this boot.

use std::time::Duration;

/// A moment of `CLOCK_MONOTONIC`, the same for all processes of one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time(Duration);

impl Time {
    /// The moment that is this long after the clock's zero.
    #[must_use]
    pub const fn new(since_zero: Duration) -> Self {
        Self(since_zero)
    }

    /// The moment that is this many milliseconds after the clock's zero.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// The distance from the clock's zero.
    #[must_use]
    pub const fn since_zero(self) -> Duration {
        self.0
    }

    /// The moment that is this much later.
    #[must_use]
    pub const fn after(self, distance: Duration) -> Self {
        Self(self.0.saturating_add(distance))
    }

    /// The distance from an earlier moment; zero if that is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
