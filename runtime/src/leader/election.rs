//! The decisions of a candidate, without network.

use std::time::Duration;

use crate::BootTime;

/// The durations of an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long the leadership lasts without renewal. At least one second.
    pub duration: Duration,
    /// How often the leader renews the Lease, and followers read it.
    pub renew: Duration,
    /// The deadline of a write of the Lease. The leader starts no write of whatever kind later than this before the end
    /// of its leadership; other writes may take longer, and arrive after it.
    pub deadline: Duration,
}

impl Default for Timing {
    /// 8 s, 2 s, 3 s (design, section 1).
    fn default() -> Self {
        Self { duration: Duration::from_secs(8), renew: Duration::from_secs(2), deadline: Duration::from_secs(3) }
    }
}

/// The content of the Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The resource version.
    pub version: String,
    /// The holder. `None` if the Lease is free.
    pub holder: Option<String>,
    /// How long its holder wants to lead without renewal.
    pub duration: Duration,
    /// How often the holder has changed.
    pub transitions: i32,
}

/// What a candidate has to do with the Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing. Read it again after this time.
    Follow(Duration),
    /// Renew it: this candidate holds it.
    Renew,
    /// Take it: it is free, or its holder did not renew it in time.
    Take {
        /// The new count of transitions.
        transitions: i32,
    },
}

/// The election as one candidate sees it.
#[derive(Debug, Clone)]
pub struct Election {
    identity: String,
    timing: Timing,
    /// The content of the Lease when it was last read or written, and since when it has not changed by the local clock.
    seen: Option<(Record, BootTime)>,
    must_read: bool,
    /// When the leadership of this candidate ends by the local clock.
    until: Option<BootTime>,
}

impl Election {
    /// A candidate that has not read the Lease yet.
    #[must_use]
    pub const fn new(identity: String, timing: Timing) -> Self {
        Self { identity, timing, seen: None, must_read: true, until: None }
    }

    /// The identity of this candidate.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The holder of the Lease, as last seen.
    #[must_use]
    pub fn holder(&self) -> Option<&str> {
        self.seen.as_ref()?.0.holder.as_deref()
    }

