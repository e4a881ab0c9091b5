//! What happens to addresses while nobody knows what the cluster wants: at the start, and after
//! the stop.

use std::net::IpAddr;

use runtime::BootTime;

use super::Agent;
use crate::reconcile::{Entry, Operation, Why};

impl Agent {
    /// Keeps every address of an earlier run alive until the cluster is known: before anything
    /// else at the start, and every half minute after that.
    pub(super) async fn hold(&mut self) {
        let count = self.extend(|_| true).await;
        if count > 0 {
            tracing::info!(
                op = "start",
                addresses = count,
                "addresses of an earlier run stay until the cluster is known"
            );
        }
    }

    /// The stop: every address stays, for long enough that the next run can take it over. If no
    /// next run comes, the kernel removes them, and the routes with them.
    pub(super) async fn leave_addresses(&mut self) {
        self.hear().await;
        let count = self.extend(|_| false).await;
        if let Err(error) = self.record.save() {
            tracing::warn!(op = "record", %error, "cannot record which addresses are ours");
        }
        tracing::info!(
            op = "stop",
            addresses = count,
            seconds = self.settings.stop_grace.as_secs(),
            "addresses stay for the next run"
        );
    }

    /// Gives our addresses a lifetime of the grace period; returns to how many. Those that
    /// `only_finite` says yes to get one only if they have one that ends earlier.
    async fn extend(&mut self, only_finite: impl Fn(IpAddr) -> bool) -> usize {
        let now = BootTime::now();
        let grace = u32::try_from(self.settings.stop_grace.as_secs()).unwrap_or(u32::MAX - 1);
        let plan = self.plan(now);
        let ours = self.observed.addresses.iter().filter(|(key, found)| plan.is_ours(key, found));
        let operations: Vec<Operation> = ours
            .filter(|(key, found)| !only_finite(key.ip) || found.remaining(now).is_some_and(|left| left < grace))
            .map(|(key, found)| {
                let entry = Entry::found(*key, found, now);
                // A deprecated address stays deprecated.
                let preferred = if entry.preferred == Some(0) { 0 } else { grace };
                Operation::Put(Entry { valid: Some(grace), preferred: Some(preferred), ..entry }, Why::Renew)
            })
            .collect();
        let count = operations.len();
        if count == 0 {
            return 0;
        }
        match self.with_kernel(move |kernel| kernel.apply(&operations)).await {
            Ok(results) => {
                let failed = results.iter().filter(|result| result.is_err()).count();
                if failed > 0 {
                    tracing::warn!(op = "extend", failed, "some lifetimes were not extended");
                }
            }
            Err(error) => tracing::error!(op = "extend", %error, "lifetimes were not extended"),
        }
        self.hear().await;
        count
    }
}
