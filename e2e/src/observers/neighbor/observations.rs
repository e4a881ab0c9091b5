//! Which hosts answered for an address over time, and when none did.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::observers::neighbor::frames::{MessageKind, NeighborMessage};
use crate::topology::mac::Mac;

/// More requests in a row than this without an answer are a silence. A few are what any network loses now and then.
const LOST: usize = 2;

/// Answers that were held up come together within this time.
const BURST: Duration = Duration::from_millis(2);

/// A host that answers has not stopped when it misses a few requests; after this time without an answer it has.
const PAUSE: Duration = Duration::from_millis(50);

/// The requests for an address and the answers and announcements that came, between two points in time.
#[derive(Clone, Debug)]
pub struct Observations {
    /// The first request.
    pub begin: Instant,
    /// The last moment that belongs to the observation.
    pub end: Instant,
    /// When each request was sent.
    pub requests: Vec<Instant>,
    /// Every answer and announcement, in order.
    pub messages: Vec<(Instant, NeighborMessage)>,
}

impl Observations {
    /// The part from `from` on.
    #[must_use]
    pub fn since(&self, from: Instant) -> Self {
        self.between(from, self.end)
    }

    /// The part from `from` to `to`.
    #[must_use]
    pub fn between(&self, from: Instant, to: Instant) -> Self {
        let (begin, end) = (self.begin.max(from), self.end.min(to));
        let within = |at: &Instant| (begin..=end).contains(at);
        let requests = self.requests.iter().filter(|at| within(at)).copied().collect();
        let messages = self.messages.iter().filter(|(at, _)| within(at)).copied().collect();
        Self { begin, end, requests, messages }
    }

    /// The answers to the requests, with their times.
    pub fn answers(&self) -> impl Iterator<Item = (Instant, Mac)> {
        self.of_kind(MessageKind::Answer)
    }

    /// The announcements: gratuitous ARP, unsolicited advertisements.
    pub fn announcements(&self) -> impl Iterator<Item = (Instant, Mac)> {
        self.of_kind(MessageKind::Announcement)
    }

    fn of_kind(&self, kind: MessageKind) -> impl Iterator<Item = (Instant, Mac)> {
        self.messages
            .iter()
            .filter(move |(_, messages)| messages.kind == kind)
            .map(|(at, messages)| (*at, messages.mac))
    }

    /// All hosts that answered.
    #[must_use]
    pub fn macs(&self) -> BTreeSet<Mac> {
        self.answers().map(|(_, mac)| mac).collect()
    }

    /// The host that answered last.
    #[must_use]
    pub fn last_mac(&self) -> Option<Mac> {
        self.answers().last().map(|(_, mac)| mac)
    }

    /// When the first answer came, counted from the first request.
    #[must_use]
    pub fn first_answer(&self) -> Option<Duration> {
        self.answers().next().map(|(at, _)| at.saturating_duration_since(self.begin))
    }

    /// The longest time without an answer, its beginning and its length. The time before the first answer and that
    /// after the last one count.
    #[must_use]
    pub fn longest_gap(&self) -> (Instant, Duration) {
        let times = self.answers().map(|(at, _)| at).chain([self.end]);
        let mut longest = (self.begin, Duration::ZERO);
        let mut last = self.begin;
        for at in times {
            let gap = at.saturating_duration_since(last);
            if gap > longest.1 {
                longest = (last, gap);
            }
            last = at;
        }
        longest
    }

