//! How many questions this node sends on a link.
//!
//! A first look at an address, and a takeover, ask at once, as long as the link gets no more than
//! [`Config::frames_per_second`](crate::Config::frames_per_second) frames in any second: more would meet a switch's
//! storm control. Further looks at an address that this node does not get, for whatever reason, wait for their turn:
//! all of them together ask [`LOOKS`] questions a second.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::link::LinkId;
use crate::model::time::{Time, ms};

/// So many frames announce an address at a time.
pub(super) const ANNOUNCED: u32 = 2;
/// Repeated looks ask so many questions on a link, in any second.
pub const LOOKS: u32 = 10;
/// The time that the limits are about.
const SECOND: Duration = ms(1000);

/// The limits of all links.
#[derive(Debug)]
pub struct Budget {
    frames_per_second: u32,
    takeovers: BTreeMap<LinkId, Rate>,
    looks: BTreeMap<LinkId, Rate>,
}

impl Budget {
    /// With this limit for first looks and takeovers.
    #[must_use]
    pub const fn new(frames_per_second: u32) -> Self {
        Self { frames_per_second, takeovers: BTreeMap::new(), looks: BTreeMap::new() }
    }

    /// When a first look may begin that sends so many frames, announcements included.
    pub fn first(&mut self, link: LinkId, frames: u32, now: Time) -> Time {
        self.takeovers.entry(link).or_default().reserve(frames, self.frames_per_second, now)
    }

    /// A question is sent that the turn of its look did not foresee: later ones wait for it.
    pub fn charge(&mut self, link: LinkId, further: bool, now: Time) {
        let _sent_at_once = if further { self.further(link, 1, now) } else { self.first(link, 1, now) };
    }

    /// When a further look may begin that asks so many questions.
    pub fn further(&mut self, link: LinkId, questions: u32, now: Time) -> Time {
        self.looks.entry(link).or_default().reserve(questions, LOOKS, now)
    }
}

/// What was granted in a second, of one kind.
#[derive(Debug, Default)]
struct Rate {
    granted: VecDeque<(Time, u32)>,
    sum: u32,
}

impl Rate {
    /// The first time, from now on, at which so much may be sent. Turns are given in the order in which they are asked
    /// for.
    fn reserve(&mut self, count: u32, limit: u32, now: Time) -> Time {
        let count = count.min(limit);
        let mut at = self.granted.back().map_or(now, |(last, _)| now.max(*last));
        while let Some((granted, sent)) = self.granted.front().copied() {
            let ends = granted + SECOND;
            if ends > at {
                if self.sum + count <= limit {
                    break;
                }
                at = ends;
            }
            self.granted.pop_front();
            self.sum -= sent;
        }
        self.granted.push_back((at, count));
        self.sum += count;
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: LinkId = LinkId(1);

    #[test]
    fn a_second_has_ten_questions() {
        let start = Time::from_micros(0);
        let mut budget = Budget::new(2000);
        let turns: Vec<_> = (0..6).map(|_| budget.further(LINK, 3, start).since(start)).collect();
        assert_eq!(turns, [0, 0, 0, 1000, 1000, 1000].map(ms));
        // A link has its own, and what was not used is not saved up.
        assert_eq!(budget.further(LinkId(2), 3, start), start);
        let later = start + ms(60_000);
        let turns: Vec<_> = (0..4).map(|_| budget.further(LINK, 3, later).since(later)).collect();
        assert_eq!(turns, [0, 0, 0, 1000].map(ms));
        // More than fits into a second is let through alone.
        let later = start + ms(90_000);
        assert_eq!(budget.further(LINK, 12, later), later);
        assert_eq!(budget.further(LINK, 1, later), later + ms(1000));
    }

    #[test]
    fn a_takeover_of_200_addresses_is_not_held_up() {
        let start = Time::from_micros(0);
        let mut budget = Budget::new(2000);
        assert!((0..200).all(|_| budget.first(LINK, 7, start) == start));
        let last = (0..1000).map(|_| budget.first(LINK, 7, start)).last();
        assert_eq!(last, Some(start + ms(4000)));
    }
}
