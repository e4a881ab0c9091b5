//! Whether a sidecar answers, and the calls that wait for it.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use runtime::{BootTime, backoff};

use super::call::CallError;
use crate::model::Owner;

/// The most calls in flight to one sidecar.
pub(super) const IN_FLIGHT: usize = 16;
/// The pause after the first call without an answer. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause. It bounds how long an outage is noticed after its end.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A sidecar that does not answer.
#[derive(Debug)]
struct Outage {
    /// The error of the first call that failed.
    text: String,
    failures: u32,
    /// No call is sent before this time.
    try_at: BootTime,
}

/// A sidecar, identified by its socket.
#[derive(Debug, Default)]
pub(super) struct Sidecar {
    pub(super) in_flight: usize,
    /// Groups and Services with a call to send now.
    pub(super) queue: VecDeque<(String, Owner)>,
    /// Groups and Services with a call to send at a later time.
    pub(super) later: BTreeSet<(BootTime, String, Owner)>,
    outage: Option<Outage>,
    has_answered: bool,
}

impl Sidecar {
    /// Whether one more call may be sent. A sidecar that does not answer gets one call at a time, with pauses.
    pub(super) fn has_room(&self, now: BootTime) -> bool {
        match &self.outage {
            Some(outage) => self.in_flight == 0 && now >= outage.try_at,
            None => self.in_flight < IN_FLIGHT,
        }
    }

    /// The error of the sidecar if it does not answer.
    pub(super) fn outage(&self) -> Option<&str> {
        self.outage.as_ref().map(|outage| outage.text.as_str())
    }

    /// Whether it has ever answered.
    pub(super) const fn has_answered(&self) -> bool {
        self.has_answered
    }

    /// Notes the end of a call: an answer, which may be a refusal, or the error of a call that was not answered. Returns
    /// whether the sidecar has begun or ceased to answer.
    pub(super) fn call_ended(&mut self, unanswered: Option<&CallError>, now: BootTime) -> bool {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(error) = unanswered else {
            let changed = self.outage.take().is_some() || !self.has_answered;
            self.has_answered = true;
            return changed;
        };
        let changed = self.outage.is_none();
        // The first error stays, so that events and conditions do not change with each attempt.
        let outage = self.outage.get_or_insert_with(|| Outage {
            text: error.text.clone(),
            failures: 0,
            try_at: BootTime::default(),
        });
        outage.try_at = now + backoff::step(FIRST_PAUSE, LONGEST_PAUSE, outage.failures);
        outage.failures = outage.failures.saturating_add(1);
        changed
    }

    /// Removes and returns the groups and Services whose time has come.
    pub(super) fn take_due(&mut self, now: BootTime) -> Vec<(String, Owner)> {
        let mut due = Vec::new();
        while let Some(first) = self.later.first()
            && first.0 <= now
            && let Some((_, group, name)) = self.later.pop_first()
        {
            due.push((group, name));
        }
        due
    }
}
