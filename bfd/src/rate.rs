//! A limit on what one peer may send.

use std::time::Duration;

use crate::time::Time;

/// A token bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// A token comes back after this time.
    every: Duration,
    burst: u32,
    tokens: u32,
    filled: Time,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub const fn new(every: Duration, burst: u32) -> Self {
        Self { every, burst, tokens: burst, filled: Time::from_millis(0) }
    }

    /// Takes a token; `false` if there is none.
    pub fn take(&mut self, now: Time) -> bool {
        let earned = now.since(self.filled).as_micros().checked_div(self.every.as_micros()).unwrap_or(u128::MAX);
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            self.tokens = self.tokens.saturating_add(earned).min(self.burst);
            // The rest of a token is kept unless the bucket is full.
            self.filled =
                if self.tokens == self.burst { now } else { self.filled.after(self.every.saturating_mul(earned)) };
        }
        let taken = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = Bucket::new(Duration::from_millis(10), 5);
        let taken = |bucket: &mut Bucket, at| (0..100).filter(|_| bucket.take(Time::from_millis(at))).count();
        assert_eq!(taken(&mut bucket, 1000), 5);
        assert_eq!(taken(&mut bucket, 1009), 0);
        assert_eq!(taken(&mut bucket, 1025), 2);
        assert_eq!(taken(&mut bucket, 1030), 1);
        assert_eq!(taken(&mut bucket, 90_000), 5);
        assert_eq!(taken(&mut bucket, 0), 0);
    }
}