    /// The times without an answer, each from the first request that got none to the next answer. Unlike
    /// [`Self::longest_gap`] this leaves out the delays of this machine: when it was too busy to ask or to transport
    /// frames, and all answers came together in the end.
    #[must_use]
    pub fn silences(&self) -> Vec<(Instant, Duration)> {
        let answers: Vec<_> = self.answers().collect();
        let requests = |from: Instant, to: Instant| {
            let place = |time| self.requests.partition_point(|at| *at < time);
            self.requests.get(place(from)..place(to)).unwrap_or_default()
        };
        let mut silences = Vec::new();
        let mut last = self.begin;
        for (place, at) in answers.iter().map(|(at, _)| *at).chain([self.end]).enumerate() {
            let unanswered = requests(last, at);
            last = at;
            let Some(first) = unanswered.first().filter(|_| unanswered.len() > LOST) else { continue };
            // The answers from now on, without those to the requests from now on: the answers to these requests.
            let coming = answers.get(place..).unwrap_or_default().iter().take_while(|(later, _)| *later <= at + BURST);
            let by_the_first =
                coming.filter(|(_, mac)| answers.get(place).is_some_and(|(_, first)| first == mac)).count();
            let late = by_the_first.saturating_sub(requests(at, at + BURST).len());
            if unanswered.len().saturating_sub(late) > LOST {
                silences.push((*first, at.saturating_duration_since(*first)));
            }
        }
        silences
    }

    /// The longest of the [silences](Self::silences); zero when there is none.
    #[must_use]
    pub fn longest_silence(&self) -> Duration {
        self.silences().into_iter().map(|(_, length)| length).max().unwrap_or_default()
    }

    /// All [silences](Self::silences) together.
    #[must_use]
    pub fn without_answer(&self) -> Duration {
        self.silences().into_iter().map(|(_, length)| length).sum()
    }

    /// The times at which the answers changed from one host to another, with both.
    #[must_use]
    pub fn changes(&self) -> Vec<(Instant, Mac, Mac)> {
        let mut changes = Vec::new();
        let mut last = None;
        for (at, mac) in self.answers() {
            if let Some(before) = last.filter(|before| *before != mac) {
                changes.push((at, before, mac));
            }
            last = Some(mac);
        }
        changes
    }

    /// How long more than one host answered at the same time, added up. Zero when every change was clean.
    #[must_use]
    pub fn overlap(&self) -> Duration {
        let (mut total, mut last, mut several) = (Duration::ZERO, self.begin, false);
        for (at, answering) in self.transitions() {
            if several {
                total += at.saturating_duration_since(last);
            }
            (last, several) = (at, answering.len() > 1);
        }
        total
    }

    /// The hosts that answered alone, one after the other. One that answered together with another for a while, and is
    /// alone again, is there once.
    #[must_use]
    pub fn owners(&self) -> Vec<Mac> {
        let mut owners: Vec<Mac> = Vec::new();
        for (_, answering) in self.transitions() {
            if let (1, Some(mac)) = (answering.len(), answering.first())
                && owners.last() != Some(mac)
            {
                owners.push(*mac);
            }
        }
        owners
    }

    /// The times at which a host began or ceased to answer, and who answered from then on.
    fn transitions(&self) -> Vec<(Instant, BTreeSet<Mac>)> {
        let mut edges: Vec<(Instant, bool, Mac)> = self
            .macs()
            .into_iter()
            .flat_map(|mac| self.intervals(mac).into_iter().map(move |interval| (mac, interval)))
            .flat_map(|(mac, (from, to))| [(from, true, mac), (to, false, mac)])
            .collect();
        // A interval may be a single answer: its beginning comes before its end.
        edges.sort_by_key(|(at, begins, _)| (*at, !begins));
        let mut answering = BTreeSet::new();
        let turn = |(at, begins, mac)| {
            if begins {
                answering.insert(mac);
            } else {
                answering.remove(&mac);
            }
            (at, answering.clone())
        };
        edges.into_iter().map(turn).collect()
    }

