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
    /// Which webhooks the API server may be waiting for, as last read.
    webhooks: Option<String>,
}

/// What follows from a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Consequences {
    /// For the log, if it is time for it.
    pub(super) log: Option<String>,
    /// Why the agent is not ready: the others do not know it any more.
    pub(super) unready: Option<String>,
    /// What else is to be done about it.
    pub(super) report: Option<Report>,
}

/// What is to be done about renewals that go on failing, beside the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// To tell this of the Node.
    Tell(String),
    /// To read which webhooks the API server asks; see [`Health::webhooks_found`].
    ReadWebhooks,
}

impl Health {
    pub(super) const fn new(now: BootTime) -> Self {
        Self { since: now, valid: now, failures: 0, logged: None, webhooks: None }
    }

    /// Whether the Lease is valid.
    pub(super) fn is_valid(&self, now: BootTime) -> bool {
        now < self.valid
    }

    /// A renewal that was sent then has succeeded; returns whether the agent was not ready before.
    pub(super) fn succeeded(&mut self, sent: BootTime, duration: Duration) -> bool {
        let was_unready = self.is_unready(sent);
        *self = Self { valid: sent + duration, ..Self::new(sent) };
        was_unready
    }

    /// A renewal has failed.
    pub(super) fn failed(&mut self, now: BootTime, error: &WriteError, answer: &str) -> Consequences {
        self.failures = self.failures.saturating_add(1);
        let text = self.sentence(now, error, answer);
        let log = self.logged.is_none_or(|at| now.since(at) >= LOG) || self.failures == ATTEMPTS;
        if log {
            self.logged = Some(now);
        }
        let report = (log && self.failures >= ATTEMPTS).then(|| match error {
            WriteError::Deadline(_) => Report::ReadWebhooks,
            WriteError::Api(_) => Report::Tell(text.clone()),
        });
        Consequences { log: log.then(|| text.clone()), unready: self.is_unready(now).then_some(text), report }
    }

    /// A sentence says which webhooks the API server asks before it answers; returns what to tell of that, unless renewals
    /// succeed again.
    pub(super) fn webhooks_found(&mut self, now: BootTime, sentence: String) -> Option<String> {
        let text =
            (self.failures >= ATTEMPTS).then(|| format!("{}; {sentence}", self.not_renewed(now, "no answer")))?;
        self.webhooks = Some(sentence);
        Some(text)
    }

    fn not_renewed(&self, now: BootTime, answer: &str) -> String {
        let seconds = now.since(self.since).as_secs();
        format!(
            "this node's Lease was not renewed for {seconds} s ({answer}): where gossip does not reach, others take this agent for dead"
        )
    }

    fn sentence(&self, now: BootTime, error: &WriteError, answer: &str) -> String {
        let cause = match (error, error.next()) {
            (WriteError::Deadline(_), _) => self.webhooks.as_deref().unwrap_or(
                "an admission webhook that matches leases and does not answer may be the cause, or the API server itself",
            ),
            (_, Next::Refused) => {
                "look for an admission webhook or policy that refuses it, and for the Role purelb:lbnodeagent"
            }
            _ => return self.not_renewed(now, answer),
        };
        format!("{}; {cause}", self.not_renewed(now, answer))
    }

    fn is_unready(&self, now: BootTime) -> bool {
        self.failures >= ATTEMPTS && !self.is_valid(now)
    }
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
        assert_eq!(first.report, None);
        assert_eq!(fail(&mut health, 64), Consequences { log: None, unready: None, report: None });
        assert!(fail(&mut health, 67).log.unwrap().contains("webhook that matches leases"));
        // The others do not know this agent any more.
        assert!(fail(&mut health, 180).unready.is_none() && health.is_valid(at(180)));
        let over = fail(&mut health, 181);
        assert!(over.unready.unwrap().contains("for 180 s") && over.log.is_none());
        assert!(fail(&mut health, 367).log.is_some());
        assert!(health.succeeded(at(400), Duration::from_secs(180)));
        assert!(!health.succeeded(at(460), Duration::from_secs(180)));
    }

    #[test]
    fn case_67_the_webhooks_are_read_and_named_once_renewals_go_on_failing() {
        let mut health = Health::new(at(0));
        let found = "these webhooks match leases: ValidatingWebhookConfiguration \"policy\" (a.example.com)";
        assert_eq!([2, 5].map(|seconds| fail(&mut health, seconds).report), [None, None]);
        assert_eq!(health.webhooks_found(at(6), found.to_owned()), None, "of an earlier time");
        assert_eq!(fail(&mut health, 8).report, Some(Report::ReadWebhooks));
        let told = health.webhooks_found(at(9), found.to_owned()).unwrap();
        assert!(told.contains("not renewed for 9 s (no answer)") && told.ends_with(found), "{told}");
        // The readiness probe says it from then on.
        let later = fail(&mut health, 11);
        assert!(later.unready.unwrap().ends_with(found) && later.report.is_none());
        assert_eq!(fail(&mut health, 311).report, Some(Report::ReadWebhooks), "they may have changed");
        health.succeeded(at(320), Duration::from_secs(180));
        assert_eq!(health.webhooks_found(at(321), found.to_owned()), None);
    }

    #[test]
    fn case_67_an_answer_that_refuses_the_lease_is_told_as_it_is() {
        let mut health = Health::new(at(0));
        let mut refuse = |seconds| {
            let status = kube::core::Status::failure("denied by webhook x", "Forbidden").with_code(403).boxed();
            let error = WriteError::Api(kube::Error::Api(status));
            health.failed(at(seconds), &error, "denied by webhook x").report
        };
        assert_eq!([refuse(2), refuse(5)], [None, None]);
        let Some(Report::Tell(text)) = refuse(8) else { panic!("nothing is told") };
        assert!(text.contains("denied by webhook x") && text.contains("Role purelb:lbnodeagent"), "{text}");
    }

    #[test]
    fn case_67_the_first_renewals_are_needed_to_be_ready() {
        let mut health = Health::new(at(0));
        assert_eq!([2, 5].map(|seconds| fail(&mut health, seconds).unready), [None, None]);
        assert!(fail(&mut health, 8).unready.is_some());
    }
}