    /// The resource version that the next write must contain.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.seen.as_ref().map(|(record, _)| record.version.as_str())
    }

    /// Whether the Lease names this candidate as its holder.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.holder() == Some(&self.identity)
    }

    /// Whether the Lease must be read before the next decision.
    #[must_use]
    pub const fn must_read(&self) -> bool {
        self.must_read || self.seen.is_none()
    }

    /// Requires a read before the next decision: after a failed write, and always for followers.
    pub const fn read_next_time(&mut self) {
        self.must_read = true;
    }

    /// Records the present content of the Lease.
    pub fn observe(&mut self, record: Record, now: BootTime) {
        self.must_read = false;
        // Another candidate took the Lease although this leadership had not ended: it ends now.
        if record.holder.as_deref() != Some(&self.identity) {
            self.until = None;
        }
        match &self.seen {
            Some((known, _)) if *known == record => {}
            _ => self.seen = Some((record, now)),
        }
    }

    /// What to do now.
    #[must_use]
    pub fn decide(&self, now: BootTime) -> Decision {
        let Some((record, since)) = &self.seen else { return Decision::Follow(Duration::ZERO) };
        if self.is_recorded() {
            return Decision::Renew;
        }
        let take = Decision::Take { transitions: record.transitions.saturating_add(1) };
        if record.holder.is_none() {
            return take;
        }
        let expiry = record.duration.max(self.timing.duration);
        let waited = now.since(*since);
        if waited >= expiry { take } else { Decision::Follow(self.timing.renew.min(expiry.saturating_sub(waited))) }
    }

    /// Records that a write succeeded which was sent at `started`, and the content of the Lease after it.
    pub fn written(&mut self, record: Record, started: BootTime, now: BootTime) {
        let ours = record.holder.as_deref() == Some(&self.identity);
        self.observe(record, now);
        self.until = ours.then(|| started + self.timing.duration);
    }

    /// How long this candidate still leads. `None` if it does not lead.
    #[must_use]
    pub fn remaining(&self, now: BootTime) -> Option<Duration> {
        self.until.map(|until| until.since(now)).filter(|remaining| !remaining.is_zero())
    }

    /// Until when the leader may start a write, so that a write of the Lease is answered before the end of the
    /// leadership.
    #[must_use]
    pub fn write_until(&self) -> Option<BootTime> {
        self.until.map(|until| until - self.timing.deadline)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(millis: u64) -> BootTime {
        BootTime::from_duration(Duration::from_millis(millis))
    }

    fn record(version: u64, holder: &str) -> Record {
        Record {
            version: version.to_string(),
            holder: (!holder.is_empty()).then(|| holder.to_owned()),
            duration: Duration::from_secs(8),
            transitions: 0,
        }
    }

    fn candidate(name: &str) -> Election {
        Election::new(name.to_owned(), Timing::default())
    }

    #[test]
    fn an_empty_lease_is_taken_and_renewed() {
        let mut a = candidate("a");
        a.observe(record(1, ""), at(0));
        assert_eq!(a.decide(at(0)), Decision::Take { transitions: 1 });
        a.written(record(2, "a"), at(10), at(20));
        assert_eq!(a.decide(at(2000)), Decision::Renew);
        assert_eq!(a.remaining(at(8009)), Some(Duration::from_millis(1)));
        assert_eq!(a.remaining(at(8010)), None);
        assert_eq!(a.write_until(), Some(at(5010)));
    }

    #[test]
    fn a_silent_holder_is_replaced_after_its_duration_and_not_before() {
        let mut b = candidate("b");
        b.observe(record(7, "a"), at(0));
        b.observe(record(7, "a"), at(7999));
        assert_eq!(b.decide(at(7999)), Decision::Follow(Duration::from_millis(1)));
        b.observe(record(8, "a"), at(7999));
        assert_eq!(b.decide(at(8000)), Decision::Follow(Duration::from_secs(2)));
        assert!(matches!(b.decide(at(16_000)), Decision::Take { .. }));
    }

    #[test]
    fn a_holder_that_sees_another_name_gives_way_at_once() {
        let mut a = candidate("a");
        a.observe(record(1, ""), at(0));
        a.written(record(2, "a"), at(0), at(1));
        a.observe(record(3, "b"), at(100));
        assert_eq!(a.remaining(at(100)), None);
        assert_eq!(a.write_until(), None);
    }

    /// What a simulated candidate waits for.
    #[derive(Clone)]
    enum Phase {
        Idle,
        ReadUnderWay,
        ReadAnswered(Record),
        WriteUnderWay { sent: BootTime, version: Option<String> },
        WriteAnswered { sent: BootTime, record: Option<Record> },
    }

    proptest! {
        /// Three candidates share one Lease. Requests and answers take any time. A candidate that is suspended has a
        /// long time between two phases.
        #[test]
        fn two_never_lead_at_once(steps in prop::collection::vec((0_usize..3, prop_oneof![0_u64..50, 0_u64..9000]), 1..600)) {
            let mut server = record(1, "");
            let mut version = 1_u64;
            let mut candidates = ["a", "b", "c"].map(|name| (candidate(name), Phase::Idle));
            let (mut now, mut terms) = (at(0), 0);
            for (who, millis) in steps {
                now = now + Duration::from_millis(millis);
                let (me, phase) = &mut candidates[who];
                *phase = match phase.clone() {
                    Phase::Idle if me.must_read() => Phase::ReadUnderWay,
                    Phase::ReadUnderWay => Phase::ReadAnswered(server.clone()),
                    Phase::Idle | Phase::ReadAnswered(_) => {
                        if let Phase::ReadAnswered(record) = phase.clone() {
                            me.observe(record, now);
                        }
                        if let Decision::Follow(_) = me.decide(now) {
                            me.read_next_time();
                            Phase::Idle
                        } else {
                            Phase::WriteUnderWay { sent: now, version: me.version().map(str::to_owned) }
                        }
                    }
                    Phase::WriteUnderWay { sent, version: expected } => {
                        let accepted = expected.as_deref() == Some(&server.version);
                        if accepted {
                            version += 1;
                            server = record(version, me.identity());
                        }
                        Phase::WriteAnswered { sent, record: accepted.then(|| server.clone()) }
                    }
                    Phase::WriteAnswered { sent, record } => {
                        match record {
                            Some(record) => {
                                me.written(record, sent, now);
                                terms += 1;
                            }
                            None => me.read_next_time(),
                        }
                        Phase::Idle
                    }
                };
                let leading = candidates.iter().filter(|(c, _)| c.remaining(now).is_some()).count();
                prop_assert!(leading <= 1, "{leading} lead after {terms} writes");
            }
        }
    }
}
