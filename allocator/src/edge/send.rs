//! Sends what the state has to send, and takes in the outcomes.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use runtime::BootTime;
use runtime::backoff::Backoff;

use super::controller::Controller;
use super::retries::Attempt;
use super::writer::Attempted;
use crate::model::GroupId;
use crate::state::{Outcome, ServicePatch};

/// Waiting Services are planned again after this pause, lengthened for each of them.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_micros(100));
/// Waiting Services are planned again at least this often, whatever happens.
const RETRY_PERIOD: Duration = Duration::from_secs(60);
/// The most group statuses in flight.
const STATUS_WRITES: usize = 8;
/// The first and the longest pause between the attempts of a write.
const WRITE_BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

impl Controller {
    /// Sends everything that may be sent now: writes, calls, Kubernetes events.
    pub(super) fn send_all(&mut self) {
        let now = BootTime::now();
        self.index.set_time(Timestamp::now());
        let waiting = u32::try_from(self.index.waiting()).unwrap_or(u32::MAX);
        let pause = RETRY_PAUSE.0.saturating_add(RETRY_PAUSE.1.saturating_mul(waiting));
        if self.index.wants_retry() && now.since(self.retried) >= pause {
            self.retry(now);
        }
        while self.writes.len() < self.settings.in_flight && self.parts.leadership.is_held() {
            let Some((patch, backoff)) = self.retries.take_due(now).or_else(|| self.next_write()) else { break };
            let sent = self.writer.clone().send(patch);
            self.writes.push(Box::pin(async move {
                let (patch, attempted) = sent.await;
                (patch, attempted, backoff)
            }));
        }
        while self.parts.leadership.is_held()
            && let Some(call) = self.index.next_call(now)
        {
            self.calls.push(Box::pin(self.sidecars.send(call)));
        }
        self.parts.metrics.in_flight.set(i64::try_from(self.writes.len()).unwrap_or(i64::MAX));
        for event in self.index.take_events() {
            self.parts.events.publish(event);
        }
    }

    fn next_write(&mut self) -> Option<Attempt> {
        let (first, longest) = WRITE_BACKOFF;
        self.index.next_patch().map(|patch| (patch, Backoff::new(first, longest)))
    }

    /// Time has passed: Leases may have run out, waiting Services and group statuses may be due.
    pub(super) fn tick(&mut self) {
        let now = BootTime::now();
        self.index.set_node_subnets(self.node_subnets.alive(now));
        if now.since(self.retried) >= RETRY_PERIOD {
            self.retry(now);
        }
        let room = STATUS_WRITES.saturating_sub(self.statuses.len());
        for patch in self.index.status_patches(now, Timestamp::now(), room) {
            self.statuses.push(Box::pin(self.writer.clone().send_status(patch)));
        }
    }

    fn retry(&mut self, now: BootTime) {
        self.retried = now;
        self.index.retry();
    }

    /// One attempt of a write to a Service has ended.
    pub(super) fn write_ended(&mut self, patch: ServicePatch, attempted: Attempted, mut backoff: Backoff) {
        match attempted {
            Attempted::Done(outcome) => {
                if let Outcome::Refused(_) = *outcome {
                    self.parts.client_metrics.update_errors.inc();
                }
                self.index.written(&patch, *outcome);
            }
            Attempted::Instead(patch) => self.retries.add(Duration::ZERO, (patch, backoff)),
            Attempted::Again(after) => {
                self.quiet = false;
                self.parts.client_metrics.update_errors.inc();
                let delay = backoff.next_delay().max(after.unwrap_or_default());
                self.retries.add(delay, (patch, backoff));
            }
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
