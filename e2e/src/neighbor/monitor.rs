//! Watches an address over time: who answers for it, and when nobody does.

use std::{
    collections::BTreeSet,
    mem,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{Asker, Heard, Kind, LinkSocket};
use crate::{error::Result, mac::Mac};

/// The time between two questions.
const PERIOD: Duration = Duration::from_millis(1);

/// A host that answers has not stopped when it misses a few questions; after this time without an answer it has.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks for one address every millisecond, by ARP or by neighbour solicitation, from when it is made until it is
/// stopped or dropped.
#[derive(Debug)]
pub struct ArpMonitor {
    shared: Arc<Shared>,
    begin: Instant,
    threads: Vec<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    heard: Mutex<Vec<(Instant, Heard)>>,
    stop: AtomicBool,
}

impl ArpMonitor {
    /// Asks in the name of `asker`, whose interface `socket` must be on.
    pub(crate) fn start(socket: LinkSocket, asker: Asker, address: IpAddr) -> Self {
        let shared = Arc::new(Shared::default());
        let socket = Arc::new(socket);
        let ask = {
            let (shared, socket) = (Arc::clone(&shared), Arc::clone(&socket));
            move || {
                let question = asker.question(address);
                let mut next = Instant::now();
                while !shared.stop.load(Ordering::Relaxed) {
                    socket.send(&question)?;
                    next += PERIOD;
                    match next.checked_duration_since(Instant::now()) {
                        Some(rest) => thread::sleep(rest),
                        // A machine that was busy does not make up for it by a flood.
                        None => next = Instant::now(),
                    }
                }
                Ok(())
            }
        };
        let listen = {
            let shared = Arc::clone(&shared);
            move || {
                while !shared.stop.load(Ordering::Relaxed) {
                    let Some(frame) = socket.receive()? else { continue };
                    let now = Instant::now();
                    if let Some(heard) = asker.hear(&frame, address) {
                        shared.heard.lock().unwrap_or_else(PoisonError::into_inner).push((now, heard));
                    }
                }
                Ok(())
            }
        };
        Self { shared, begin: Instant::now(), threads: vec![thread::spawn(ask), thread::spawn(listen)] }
    }

    /// What has been heard so far.
    #[must_use]
    pub fn so_far(&self) -> Observations {
        let heard = self.shared.heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Observations { begin: self.begin, end: Instant::now(), heard }
    }

    /// Stops asking and returns all that has been heard.
    ///
    /// # Errors
    /// The socket failed in between.
    pub fn stop(mut self) -> Result<Observations> {
        let observations = self.so_far();
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in mem::take(&mut self.threads) {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(observations)
    }
}

impl Drop for ArpMonitor {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// Who said when that an address is theirs, between two points in time.
#[derive(Clone, Debug)]
pub struct Observations {
    /// The first question.
    pub begin: Instant,
    /// The last moment that belongs to the observation.
    pub end: Instant,
    /// Everything that was heard, in order.
    pub heard: Vec<(Instant, Heard)>,
}

impl Observations {
    /// The part from `from` on.
    #[must_use]
    pub fn since(&self, from: Instant) -> Self {
        let begin = self.begin.max(from);
        let heard = self.heard.iter().filter(|(at, _)| *at >= begin).copied().collect();
        Self { begin, end: self.end, heard }
    }

    /// The answers to our questions, with their times.
    pub fn answers(&self) -> impl Iterator<Item = (Instant, Mac)> {
        self.of_kind(Kind::Answer)
    }

    /// What was announced to everybody: gratuitous ARP, unsolicited advertisements.
    pub fn announcements(&self) -> impl Iterator<Item = (Instant, Mac)> {
        self.of_kind(Kind::Announcement)
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (Instant, Mac)> {
        self.heard.iter().filter(move |(_, heard)| heard.kind == kind).map(|(at, heard)| (*at, heard.mac))
    }

    /// All who answered.
    #[must_use]
    pub fn macs(&self) -> BTreeSet<Mac> {
        self.answers().map(|(_, mac)| mac).collect()
    }

    /// Who answered last.
    #[must_use]
    pub fn last_mac(&self) -> Option<Mac> {
        self.answers().last().map(|(_, mac)| mac)
    }

    /// When the first answer came, counted from the first question.
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

    /// How long more than one host answered at the same time, added up. Zero when every change of hands was clean.
    #[must_use]
    pub fn overlap(&self) -> Duration {
        let mut edges: Vec<(Instant, bool)> = self
            .macs()
            .into_iter()
            .flat_map(|mac| self.spells(mac))
            .flat_map(|(from, to)| [(from, true), (to, false)])
            .collect();
        edges.sort();
        let (mut total, mut answering, mut last) = (Duration::ZERO, 0_usize, self.begin);
        for (at, begins) in edges {
            if answering > 1 {
                total += at.saturating_duration_since(last);
            }
            answering = if begins { answering + 1 } else { answering.saturating_sub(1) };
            last = at;
        }
        total
    }

    /// The times, from first to last answer, during which a host answered without a pause.
    fn spells(&self, host: Mac) -> Vec<(Instant, Instant)> {
        let mut spells: Vec<(Instant, Instant)> = Vec::new();
        for (at, _) in self.answers().filter(|(_, mac)| *mac == host) {
            match spells.last_mut() {
                Some((_, to)) if at.saturating_duration_since(*to) <= PAUSE => *to = at,
                _ => spells.push((at, at)),
            }
        }
        spells
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
        let heard = answers.into_iter().map(|(time, mac)| (at(time), Heard { kind: Kind::Answer, mac })).collect();
        Observations { begin, end: at(1000), heard }
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
        assert_eq!(observations.changes().len(), 1);
        assert_eq!(observations.last_mac(), Some(B));
    }

    #[test]
    fn two_that_answer_together_overlap() {
        let both =
            (0..1000).flat_map(|time| [(time, A)].into_iter().chain((300..400).contains(&time).then_some((time, B))));
        assert_eq!(observed(both).overlap(), Duration::from_millis(99));
    }

    #[test]
    fn one_that_comes_back_after_a_pause_has_not_been_there_all_the_time() {
        let answers =
            (0..300).map(|time| (time, A)).chain((300..600).map(|time| (time, B))).chain([(600, A), (601, A)]);
        let observations = observed(answers);
        assert_eq!(observations.overlap(), Duration::ZERO);
        assert_eq!(observations.changes().len(), 2);
    }

    #[test]
    fn a_part_begins_where_it_is_cut() {
        let observations = observed([(100, A), (800, B)]);
        let part = observations.since(observations.begin + Duration::from_millis(500));
        assert_eq!((part.macs(), part.first_answer()), (BTreeSet::from([B]), Some(Duration::from_millis(300))));
    }
}
