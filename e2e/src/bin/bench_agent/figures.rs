//! Statistics over many runs.

use std::{fmt, time::Duration};

/// Several measurements of one time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// Adds a measurement.
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The median; the greater of the two middle ones if their number is even; zero if there are none.
    pub(crate) fn median(&self) -> Duration {
        self.at(self.0.len() / 2)
    }

    /// The 99th percentile; the longest if there are fewer than a hundred.
    pub(crate) fn almost_all(&self) -> Duration {
        self.at((self.0.len() * 99).div_ceil(100).saturating_sub(1))
    }

    fn at(&self, place: usize) -> Duration {
        let mut times = self.0.clone();
        times.sort_unstable();
        times.get(place).copied().unwrap_or_default()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (p99 {}) ms", millis(self.median()), millis(self.almost_all()))
    }
}

/// Milliseconds with one decimal.
pub(crate) fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

/// Seconds if it is at least one, otherwise milliseconds.
pub(crate) fn readable(time: Duration) -> String {
    if time < Duration::from_secs(1) { format!("{} ms", millis(time)) } else { format!("{:.2} s", time.as_secs_f64()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_almost_all() {
        let mut times = Times::default();
        assert_eq!((times.median(), times.almost_all()), (Duration::ZERO, Duration::ZERO));
        (1..=200).rev().for_each(|time| times.add(Duration::from_millis(time)));
        assert_eq!((times.median().as_millis(), times.almost_all().as_millis()), (101, 198));
        let few = Times([3, 1, 2].map(Duration::from_millis).to_vec());
        assert_eq!(few.to_string(), "2.0 (p99 3.0) ms");
    }
}
