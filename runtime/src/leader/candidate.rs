//! The task that takes part in the election: it reads and writes the Lease.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use prometheus::IntGauge;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::election::{Decision, Election, Record, Timing};
use super::leadership::{Ability, Leadership, Term, Unwritable};
use super::statement::{Statement, found, value};
use crate::BootTime;
use crate::backoff::random_unit;
use crate::log::ErrorChain;
use crate::write::{Next, WriteCounter, WriteError, within};

/// The number of writes in a row without an answer after which the Lease counts as unwritable.
const UNWRITABLE_AFTER: u32 = 2;

/// The task of a [`Leader`](super::Leader).
pub(super) struct Candidate {
    pub(super) leases: Api<Lease>,
    pub(super) name: &'static str,
    pub(super) field_manager: &'static str,
    pub(super) annotations: BTreeMap<&'static str, String>,
    pub(super) election: Election,
    pub(super) timing: Timing,
    pub(super) leadership: Leadership,
    pub(super) terms: watch::Sender<Option<Term>>,
    pub(super) term: u64,
    pub(super) clean: bool,
    /// Whether the Lease was taken since the term was published last.
    pub(super) taken: bool,
    /// Of what is stated.
    pub(super) annotation: &'static str,
    pub(super) statement: Statement,
    /// What the holder has stated, as the Lease was last seen.
    pub(super) found: Option<Arc<str>>,
    pub(super) healthy: IntGauge,
    pub(super) writes: WriteCounter,
    pub(super) failures: u32,
    /// How many writes in a row had no answer in time.
    pub(super) unanswered: u32,
    pub(super) unwritable: watch::Sender<Option<Unwritable>>,
    pub(super) ability: Ability,
    pub(super) quiet: Arc<AtomicBool>,
}

