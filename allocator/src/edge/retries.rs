//! Writes to send again at a later time.

use std::collections::BTreeMap;
use std::time::Duration;

use runtime::BootTime;
use runtime::backoff::Backoff;

use crate::state::{LATEST_ARRIVAL, ServicePatch};

/// The first and the longest pause between the attempts of a write.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// One attempt of a write.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) patch: ServicePatch,
    backoff: Backoff,
    /// When an earlier attempt ended without an answer. It may still arrive.
    unanswered: Option<BootTime>,
}

impl Attempt {
    /// The first one.
    pub(super) const fn first(patch: ServicePatch) -> Self {
        Self { patch, backoff: Backoff::new(PAUSE.0, PAUSE.1), unanswered: None }
    }

    /// Whether there was one before.
    pub(super) const fn is_repeated(&self) -> bool {
        self.backoff.failures() > 0
    }

    /// It ended without an answer. Returns the pause before the next one.
    pub(super) fn unanswered(&mut self, now: BootTime) -> Duration {
        self.unanswered = Some(now);
        self.backoff.next_delay()
    }

    /// It was refused, so nothing of it arrives. Returns the pause before the next one, if an earlier one may.
    pub(super) fn refused(&mut self, now: BootTime) -> Option<Duration> {
        let may_arrive = self.unanswered.is_some_and(|ended| now.since(ended) < LATEST_ARRIVAL);
        may_arrive.then(|| self.backoff.next_delay())
    }

    /// Another write in its place, at once.
    pub(super) fn instead(self, patch: ServicePatch) -> Self {
        Self { patch, ..self }
    }
}

/// Writes by the time at which they are sent.
#[derive(Debug, Default)]
pub(super) struct Retries {
    later: BTreeMap<(BootTime, u64), Attempt>,
    /// Keeps writes of the same time apart.
    sequence: u64,
}

impl Retries {
    /// Adds a write that is sent after the delay.
    pub(super) fn add(&mut self, delay: Duration, attempt: Attempt) {
        self.sequence = self.sequence.wrapping_add(1);
        self.later.insert((BootTime::now() + delay, self.sequence), attempt);
    }

    /// Removes the first write whose time has come.
    pub(super) fn take_due(&mut self, now: BootTime) -> Option<Attempt> {
        let first = self.later.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(first.remove())
    }

    /// Drops all writes.
    pub(super) fn clear(&mut self) {
        self.later.clear();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::ServiceName;
    use crate::state::Purpose;

    #[test]
    fn a_refusal_ends_a_write_only_if_no_earlier_attempt_can_arrive() {
        let patch =
            ServicePatch { id: None, name: ServiceName::new("shop", "web"), purpose: Purpose::Assign, body: json!({}) };
        let mut attempt = Attempt::first(patch);
        let now = BootTime::now();
        assert_eq!(attempt.refused(now), None);
        let _pause = attempt.unanswered(now);
        assert!(attempt.is_repeated() && attempt.refused(now + Duration::from_secs(599)).is_some());
        assert_eq!(attempt.refused(now + Duration::from_secs(600)), None);
    }
}
