//! A limit for the rate of events.

use std::time::Duration;

use crate::BootTime;

/// A token bucket: it gains `rate` permits per second and holds at most `burst`.
#[derive(Debug)]
pub(super) struct RateLimit {
    rate: f64,
    burst: f64,
    permits: f64,
    filled: BootTime,
}

impl RateLimit {
    pub(super) fn new(rate: u32, burst: u32, now: BootTime) -> Self {
        Self { rate: f64::from(rate), burst: f64::from(burst), permits: f64::from(burst), filled: now }
    }

    /// Takes one permit. Returns how long to wait before it may be used.
    pub(super) fn take(&mut self, now: BootTime) -> Duration {
        self.permits = (self.permits + now.since(self.filled).as_secs_f64() * self.rate).min(self.burst) - 1.0;
        self.filled = now;
        Duration::from_secs_f64((-self.permits / self.rate).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let start = BootTime::from_duration(Duration::from_secs(1));
        let mut limit = RateLimit::new(10, 50, start);
        for _ in 0..50 {
            assert_eq!(limit.take(start), Duration::ZERO);
        }
        assert_eq!(limit.take(start), Duration::from_millis(100));
        assert_eq!(limit.take(start), Duration::from_millis(200));
        assert_eq!(limit.take(start + Duration::from_secs(60)), Duration::ZERO);
    }
}
