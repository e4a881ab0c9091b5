//! How long the Lease could not be renewed, and what is reported of that.

use std::time::Duration;

use runtime::BootTime;
use runtime::write::{Next, WriteError};

/// How many attempts may fail before it is reported. An API server that restarts needs some seconds.
const ATTEMPTS: u32 = 3;
/// How often it is logged while it lasts.
const LOG: Duration = Duration::from_secs(300);

/// Whether renewals succeed.
#[derive(Debug)]
pub(super) struct Health {
    /// The last success; at first the start.
    since: BootTime,
    /// Until when the Lease is valid.
    valid: BootTime,
    failures: u32,
    logged: Option<BootTime>,
}

/// What follows from a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Consequences {
    /// For the log, if it is time for it.
    pub(super) log: Option<String>,
    /// Why the agent is not ready: the others do not know it any more.
    pub(super) unready: Option<String>,
}

impl Health {
    pub(super) const fn new(now: BootTime) -> Self {
        Self { since: now, valid: now, failures: 0, logged: None }
    }

    /// Whether the Lease is valid.
    pub(super) fn is_valid(&self, now: BootTime) -> bool {
        now < self.valid
    }

    /// A renewal that was sent then has succeeded; returns whether the agent was not ready before.
    pub(super) fn succeeded(&mut self, sent: BootTime, duration: Duration) -> bool {
        let was_unready = self.is_unready(sent);
        *self = Self { since: sent, valid: sent + duration, failures: 0, logged: None };
        was_unready
    }

    /// A renewal has failed.
    pub(super) fn failed(&mut self, now: BootTime, error: &WriteError, answer: &str) -> Consequences {
        self.failures = self.failures.saturating_add(1);
        let text = sentence(now.since(self.since), error, answer);
        let log = self.logged.is_none_or(|at| now.since(at) >= LOG) || self.failures == ATTEMPTS;
        if log {
            self.logged = Some(now);
        }
        Consequences { log: log.then(|| text.clone()), unready: self.is_unready(now).then_some(text) }
    }

    fn is_unready(&self, now: BootTime) -> bool {
        self.failures >= ATTEMPTS && !self.is_valid(now)
    }
}

fn sentence(time: Duration, error: &WriteError, answer: &str) -> String {
    let seconds = time.as_secs();
    let cause = match (error, error.next()) {
        (WriteError::Deadline(_), _) => {
            "; look for admission webhooks that match leases of the group coordination.k8s.io and do not answer (kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations), and for the API server itself"
        }
        (_, Next::Refused) => {
            "; look for an admission webhook or policy that refuses it, and for the Role purelb:lbnodeagent"
        }
        _ => "",
    };
    format!(
        "this node's Lease was not renewed for {seconds} s ({answer}): where gossip does not reach, others take this agent for dead{cause}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> BootTime {
        BootTime::from_duration(Duration::from_secs(seconds))
    }

    fn fail(health: &mut Health, seconds: u64) -> Consequences {
        health.failed(at(seconds), &WriteError::Deadline(Duration::from_secs(2)), "no answer")
    }

    #[test]
    fn case_67_a_lease_that_is_not_renewed_is_reported() {
        let mut health = Health::new(at(0));
        assert!(!health.succeeded(at(1), Duration::from_secs(180)));
        let first = fail(&mut health, 61);
        assert!(first.log.unwrap().contains("not renewed for 60 s (no answer)"));
        assert_eq!(first.unready, None);
        assert_eq!(fail(&mut health, 64), Consequences { log: None, unready: None });
        assert!(fail(&mut health, 67).log.unwrap().contains("admission webhooks that match leases"));
        // The others do not know this agent any more.
        assert!(fail(&mut health, 180).unready.is_none() && health.is_valid(at(180)));
        let over = fail(&mut health, 181);
        assert!(over.unready.unwrap().contains("for 180 s") && over.log.is_none());
        assert!(fail(&mut health, 367).log.is_some());
        assert!(health.succeeded(at(400), Duration::from_secs(180)));
        assert!(!health.succeeded(at(460), Duration::from_secs(180)));
    }

    #[test]
    fn case_67_the_first_renewals_are_needed_to_be_ready() {
        let mut health = Health::new(at(0));
        assert_eq!([2, 5].map(|seconds| fail(&mut health, seconds).unready), [None, None]);
        assert!(fail(&mut health, 8).unready.is_some());
    }
}
