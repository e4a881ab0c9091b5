//! Intervals, detection time, jitter and what a Poll puts in force (RFC 5880 6.8.2 to 6.8.4 and 6.8.7).
//!
//! | Quantity | Value | RFC 5880 |
//! |---|---|---|
//! | transmit interval | the greater of our Desired Min TX and the peer's Required Min RX | 6.8.7 |
//! | each packet's delay | 75 % to 100 % of it, 75 % to 90 % if our multiplier is 1 | 6.8.7 |
//! | detection time | the peer's multiplier times the greater of our Required Min RX and the peer's Desired Min TX | 6.8.4 |
//! | the peer's detection time of us | our multiplier times the greater of our Desired Min TX and its Required Min RX | 6.8.4 |
//! | Desired Min TX while not Up | at least 1 s | 6.8.3 |
//!
//! A changed interval is advertised at once, in packets with Poll until one with Final comes. When it counts, while
//! the session is Up (6.8.3):
//!
//! | Interval | raised | lowered |
//! |---|---|---|
//! | Desired Min TX | after Final: the peer still expects the old rate | at once |
//! | Required Min RX | at once | after Final: the peer still sends at the old rate |
//!
//! While the session is not Up, everything counts at once and there is no Poll: each packet says the intervals, nothing
//! depends on the moment, and the way to Up ends with a Poll.

use std::time::Duration;

use crate::rng::Rng;

/// Desired Min TX is at least this while a session is not Up.
pub const SLOW: Duration = Duration::from_secs(1);

/// What one end advertises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// Desired Min TX.
    pub desired_min_tx: Duration,
    /// Required Min RX.
    pub required_min_rx: Duration,
}

/// How long after the last packet of a sender its receiver calls it gone.
#[must_use]
pub fn detection_time(multiplier: u8, desired_min_tx: Duration, required_min_rx: Duration) -> Duration {
    desired_min_tx.max(required_min_rx).saturating_mul(u32::from(multiplier))
}

/// By how many thousandths the next packet comes before the end of the interval.
pub fn jitter(multiplier: u8, rng: &mut Rng) -> u32 {
    // With a multiplier of 1, the packet must not be late by the least delay on its way.
    let least = if multiplier == 1 { 100 } else { 0 };
    least + rng.up_to(250 - least)
}

/// The interval less so many thousandths.
#[must_use]
pub fn shortened(interval: Duration, thousandths: u32) -> Duration {
    interval.saturating_sub((interval / 1000).saturating_mul(thousandths))
}

/// Our intervals: as advertised, and as far as they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Negotiation {
    /// In our packets.
    pub advertised: Intervals,
    /// What transmission and detection follow.
    pub in_force: Intervals,
    /// Our packets have the Poll bit until Final comes.
    pub polling: bool,
}

impl Negotiation {
    /// Intervals that count.
    #[must_use]
    pub const fn settled(intervals: Intervals) -> Self {
        Self { advertised: intervals, in_force: intervals, polling: false }
    }

    /// Begins to advertise other intervals while the session is Up. One Poll at a time (6.5): while one goes on, nothing
    /// changes, and the caller comes again after its Final. Returns whether there is something new to send.
    pub fn poll(&mut self, wanted: Intervals) -> bool {
        if self.polling || self.advertised == wanted {
            return false;
        }
        self.advertised = wanted;
        self.polling = true;
        self.in_force.desired_min_tx = self.in_force.desired_min_tx.min(wanted.desired_min_tx);
        self.in_force.required_min_rx = self.in_force.required_min_rx.max(wanted.required_min_rx);
        true
    }

    /// Final has come: what is advertised counts.
    pub const fn finish(&mut self) {
        if self.polling {
            *self = Self::settled(self.advertised);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rng::Rng;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    const fn intervals(tx: u64, rx: u64) -> Intervals {
        Intervals { desired_min_tx: ms(tx), required_min_rx: ms(rx) }
    }

    #[test]
    fn when_a_changed_interval_counts() {
        let mut raised = Negotiation::settled(intervals(100, 100));
        assert!(raised.poll(intervals(200, 200)));
        assert_eq!(raised.in_force, intervals(100, 200));
        assert!(!raised.poll(intervals(300, 300)), "one Poll at a time");
        raised.finish();
        assert_eq!(raised, Negotiation::settled(intervals(200, 200)));

        let mut lowered = Negotiation::settled(intervals(100, 100));
        assert!(lowered.poll(intervals(50, 50)));
        assert_eq!(lowered.in_force, intervals(50, 100));
        lowered.finish();
        assert_eq!(lowered.in_force, intervals(50, 50));
        assert!(!lowered.poll(intervals(50, 50)));
    }

    #[test]
    fn a_final_that_nobody_waits_for_changes_nothing() {
        let mut timers = Negotiation::settled(intervals(100, 100));
        timers.finish();
        assert_eq!(timers, Negotiation::settled(intervals(100, 100)));
    }

    #[test]
    fn the_slower_side_decides() {
        assert_eq!(detection_time(3, ms(50), ms(300)), ms(900));
        assert_eq!(detection_time(3, ms(300), ms(50)), ms(900));
        assert_eq!(detection_time(255, Duration::MAX, ms(1)), Duration::MAX);
    }

    proptest! {
        #[test]
        fn delays_lie_in_the_window(seed: u64, multiplier in 1_u8.., interval in 10_u64..10_000) {
            let mut rng = Rng::new(seed);
            for _ in 0..50 {
                let delay = shortened(ms(interval), jitter(multiplier, &mut rng));
                prop_assert!(delay >= ms(interval) * 3 / 4, "{delay:?}");
                prop_assert!(delay <= if multiplier == 1 { ms(interval) * 9 / 10 } else { ms(interval) }, "{delay:?}");
            }
        }
    }
}
