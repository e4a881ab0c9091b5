//! Growing delays with jitter.

use std::time::Duration;

/// Delays that double from `first` to `max`. Each is a random time between half of its step and the whole step.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// A backoff whose first delay is `first`.
    #[must_use]
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, failures: 0 }
    }

    /// The backoff of watches: 0.2 s to 5 s, so that a watch is open again soon after an outage of the API server.
    #[must_use]
    pub const fn watch() -> Self {
        Self::new(Duration::from_millis(200), Duration::from_secs(5))
    }

    /// The delay before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let delay = step(self.first, self.max, self.failures);
        self.failures = self.failures.saturating_add(1);
        delay.mul_f64(0.5 + 0.5 * random_unit())
    }

    /// Starts again at the first delay, after a success.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The number of failures since the last success.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

/// The delay after this many earlier failures, without jitter: `first`, doubled for each of them, up to `max`.
#[must_use]
pub fn step(first: Duration, max: Duration, failures: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(failures.min(31))).min(max)
}

/// A random number in [0, 1). One half if the kernel has no random numbers.
#[must_use]
pub fn random_unit() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_maximum() {
        let (first, max) = (Duration::from_millis(100), Duration::from_secs(2));
        let steps: Vec<u128> = (0..7).map(|failures| step(first, max, failures).as_millis()).collect();
        assert_eq!(steps, [100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(step(first, max, u32::MAX), max);
    }

    #[test]
    fn jitter_stays_in_the_upper_half() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(1));
        for _ in 0..100 {
            let delay = backoff.next_delay();
            assert!(delay >= Duration::from_millis(500) && delay <= Duration::from_secs(1));
        }
        backoff.reset();
        assert_eq!(backoff.failures(), 0);
    }
}
