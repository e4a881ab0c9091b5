//! A clock that no suspension stops.

use std::ops::{Add, Sub};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Time since the machine was started, time asleep included (`CLOCK_BOOTTIME`).
///
/// [`std::time::Instant`] stands still while the machine sleeps, so a lease that ended meanwhile
/// would look valid afterwards. Nobody can set this clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct BootTime(Duration);

impl BootTime {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        // The call fails only for clocks that the kernel does not know; this one is there since
        // Linux 2.6.39. The far future makes every lease end, which is the safe side.
        let duration = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::MAX / 2, Duration::from);
        Self(duration)
    }

    /// A time for tests.
    #[must_use]
    pub const fn from_duration(since_boot: Duration) -> Self {
        Self(since_boot)
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Milliseconds since the start of the machine.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Add<Duration> for BootTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

impl Sub<Duration> for BootTime {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on() {
        let before = BootTime::now();
        std::thread::sleep(Duration::from_millis(5));
        assert!(BootTime::now().since(before) >= Duration::from_millis(5));
        assert_eq!(before.since(before + Duration::from_secs(1)), Duration::ZERO);
    }
}
