//! Sends what the state has to send, and takes in the outcomes.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Api;
use runtime::BootTime;
use runtime::webhooks::{self, SERVICES};

use super::controller::{Controller, Role};
use super::owed_record;
use super::retries::Attempt;
use super::writer::{Attempted, EndedAttempt};
use crate::model::GroupId;
use crate::state::{Outcome, Purpose};

/// Waiting Services are planned again after this pause, lengthened for each of them.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_micros(100));
/// Waiting Services are planned again at least this often, whatever happens.
const RETRY_PERIOD: Duration = Duration::from_secs(60);
/// The most group statuses in flight.
const STATUS_WRITES: usize = 8;
/// The most writes in flight that were sent before. Those that are never answered must not keep all others back.
const REPEATED_IN_FLIGHT: usize = 48;

impl Controller {
    /// Sends everything that may be sent now: writes, calls, Kubernetes events.
    pub(super) fn send_all(&mut self) {
        let now = BootTime::now();
        self.index.set_time(now, Timestamp::now());
        let waiting = u32::try_from(self.index.waiting()).unwrap_or(u32::MAX);
        let pause = RETRY_PAUSE.0.saturating_add(RETRY_PAUSE.1.saturating_mul(waiting));
        if self.index.wants_retry() && now.since(self.retried) >= pause {
            self.retry(now);
        }
        self.state_offer();
        while self.writes.len() < self.settings.in_flight && self.parts.leadership.is_held() {
            let may_retry = self.repeated < REPEATED_IN_FLIGHT;
            let retry = if may_retry { self.retries.take_due(now) } else { None };
            let Some(attempt) = retry.or_else(|| self.index.next_patch().map(Attempt::first)) else { break };
            self.repeated += usize::from(attempt.is_repeated());
            self.writes.push(Box::pin(self.writer.clone().send(attempt)));
        }
        // Some of them may wait for another offer.
        self.state_offer();
        while self.parts.leadership.is_held()
            && let Some(call) = self.index.next_call(now)
        {
            self.calls.push(Box::pin(self.sidecars.send(call)));
        }
        self.parts.metrics.in_flight.set(i64::try_from(self.writes.len()).unwrap_or(i64::MAX));
        self.look_for_webhooks();
        for event in self.index.take_events() {
            self.parts.events.publish(event);
        }
    }

    /// Has the Lease say what this replica may be about to give.
    fn state_offer(&mut self) {
        if let Role::Leading(term) = self.role
            && let Some(offer) = self.index.offer_to_state()
        {
            self.parts.statement.state(term, offer);
        }
    }

    /// The Lease says this, in the term of this number.
    pub(super) fn offer_recorded(&mut self, stated: Option<(u64, Arc<str>)>) {
        if let Some((term, offer)) = stated
            && self.role == Role::Leading(term)
        {
            self.index.offer_recorded(&offer);
        }
    }

    /// Time has passed: Leases may have run out, addresses may be announced by nobody for long enough, waiting Services and
    /// group statuses may be due.
    pub(super) fn tick(&mut self) {
        let now = BootTime::now();
        self.check_hearing(now);
        self.index.expire_leases(now);
        self.refresh_held(now);
        self.check_loaded();
        self.index.check_announcements(now);
        self.watch_endpoints();
        if now.since(self.retried) >= RETRY_PERIOD {
            self.retry(now);
        }
        self.write_record(now);
        let room = STATUS_WRITES.saturating_sub(self.statuses.len());
        for patch in self.index.status_patches(now, Timestamp::now(), room) {
            self.statuses.push(Box::pin(self.writer.clone().send_status(patch)));
        }
    }

    /// Writes the record of what is owed to sidecars, if it has changed.
    pub(super) fn write_record(&mut self, now: BootTime) {
        if let Some(text) = self.index.record_write(now) {
            let records = Api::namespaced(self.client.clone(), &self.settings.namespace);
            let (leadership, writes) = (self.parts.leadership.clone(), self.parts.writes.clone());
            self.record_writes.push(Box::pin(owed_record::write(records, text, leadership, writes)));
        }
    }

    fn retry(&mut self, now: BootTime) {
        self.retried = now;
        self.index.retry();
    }

    /// One attempt of a write to a Service has ended.
    pub(super) fn write_ended(&mut self, ended: EndedAttempt) {
        let (mut attempt, attempted, took) = ended;
        let now = BootTime::now();
        self.repeated = self.repeated.saturating_sub(usize::from(attempt.is_repeated()));
        match attempted {
            Attempted::Done(outcome) => {
                self.index.write_answered(&attempt.patch.name, took);
                if let Outcome::Refused(text) = &*outcome {
                    self.parts.client_metrics.update_errors.inc();
                    if let Some(delay) = attempt.refused(now) {
                        self.index.tell_refused(&attempt.patch.name, text);
                        return self.retries.add(delay, attempt);
                    }
                }
                self.index.written(&attempt.patch, *outcome);
            }
            Attempted::Instead(patch) => self.retries.add(Duration::ZERO, attempt.instead(patch)),
            Attempted::Again(after) => {
                self.quiet = false;
                if attempt.patch.purpose == Purpose::Fence {
                    self.index.fence_unanswered(&attempt.patch.name);
                }
                self.index.write_failed(&attempt.patch.name, took);
                self.parts.client_metrics.update_errors.inc();
                let delay = attempt.unanswered(now).max(after.unwrap_or_default());
                self.retries.add(delay, attempt);
            }
        }
    }

    /// Reads which webhooks the API server asks, if Services are to be told.
    fn look_for_webhooks(&mut self) {
        if self.webhooks.is_empty() && self.index.wants_webhooks() && self.parts.leadership.is_held() {
            self.webhooks.push(Box::pin(webhooks::describe(self.client.clone(), SERVICES)));
        }
    }

    /// A write of a group status has ended, with this value of the label `outcome`.
    pub(super) fn status_written(&mut self, group: &GroupId, outcome: &'static str) {
        self.parts.metrics.status_writes.with_label_values(&[outcome]).inc();
        if outcome != "success" {
            self.index.status_failed(group, BootTime::now());
        }
    }
}
