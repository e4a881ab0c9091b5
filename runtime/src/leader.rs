//! Leader election over one Lease that exists already.
//!
//! The decisions are in [`election`] and know no network. A follower judges by its own clock how
//! long the Lease has not changed, never by the times written in it. The leader counts its lease
//! from the moment before it sent the renewal, so it always ends for the leader first. What the
//! leader does is guarded by a [`Fence`], which needs no running task to close: it compares clocks.

pub mod election;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use prometheus::IntGauge;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::backoff::random_unit;
use crate::log::ErrorChain;
use crate::write::{Next, WriteCounter, WriteError, within};
use crate::{BootTime, Task};
use election::{Decision, Election, Record, Timing};

/// Tells at any moment whether this process may act as the leader. Clones are the same fence.
#[derive(Debug, Clone)]
pub struct Fence {
    /// [`BootTime`] in milliseconds after which no write may start; 0 means not the leader.
    until: Arc<AtomicU64>,
}

impl Fence {
    /// Whether a write that is sent now, and given up after the write deadline, ends within the lease.
    ///
    /// Also right after the process was paused: only clocks are compared.
    #[must_use]
    pub fn is_held(&self) -> bool {
        BootTime::now().as_millis() < self.until.load(Ordering::Acquire)
    }

    /// A fence that stays open: for programs without election, and for tests.
    #[must_use]
    pub fn always_held() -> Self {
        Self { until: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    fn set(&self, until: Option<BootTime>) {
        self.until.store(until.map_or(0, BootTime::as_millis), Ordering::Release);
    }
}

/// A time as the leader, without a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// Counts from 1; each term of this process has its own.
    pub number: u64,
    /// The leader before left politely, or there was none: nothing of it is still under way.
    pub clean: bool,
}

/// Takes part in the election until it is dropped or [released](Leader::release).
#[derive(Debug)]
pub struct Leader {
    fence: Fence,
    terms: watch::Receiver<Option<Term>>,
    leave: CancellationToken,
    /// Whether nothing that this process has sent can still arrive.
    quiet: Arc<AtomicBool>,
    task: Task,
    deadline: Duration,
}

impl Leader {
    /// Starts taking part.
    ///
    /// `identity` must be unlike that of any other process, also of this one before a restart;
    /// see [`identity`]. `healthy` is 1 while the Lease can be read and, by the leader, written.
    #[must_use]
    pub fn start(
        leases: Api<Lease>,
        name: &'static str,
        identity: String,
        field_manager: &'static str,
        timing: Timing,
        healthy: IntGauge,
        writes: WriteCounter,
    ) -> Self {
        let fence = Fence { until: Arc::new(AtomicU64::new(0)) };
        let (sender, terms) = watch::channel(None);
        let leave = CancellationToken::new();
        let quiet = Arc::new(AtomicBool::new(false));
        let candidate = Candidate {
            leases,
            name,
            field_manager,
            election: Election::new(identity, timing),
            timing,
            fence: fence.clone(),
            terms: sender,
            term: 0,
            clean: false,
            healthy,
            writes,
            failures: 0,
            quiet: quiet.clone(),
        };
        let task = Task::spawn(candidate.run(leave.clone()));
        Self { fence, terms, leave, quiet, task, deadline: timing.deadline }
    }

    /// The fence to ask before every write.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// The present term of this process as leader, or nothing while it is none.
    #[must_use]
    pub fn terms(&self) -> watch::Receiver<Option<Term>> {
        self.terms.clone()
    }

    /// Leaves politely: the next leader need not wait. Call it when nothing more is sent.
    ///
    /// `quiet` says that every write this process ever sent has been answered. Otherwise one may
    /// still be on its way, and the next leader is told so: its term is not [`Term::clean`].
    pub async fn release(mut self, quiet: bool) {
        self.quiet.store(quiet, Ordering::Release);
        self.fence.set(None);
        self.leave.cancel();
        if timeout(self.deadline * 2, self.task.join()).await.is_err() {
            warn!(op = "leader", "could not release the lease in time; the next leader waits until it ends");
        }
    }
}

/// An identity for [`Leader::start`]: the pod's name and a random part.
#[must_use]
pub fn identity(pod: &str) -> String {
    let random = getrandom::u64().unwrap_or_else(|_| BootTime::now().as_millis());
    format!("{pod}_{random:016x}")
}

struct Candidate {
    leases: Api<Lease>,
    name: &'static str,
    field_manager: &'static str,
    election: Election,
    timing: Timing,
    fence: Fence,
    terms: watch::Sender<Option<Term>>,
    term: u64,
    clean: bool,
    healthy: IntGauge,
    writes: WriteCounter,
    failures: u32,
    quiet: Arc<AtomicBool>,
}

impl Candidate {
    async fn run(mut self, leave: CancellationToken) {
        loop {
            // A step that hangs must not hide that the lease has ended meanwhile.
            let limit = self.election.remaining(BootTime::now()).unwrap_or(Duration::MAX);
            let pause = if let Ok(pause) = timeout(limit, self.step()).await {
                pause
            } else {
                self.election.read_next_time();
                Duration::ZERO
            };
            self.publish();
            tokio::select! {
                () = leave.cancelled() => break,
                () = sleep(pause) => {}
                // Losing the lease must be told in time even while the pause is longer.
                () = sleep(self.election.remaining(BootTime::now()).unwrap_or(Duration::MAX)) => self.publish(),
            }
        }
        self.give_up().await;
    }

