//! Leader election with one Lease, which must exist already.
//!
//! A follower measures by its own clock how long the Lease has not changed, and never uses the times that are written
//! in it. The leader counts the duration from the moment before it sent the renewal, so its leadership ends for itself
//! before it ends for others. Before every write the leader asks its [`Leadership`], which only compares clocks, so
//! that it ends in time even when no task runs.
//!
//! | Module | Holds |
//! |---|---|
//! | [`election`] | the decisions, without network |
//! | `candidate` | the task that reads and writes the Lease |
//! | `leadership` | whether this process leads, and since when |
//! | `statement` | what the leader says in the Lease to the next one |

mod candidate;
pub mod election;
mod leadership;
mod statement;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use prometheus::IntGauge;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::write::WriteCounter;
use crate::{BootTime, Task};
use candidate::Candidate;
use election::{Election, Timing};

pub use leadership::{Ability, Leadership, Term, Unwritable};
pub use statement::Statement;

/// A candidate in the election, until it is dropped or [released](Leader::release).
#[derive(Debug)]
pub struct Leader {
    leadership: Leadership,
    terms: watch::Receiver<Option<Term>>,
    unwritable: watch::Receiver<Option<Unwritable>>,
    ability: Ability,
    statement: Statement,
    stop: CancellationToken,
    /// Whether no write that this process has sent can still arrive.
    quiet: Arc<AtomicBool>,
    task: Task,
    deadline: Duration,
}

/// What a candidate writes to the Lease.
#[derive(Debug, Clone)]
pub struct Candidacy {
    /// The name of the Lease.
    pub lease: &'static str,
    /// Differs from that of every other process, including this one before a restart; see [`identity`].
    pub identity: String,
    /// The field manager of the writes.
    pub field_manager: &'static str,
    /// Annotations that the leader writes together with every renewal.
    pub annotations: BTreeMap<&'static str, String>,
    /// The annotation of the leader's [`Statement`].
    pub statement: &'static str,
}

impl Leader {
    /// Joins the election.
    ///
    /// `healthy` is 1 while the Lease can be read and, by the leader, written.
    #[must_use]
    pub fn start(
        leases: Api<Lease>,
        candidacy: Candidacy,
        timing: Timing,
        healthy: IntGauge,
        writes: WriteCounter,
    ) -> Self {
        let leadership = Leadership::lost();
        let (sender, terms) = watch::channel(None);
        let (unwritable_sender, unwritable) = watch::channel(None);
        let (ability, statement) = (Ability::default(), Statement::default());
        let stop = CancellationToken::new();
        let quiet = Arc::new(AtomicBool::new(false));
        let candidate = Candidate {
            leases,
            name: candidacy.lease,
            field_manager: candidacy.field_manager,
            annotations: candidacy.annotations,
            election: Election::new(candidacy.identity, timing),
            timing,
            leadership: leadership.clone(),
            terms: sender,
            term: 0,
            clean: false,
            taken: false,
            annotation: candidacy.statement,
            statement: statement.clone(),
            found: None,
            healthy,
            writes,
            failures: 0,
            unanswered: 0,
            unwritable: unwritable_sender,
            ability: ability.clone(),
            quiet: quiet.clone(),
        };
        let task = Task::spawn(candidate.run(stop.clone()));
        Self { leadership, terms, unwritable, ability, statement, stop, quiet, task, deadline: timing.deadline }
    }

    /// Whether this process may write; to be asked before every write.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// The current term of this process, or `None` while it does not lead.
    #[must_use]
    pub fn terms(&self) -> watch::Receiver<Option<Term>> {
        self.terms.clone()
    }

    /// Whether this process can do the work of a leader; to be set by whoever knows.
    #[must_use]
    pub fn ability(&self) -> Ability {
        self.ability.clone()
    }

    /// What the leader says in the Lease to the next one.
    #[must_use]
    pub fn statement(&self) -> Statement {
        self.statement.clone()
    }

    /// Why the Lease cannot be written, while that lasts.
    #[must_use]
    pub fn unwritable(&self) -> watch::Receiver<Option<Unwritable>> {
        self.unwritable.clone()
    }

    /// Releases the Lease, so that the next leader need not wait. Call it after the last write.
    ///
    /// `quiet` says that all writes of this process have been answered. If one may still be under way, the term of the
    /// next leader is not [`Term::clean`].
    pub async fn release(mut self, quiet: bool) {
        self.quiet.store(quiet, Ordering::Release);
        self.leadership.set(None);
        self.stop.cancel();
        if timeout(self.deadline * 2, self.task.join()).await.is_err() {
            warn!(op = "leader", "could not release the lease in time: the next leader waits until it expires");
        }
    }
}

/// An identity for [`Leader::start`]: the name of the pod and a random part.
#[must_use]
pub fn identity(pod: &str) -> String {
    let random = getrandom::u64().unwrap_or_else(|_| BootTime::now().as_millis());
    format!("{pod}_{random:016x}")
}

#[cfg(test)]
mod tests;
