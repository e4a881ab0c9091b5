//! How many frames this node sends on a link.
//!
//! | What | In any second |
//! |---|---|
//! | first looks and takeovers: probes and announcements | seven tenths of [`Config::frames_per_second`](crate::Config::frames_per_second), at once |
//! | probes while the owner is only suspected | one tenth |
//! | questions from an address to gateways; to hosts that may ignore announcements | one tenth each |
//! | further looks at addresses that this node does not get, for whatever reason, all together | [`LOOKS`] |
//! | questions to kernels of silent agents that may serve what this node has | [`KERNELS`] |
//!
//! More than the first four together would meet a switch's storm control. They are apart because a takeover must not wait
//! for what another one still has to say, nor for the questions about a node that lives; and gateways matter most.
//!
//! What a look sends to one host beyond its turn (copies of IPv6 questions, questions to the owner's own address) is not
//! held up. It counts, so that what follows waits for it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::link::LinkId;
use crate::model::time::{Time, ms};

/// So many frames announce an address at a time.
pub(super) const ANNOUNCED: u32 = 2;
/// Repeated looks ask so many questions on a link, in any second.
pub const LOOKS: u32 = 10;
/// So many questions go to kernels of silent agents on a link, in any second, for addresses that this node has.
pub const KERNELS: u32 = 10;
/// The time that the limits are about.
const SECOND: Duration = ms(1000);

/// The limits of all links.
#[derive(Debug)]
pub struct Budget {
    takeovers_per_second: u32,
    /// A tenth of the limit.
    tenth: u32,
    takeovers: BTreeMap<LinkId, Rate>,
    early: BTreeMap<LinkId, Rate>,
    introductions: BTreeMap<(LinkId, Told), Rate>,
    looks: BTreeMap<LinkId, Rate>,
    kernels: BTreeMap<LinkId, Rate>,
}

/// Who is told of an address by a question from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    /// Gateways.
    Gateways,
    /// Other hosts.
    Hosts,
}

impl Budget {
    /// With this limit for everything but further looks.
    #[must_use]
    pub fn new(frames_per_second: u32) -> Self {
        let tenth = (frames_per_second / 10).max(1);
        Self {
            takeovers_per_second: frames_per_second.saturating_sub(tenth * 3).max(1),
            tenth,
            takeovers: BTreeMap::new(),
            early: BTreeMap::new(),
            introductions: BTreeMap::new(),
            looks: BTreeMap::new(),
            kernels: BTreeMap::new(),
        }
    }

    /// When a first look may begin that sends so many frames, announcements included.
    pub fn first(&mut self, link: LinkId, frames: u32, now: Time) -> Time {
        self.takeovers.entry(link).or_default().reserve(frames, self.takeovers_per_second, now)
    }

    /// Whether a first look may begin now at an address whose owner is only suspected; if it may not, nothing is kept free
    /// for it. It has nothing of what takeovers may send.
    pub fn has_room_for_early(&mut self, link: LinkId, questions: u32, now: Time) -> bool {
        questions <= self.tenth && self.early.entry(link).or_default().reserve_now(questions, self.tenth, now)
    }

    /// A takeover sends so many frames now that had no turn: later ones wait for them.
    pub fn announced(&mut self, link: LinkId, frames: u32, now: Time) {
        let _sent_at_once = self.first(link, frames, now);
    }

    /// When gateways or other hosts may be asked from an address, and how many of them at once.
    pub fn introduce(&mut self, link: LinkId, told: Told, hosts: u32, now: Time) -> (Time, u32) {
        let slice = hosts.min(self.tenth);
        (self.introductions.entry((link, told)).or_default().reserve(slice, self.tenth, now), slice)
    }

    /// When the kernel of a silent agent may be asked for an address that this node has.
    pub fn kernel(&mut self, link: LinkId, now: Time) -> Time {
        self.kernels.entry(link).or_default().reserve(1, KERNELS, now)
    }

    /// A question is sent that the turn of its look did not foresee: later ones wait for it.
    pub fn charge(&mut self, link: LinkId, further: bool, now: Time) {
        let _sent_at_once = if further { self.further(link, 1, now) } else { self.first(link, 1, now) };
    }

    /// When a further look may begin that asks so many questions.
    pub fn further(&mut self, link: LinkId, questions: u32, now: Time) -> Time {
        self.looks.entry(link).or_default().reserve(questions, LOOKS, now)
    }

    /// Whether a further look may begin now; if it may not, nothing is kept free for it.
    pub fn has_room_for_further(&mut self, link: LinkId, questions: u32, now: Time) -> bool {
        self.looks.entry(link).or_default().reserve_now(questions, LOOKS, now)
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

    /// Whether so much may be sent now, and is.
    fn reserve_now(&mut self, count: u32, limit: u32, now: Time) -> bool {
        while let Some((_, sent)) = self.granted.front().copied().filter(|(granted, _)| *granted + SECOND <= now) {
            self.granted.pop_front();
            self.sum -= sent;
        }
        let idle = self.granted.back().is_none_or(|(last, _)| *last <= now);
        let free = idle && self.sum + count.min(limit) <= limit;
        free && self.reserve(count, limit, now) == now
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
        assert!((0..40).all(|_| budget.has_room_for_early(LINK, 5, start)));
        assert!(!budget.has_room_for_early(LINK, 5, start));
        assert!((0..200).all(|_| budget.first(LINK, 7, start) == start));
        let last = (0..1000).map(|_| budget.first(LINK, 7, start)).last();
        assert_eq!(last, Some(start + ms(5000)));
    }

    #[test]
    fn introductions_hold_no_takeover_up() {
        let start = Time::from_micros(0);
        let mut budget = Budget::new(2000);
        let turns: Vec<_> = (0..100).map(|_| budget.introduce(LINK, Told::Hosts, 20, start)).collect();
        assert_eq!((turns[0], turns[99]), ((start, 20), (start + ms(9000), 20)));
        assert_eq!(budget.introduce(LINK, Told::Gateways, 2, start), (start, 2));
        assert_eq!(budget.first(LINK, 7, start), start);
        // A small limit is kept by slices.
        let mut budget = Budget::new(35);
        assert_eq!(budget.introduce(LINK, Told::Hosts, 20, start), (start, 3));
        assert_eq!(budget.introduce(LINK, Told::Hosts, 17, start), (start + ms(1000), 3));
        let turns: Vec<_> = (0..3).map(|_| budget.first(LINK, 13, start).since(start)).collect();
        assert_eq!(turns, [0, 0, 1000].map(ms));
    }

    #[test]
    fn what_may_not_be_sent_now_keeps_nothing_free() {
        let start = Time::from_micros(0);
        let mut budget = Budget::new(2000);
        assert_eq!((0..1000).filter(|_| budget.has_room_for_early(LINK, 3, start)).count(), 66);
        assert_eq!(budget.first(LINK, 4, start), start);
        assert!(!budget.has_room_for_further(LINK, LOOKS, start) || !budget.has_room_for_further(LINK, 1, start));
        assert_eq!(budget.further(LINK, 1, start), start + ms(1000));
        assert!(!budget.has_room_for_further(LINK, 1, start + ms(500)), "another one waits");
    }
}
