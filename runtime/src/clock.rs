//! A clock that does not stop while the machine is suspended.

use std::ops::{Add, Sub};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Time since the machine was started, including the time it was suspended (`CLOCK_BOOTTIME`).
///
/// [`std::time::Instant`] stops while the machine is suspended. A leadership that ended meanwhile would still look
/// valid afterwards. This clock cannot be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct BootTime(Duration);

impl BootTime {
    /// The present time.
    #[must_use]
    pub fn now() -> Self {
        // The call fails only for clocks that the kernel does not have. This one exists since Linux 2.6.39. A time in
        // the far future is safe, because every leadership has ended by then.
        let duration = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::MAX / 2, Duration::from);
        Self(duration)
    }

    /// A fixed time, for tests.
    #[must_use]
    pub const fn from_duration(since_boot: Duration) -> Self {
        Self(since_boot)
    }

    /// The time from `earlier` until this. Zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Milliseconds since the machine was started.
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
    fn advances() {
        let before = BootTime::now();
        std::thread::sleep(Duration::from_millis(5));
        assert!(BootTime::now().since(before) >= Duration::from_millis(5));
        assert_eq!(before.since(before + Duration::from_secs(1)), Duration::ZERO);
    }
}