impl Candidate {
    /// Takes part until it is cancelled, and then releases the Lease.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            // A step that hangs must not hide the end of the leadership.
            let limit = self.election.remaining(BootTime::now()).unwrap_or(Duration::MAX);
            let pause = if let Ok(pause) = timeout(limit, self.step()).await {
                pause
            } else {
                self.election.read_next_time();
                Duration::ZERO
            };
            self.publish();
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(pause) => {}
                () = self.statement.changed(), if self.election.is_recorded() => {}
                // The end of the leadership is published in time even if the pause is longer.
                () = sleep(self.election.remaining(BootTime::now()).unwrap_or(Duration::MAX)) => self.publish(),
            }
        }
        self.release().await;
    }

    /// Reads the Lease if needed and writes it if needed. Returns the pause until the next step.
    async fn step(&mut self) -> Duration {
        let now = BootTime::now();
        if self.election.must_read()
            && let Err(error) = self.read().await
        {
            return self.failed("read", &error);
        }
        let decision = match self.election.decide(BootTime::now()) {
            Decision::Renew | Decision::Take { .. } if !self.ability.get() => Decision::Follow(self.timing.renew),
            decision => decision,
        };
        let transitions = match decision {
            Decision::Follow(pause) => {
                self.healthy.set(1);
                self.failures = 0;
                self.note_write(false);
                self.election.read_next_time();
                return pause.mul_f64(0.8 + 0.2 * random_unit());
            }
            Decision::Renew => None,
            Decision::Take { transitions } => {
                self.clean = self.election.holder().is_none();
                Some(transitions)
            }
        };
        let written = self.write(transitions).await;
        self.taken |= written.is_ok() && transitions.is_some();
        self.note_write(matches!(written, Err(WriteError::Deadline(_))));
        if let Err(error) = written {
            return self.failed("write", &error);
        }
        self.healthy.set(1);
        self.failures = 0;
        self.timing.renew.saturating_sub(BootTime::now().since(now))
    }

    /// A write of the Lease was answered, or had no answer in time.
    fn note_write(&mut self, unanswered: bool) {
        self.unanswered = if unanswered { self.unanswered.saturating_add(1) } else { 0 };
        let deadline = self.timing.deadline;
        let now = (self.unanswered >= UNWRITABLE_AFTER).then_some(Unwritable { deadline });
        self.unwritable.send_if_modified(|known| std::mem::replace(known, now) != now);
    }

    fn failed(&mut self, what: &str, error: &WriteError) -> Duration {
        self.election.read_next_time();
        self.failures = self.failures.saturating_add(1);
        let lease = self.name;
        let error_text = ErrorChain(error);
        match error.next() {
            // Another candidate was faster. That is normal.
            Next::Remake => debug!(op = "leader", what, lease, "another replica changed the lease meanwhile"),
            Next::Forget => {
                self.healthy.set(0);
                warn!(op = "leader", what, lease, error = %error_text, "the lease does not exist: apply the manifests again");
            }
            _ => {
                self.healthy.set(0);
                warn!(op = "leader", what, lease, error = %error_text, "cannot read or write the lease");
            }
        }
        match error.next() {
            Next::Remake => Duration::ZERO,
            _ => (self.timing.renew / 4 * self.failures.min(4)).mul_f64(0.5 + 0.5 * random_unit()),
        }
    }

    async fn read(&mut self) -> Result<(), WriteError> {
        let lease = within(self.timing.deadline, self.leases.get(self.name)).await?;
        self.found = found(&lease, self.annotation);
        self.election.observe(record(&lease), BootTime::now());
        Ok(())
    }

    async fn write(&mut self, transitions: Option<i32>) -> Result<(), WriteError> {
        let time = MicroTime(Timestamp::now());
        let mut spec = json!({
            "holderIdentity": self.election.identity(),
            "leaseDurationSeconds": self.timing.duration.as_secs().max(1),
            "renewTime": &time,
        });
        if let (Some(transitions), Some(spec)) = (transitions, spec.as_object_mut()) {
            spec.insert("acquireTime".to_owned(), json!(&time));
            spec.insert("leaseTransitions".to_owned(), Value::from(transitions));
        }
        let started = BootTime::now();
        // Who takes the Lease keeps what the holder before has stated, under its own name, until it states something in
        // its term. What it stated in an earlier term is not to come back, even if it does not know that it has taken it.
        let own =
            if self.terms.borrow().is_some() && transitions.is_none() { self.statement.of(self.term) } else { None };
        let text = own.clone().or_else(|| self.found.clone());
        let lease = self.patch(spec, text.map(|text| value(self.election.identity(), &text))).await?;
        self.found = found(&lease, self.annotation);
        self.election.written(record(&lease), started, BootTime::now());
        if let Some(own) = own {
            self.statement.was_written(self.term, own);
        }
        Ok(())
    }

    async fn patch(&mut self, spec: Value, statement: Option<String>) -> Result<Lease, WriteError> {
        let mut annotations: Map<String, Value> =
            self.annotations.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        annotations.insert(self.annotation.to_owned(), json!(statement));
        let metadata = json!({"resourceVersion": self.election.version(), "annotations": annotations});
        let patch = json!({"metadata": metadata, "spec": spec});
        let parameters = PatchParams { field_manager: Some(self.field_manager.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(&patch);
        let request = self.leases.patch(self.name, &parameters, &patch);
        self.writes.count("lease", within(self.timing.deadline, request).await)
    }

    /// Publishes the state: whether writes may start first, then the term.
    fn publish(&mut self) {
        let now = BootTime::now();
        self.leadership.set(self.election.write_until());
        let leads = self.election.remaining(now).is_some();
        let led = self.terms.borrow().is_some();
        // Others may have led between, even if this process was suspended and does not know that its term has ended.
        let taken = std::mem::take(&mut self.taken);
        if leads && (!led || taken) {
            self.term += 1;
            info!(
                op = "leader",
                identity = self.election.identity(),
                term = self.term,
                "this replica is now the leader"
            );
            self.terms.send_replace(Some(Term { number: self.term, clean: self.clean, statement: self.found.clone() }));
            // If this term ends and another begins without another holder between, writes of this one may be under way.
            self.clean = false;
        } else if led && !leads {
            info!(
                op = "leader",
                identity = self.election.identity(),
                holder = self.election.holder(),
                "this replica is no longer the leader"
            );
            self.terms.send_replace(None);
        }
    }

    async fn release(&mut self) {
        self.leadership.set(None);
        self.terms.send_replace(None);
        if !self.election.is_recorded() {
            return;
        }
        // The duration in the Lease is how long followers wait: one second. If it still has a holder, the next term is
        // not clean.
        let holder = if self.quiet.load(Ordering::Acquire) { "" } else { self.election.identity() };
        let stated = self.found.as_deref().filter(|_| !holder.is_empty()).map(|text| value(holder, text));
        let time = MicroTime(Timestamp::now());
        let spec = json!({"holderIdentity": holder, "leaseDurationSeconds": 1, "renewTime": time});
        match self.patch(spec, stated).await {
            Ok(_) => info!(op = "leader", "released the lease"),
            Err(error) => warn!(op = "leader", error = %ErrorChain(&error), "could not release the lease"),
        }
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|seconds| u64::try_from(seconds).ok());
    Record {
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        holder: spec.and_then(|spec| spec.holder_identity.clone()).filter(|holder| !holder.is_empty()),
        duration: Duration::from_secs(seconds.unwrap_or_default()),
        transitions: spec.and_then(|spec| spec.lease_transitions).unwrap_or_default(),
    }
}
