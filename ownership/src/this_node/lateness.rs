//! How late this node's own steps were in the last second.
//!
//! A node whose processors are busy runs late, reads answers late, and its own kernel and network may deliver them late
//! too. So whoever waits for an answer waits longer by as much.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::time::{Time, ms};

/// A step that is later than this counts as late.
const TOLERATED: Duration = ms(5);
/// More than this counts as a pause of the node, which has rules of its own.
const LONGEST: Duration = ms(500);
/// A late step counts for so long.
const RECENT: Duration = ms(1000);

/// The late steps of the last second.
#[derive(Debug, Default)]
pub struct Lateness {
    /// In order of time, and each longer than those after it.
    steps: VecDeque<(Time, Duration)>,
}

impl Lateness {
    /// A step comes now, so late.
    pub fn note(&mut self, late: Duration, now: Time) {
        let late = late.min(LONGEST);
        if late > TOLERATED {
            while self.steps.back().is_some_and(|(_, shorter)| *shorter <= late) {
                self.steps.pop_back();
            }
            self.steps.push_back((now, late));
        }
    }

    /// By how much waits for answers are longer now.
    pub fn recent(&mut self, now: Time) -> Duration {
        while self.steps.front().is_some_and(|(at, _)| now.since(*at) >= RECENT) {
            self.steps.pop_front();
        }
        self.steps.front().map(|(_, longest)| *longest).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_step_of_a_second_counts() {
        let start = Time::from_micros(1_000_000);
        let mut lateness = Lateness::default();
        let mut note = |at: u64, late: u64| {
            lateness.note(ms(late), start + ms(at + late));
            lateness.recent(start + ms(at + late)).as_millis()
        };
        assert_eq!(note(0, 5), 0, "tolerated");
        assert_eq!(note(100, 80), 80);
        assert_eq!(note(200, 30), 80);
        assert_eq!(note(1150, 0), 80);
        // The longest is over, the next one still counts.
        assert_eq!(note(1181, 0), 30);
        assert_eq!(note(1200, 400), 400);
        assert_eq!(note(1700, 9000), 500, "more is a pause");
        assert_eq!(note(20_000, 0), 0);
    }
}
