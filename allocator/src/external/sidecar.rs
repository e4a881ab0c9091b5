//! Whether a sidecar answers, and the calls that wait for it.

use std::collections::BTreeSet;
use std::time::Duration;

use runtime::{BootTime, backoff};

use super::call::{CallError, Failure, Request};
use super::queue::CallQueue;
use crate::model::Owner;

/// The most calls for Services under way to one sidecar.
pub(super) const SERVICE_CALLS: usize = 14;
/// The most calls for numbers and listings under way to one sidecar. They do not wait for slow calls: by them it is known whether the
/// sidecar answers.
const STATS_CALLS: usize = 2;
/// The pause after the first call without an answer. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause. It bounds how long an outage is noticed after its end.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// What is shown changes at most once in this time.
const STEADY: Duration = Duration::from_secs(30);

/// A sidecar that does not answer.
#[derive(Debug)]
struct Outage {
    /// The error of the first call that failed.
    text: String,
    failures: u32,
    /// No call is sent before this time.
    try_at: BootTime,
}

/// What people are shown.
#[derive(Debug, Default)]
enum Shown {
    #[default]
    Unknown,
    Answering,
    NotAnswering(String),
}

/// A sidecar, identified by its socket.
#[derive(Debug, Default)]
pub(super) struct Sidecar {
    /// Groups and Services with a call to send now, and calls under way.
    pub(super) queue: CallQueue,
    /// Groups and Services with a call to send at a later time.
    pub(super) later: BTreeSet<(BootTime, String, Owner)>,
    stats_under_way: usize,
    /// When a call was answered last.
    answered: Option<BootTime>,
    outage: Option<Outage>,
    shown: Shown,
    /// When that changed last. The first time does not count.
    shown_at: Option<BootTime>,
}

impl Sidecar {
    /// Whether one more call for a Service may be sent.
    pub(super) fn has_room(&self) -> bool {
        self.outage.is_none() && self.queue.under_way() < SERVICE_CALLS
    }

    /// Whether one more call for numbers may be sent. A sidecar that does not answer gets one call at a time, with pauses.
    pub(super) fn may_be_probed(&self, now: BootTime) -> bool {
        match &self.outage {
            Some(_) => self.may_try(now),
            None => self.stats_under_way < STATS_CALLS,
        }
    }

    /// Whether a sidecar that does not answer may be tried again.
    pub(super) fn may_try(&self, now: BootTime) -> bool {
        self.outage.as_ref().is_some_and(|outage| self.under_way() == 0 && now >= outage.try_at)
    }

    /// How many calls are under way.
    pub(super) fn under_way(&self) -> usize {
        self.queue.under_way() + self.stats_under_way
    }

    /// The error of the sidecar if it does not answer.
    pub(super) fn outage(&self) -> Option<&str> {
        self.outage.as_ref().map(|outage| outage.text.as_str())
    }

    /// What people are shown: nothing before the first answer, then the error if it does not answer.
    pub(super) fn shown(&self) -> Option<Result<(), &str>> {
        match &self.shown {
            Shown::Unknown => None,
            Shown::Answering => Some(Ok(())),
            Shown::NotAnswering(text) => Some(Err(text)),
        }
    }

    /// Shows the present state, if enough time has passed. Returns whether that is a change.
    pub(super) fn show(&mut self, now: BootTime) -> bool {
        let (first, same) = match (&self.shown, &self.outage) {
            (Shown::Unknown, outage) => (true, outage.is_none() && self.answered.is_none()),
            (Shown::Answering, None) | (Shown::NotAnswering(_), Some(_)) => (false, true),
            _ => (false, false),
        };
        if same || !first && self.shown_at.is_some_and(|at| now.since(at) < STEADY) {
            return false;
        }
        if !first {
            self.shown_at = Some(now);
        }
        self.shown = match &self.outage {
            Some(outage) => Shown::NotAnswering(outage.text.clone()),
            None => Shown::Answering,
        };
        true
    }

    /// A call for numbers or for a listing is sent.
    pub(super) const fn group_call_sent(&mut self) {
        self.stats_under_way += 1;
    }

    /// Notes the end of a call: with an answer, which may be a refusal, or with this error. `probed` is when the group was
    /// asked for its numbers last. Returns whether the sidecar has begun or ceased to answer.
    pub(super) fn call_ended(
        &mut self,
        request: &Request,
        failed: Option<&CallError>,
        probed: BootTime,
        now: BootTime,
    ) -> bool {
        if request.owner().is_none() {
            self.stats_under_way = self.stats_under_way.saturating_sub(1);
        }
        let silent = match failed.map(|error| error.failure) {
            None | Some(Failure::Refused) => {
                let changed = self.outage.take().is_some() || self.answered.is_none();
                self.answered = Some(now);
                return changed;
            }
            Some(Failure::Unreachable) => true,
            // Whether the sidecar is gone or only the call went wrong is seen by the numbers.
            Some(Failure::Broken) => *request == Request::Stats,
            // One slow answer says nothing while others come.
            Some(Failure::NoAnswer) => *request == Request::Stats && self.answered.is_none_or(|at| at <= probed),
        };
        if !silent {
            return false;
        }
        let changed = self.outage.is_none();
        // The first error stays, so that events and conditions do not change with each attempt.
        let text = failed.map(|error| error.text.clone()).unwrap_or_default();
        let outage = self.outage.get_or_insert(Outage { text, failures: 0, try_at: BootTime::default() });
        outage.try_at = now + backoff::step(FIRST_PAUSE, LONGEST_PAUSE, outage.failures);
        outage.failures = outage.failures.saturating_add(1);
        changed
    }

    /// Removes and returns the groups and Services whose time has come.
    pub(super) fn take_due(&mut self, now: BootTime) -> Vec<(String, Owner)> {
        let mut due = Vec::new();
        while let Some(first) = self.later.first()
            && first.0 <= now
            && let Some((_, group, owner)) = self.later.pop_first()
        {
            due.push((group, owner));
        }
        due
    }
}
