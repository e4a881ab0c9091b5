//! How many events may be sent.

use std::time::Duration;

use crate::BootTime;

/// A bucket that fills with `rate` permits a second up to `burst`.
#[derive(Debug)]
pub(super) struct Limit {
    rate: f64,
    burst: f64,
    permits: f64,
    filled: BootTime,
}

impl Limit {
    pub(super) fn new(rate: u32, burst: u32, now: BootTime) -> Self {
        Self { rate: f64::from(rate), burst: f64::from(burst), permits: f64::from(burst), filled: now }
    }

    /// Takes one permit; the result is how long to wait before using it.
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
        let mut limit = Limit::new(10, 50, start);
        for _ in 0..50 {
            assert_eq!(limit.take(start), Duration::ZERO);
        }
        assert_eq!(limit.take(start), Duration::from_millis(100));
        assert_eq!(limit.take(start), Duration::from_millis(200));
        assert_eq!(limit.take(start + Duration::from_secs(60)), Duration::ZERO);
    }
}