    /// One look at the Lease, perhaps one write; the result is the pause until the next.
    async fn step(&mut self) -> Duration {
        let now = BootTime::now();
        if self.election.must_read()
            && let Err(error) = self.read().await
        {
            return self.failed("read", &error);
        }
        let transitions = match self.election.decide(BootTime::now()) {
            Decision::Follow(pause) => {
                self.healthy.set(1);
                self.failures = 0;
                self.election.read_next_time();
                return pause.mul_f64(0.8 + 0.2 * random_unit());
            }
            Decision::Renew => None,
            Decision::Take { transitions } => {
                self.clean = self.election.holder().is_none();
                Some(transitions)
            }
        };
        if let Err(error) = self.write(transitions).await {
            return self.failed("write", &error);
        }
        self.healthy.set(1);
        self.failures = 0;
        self.timing.renew.saturating_sub(BootTime::now().since(now))
    }

    fn failed(&mut self, what: &str, error: &WriteError) -> Duration {
        self.election.read_next_time();
        self.failures = self.failures.saturating_add(1);
        let lease = self.name;
        let error_text = ErrorChain(error);
        match error.next() {
            // Somebody else was faster: daily business.
            Next::Remake => debug!(op = "leader", what, lease, "the lease has changed meanwhile"),
            Next::Forget => {
                self.healthy.set(0);
                warn!(op = "leader", what, lease, error = %error_text, "the lease does not exist: apply the manifests again");
            }
            _ => {
                self.healthy.set(0);
                warn!(op = "leader", what, lease, error = %error_text, "cannot reach the lease");
            }
        }
        match error.next() {
            Next::Remake => Duration::ZERO,
            _ => (self.timing.renew / 4 * self.failures.min(4)).mul_f64(0.5 + 0.5 * random_unit()),
        }
    }

    async fn read(&mut self) -> Result<(), WriteError> {
        let lease = within(self.timing.deadline, self.leases.get(self.name)).await?;
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
        let lease = self.patch(spec).await?;
        self.election.written(record(&lease), started, BootTime::now());
        Ok(())
    }

    async fn patch(&mut self, spec: Value) -> Result<Lease, WriteError> {
        let patch = json!({"metadata": {"resourceVersion": self.election.version()}, "spec": spec});
        let parameters = PatchParams { field_manager: Some(self.field_manager.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(&patch);
        let request = self.leases.patch(self.name, &parameters, &patch);
        self.writes.count("lease", within(self.timing.deadline, request).await)
    }

    /// Makes the outcome known: the fence first, then the term.
    fn publish(&mut self) {
        let now = BootTime::now();
        self.fence.set(self.election.fence());
        let leads = self.election.remaining(now).is_some();
        let led = self.terms.borrow().is_some();
        if leads && !led {
            self.term += 1;
            info!(op = "leader", identity = self.election.identity(), term = self.term, "now the leader");
            self.terms.send_replace(Some(Term { number: self.term, clean: self.clean }));
            // Should it end and begin again without another holder, writes of before may be under way.
            self.clean = false;
        } else if led && !leads {
            info!(
                op = "leader",
                identity = self.election.identity(),
                holder = self.election.holder(),
                "no longer the leader"
            );
            self.terms.send_replace(None);
        }
    }

    async fn give_up(&mut self) {
        self.fence.set(None);
        self.terms.send_replace(None);
        if !self.election.is_recorded() {
            return;
        }
        // One second: whoever reads the duration waits no longer than that. A Lease that still has a
        // holder makes the next term one that is not clean.
        let holder = if self.quiet.load(Ordering::Acquire) { "" } else { self.election.identity() };
        let time = MicroTime(Timestamp::now());
        let spec = json!({"holderIdentity": holder, "leaseDurationSeconds": 1, "renewTime": time});
        match self.patch(spec).await {
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