    /// The times, from first to last answer, during which a host answered without a pause.
    fn intervals(&self, host: Mac) -> Vec<(Instant, Instant)> {
        let mut intervals: Vec<(Instant, Instant)> = Vec::new();
        for (at, _) in self.answers().filter(|(_, mac)| *mac == host) {
            match intervals.last_mut() {
                Some((_, to)) if at.saturating_duration_since(*to) <= PAUSE => *to = at,
                _ => intervals.push((at, at)),
            }
        }
        intervals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 2]);

    /// Answers at these milliseconds of one second.
    fn observed(answers: impl IntoIterator<Item = (u64, Mac)>) -> Observations {
        let begin = Instant::now();
        let at = |millisecond| begin + Duration::from_millis(millisecond);
        let messages = answers
            .into_iter()
            .map(|(time, mac)| (at(time), NeighborMessage { kind: MessageKind::Answer, mac }))
            .collect();
        // Each request is a little earlier than its answer.
        let requests = (1..=1000).map(|time| begin + Duration::from_micros(time * 1000 - 100)).collect();
        Observations { begin, end: at(1000), requests, messages }
    }

    #[test]
    fn the_longest_gap_may_be_at_either_end_or_in_between() {
        let gap = |times: &[u64]| {
            let observations = observed(times.iter().map(|time| (*time, A)));
            let (from, length) = observations.longest_gap();
            (from.duration_since(observations.begin).as_millis(), length.as_millis())
        };
        assert_eq!(gap(&[]), (0, 1000));
        assert_eq!(gap(&[700]), (0, 700));
        assert_eq!(gap(&[100, 400, 900]), (400, 500));
        assert_eq!(gap(&[100, 200, 300]), (300, 700));
    }

    #[test]
    fn a_clean_change_has_no_overlap() {
        let observations = observed((0..500).map(|time| (time, A)).chain((500..1000).map(|time| (time, B))));
        assert_eq!(observations.overlap(), Duration::ZERO);
        assert_eq!((observations.changes().len(), observations.owners()), (1, vec![A, B]));
        assert_eq!(observations.last_mac(), Some(B));
    }

    #[test]
    fn two_that_answer_together_overlap() {
        let both =
            (0..1000).flat_map(|time| [(time, A)].into_iter().chain((300..400).contains(&time).then_some((time, B))));
        let observations = observed(both);
        assert_eq!((observations.overlap(), observations.owners()), (Duration::from_millis(99), vec![A]));
    }

    #[test]
    fn one_that_comes_back_after_a_pause_has_not_been_there_all_the_time() {
        let answers =
            (0..300).map(|time| (time, A)).chain((300..600).map(|time| (time, B))).chain([(600, A), (601, A)]);
        let observations = observed(answers);
        assert_eq!(observations.overlap(), Duration::ZERO);
        assert_eq!((observations.changes().len(), observations.owners()), (2, vec![A, B, A]));
    }

    #[test]
    fn a_silence_is_made_of_questions_without_an_answer() {
        let without = |times: std::ops::Range<u64>| (0..1000).filter(move |time| !times.contains(time));
        let lossy = observed(without(400..402).map(|time| (time, A)));
        assert_eq!((lossy.silences().len(), lossy.longest_silence()), (0, Duration::ZERO));
        let cut = observed(without(400..900).map(|time| (time, A)));
        assert_eq!((cut.silences().len(), cut.longest_silence().as_millis()), (1, 500));
        assert_eq!(cut.without_answer(), cut.longest_silence());
        let mut busy = cut.clone();
        busy.requests.retain(|at| !(399..890).contains(&at.duration_since(cut.begin).as_millis()));
        assert_eq!(busy.longest_silence().as_millis(), 9);
        assert_eq!(observed([]).longest_silence().as_millis(), 999);
    }

    #[test]
    fn answers_that_come_late_together_are_no_silence() {
        let late = |time| if (400..420).contains(&time) { 420 } else { time };
        let observations = observed((0..1000).map(|time| (late(time), A)));
        assert_eq!(observations.longest_silence(), Duration::ZERO);
        assert_eq!(observations.longest_gap().1.as_millis(), 21);
    }

    #[test]
    fn a_part_begins_where_it_is_cut() {
        let observations = observed([(100, A), (800, B)]);
        let part = observations.since(observations.begin + Duration::from_millis(500));
        assert_eq!((part.macs(), part.first_answer()), (BTreeSet::from([B]), Some(Duration::from_millis(300))));
    }
}
