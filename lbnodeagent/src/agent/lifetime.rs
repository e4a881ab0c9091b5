//! What happens to addresses while nobody knows what the cluster wants: at the start, and after
//! the stop.

use std::time::Duration;

use ownership::Stop;
use runtime::BootTime;

use super::Agent;
use crate::decide::decision::Exclusion;
use crate::kernel::netlink::requests::BATCH;
use crate::model::operation::Operation;
use crate::model::writer::Writer;
use crate::plan::operations::Plan;

/// How long handing over may take when the node is left for good; the pod's grace period is 30 s.
const LEAVING: Duration = Duration::from_secs(20);
/// How long the protocol may take to end.
const END: Duration = Duration::from_secs(2);

impl Agent {
    /// Keeps every address of an earlier run alive until the cluster is known: before anything
    /// else at the start, and every half minute after that.
    pub(super) async fn hold(&mut self) {
        let count = self.extend(true).await;
        if count > 0 {
            tracing::info!(
                op = "start",
                addresses = count,
                "addresses of an earlier run stay until the cluster is known"
            );
        }
    }

    /// The stop. If the node is shut down, the agent is evicted from it, or it is taken out of load
    /// balancing, other nodes take the local addresses over first, and then the remote ones go.
    /// Whatever is here then stays, for long enough that the next run can take it over. If no next
    /// run comes, the kernel removes it, and the routes with it.
    pub(super) async fn stop(&mut self) {
        let excluded = self.exclusion(BootTime::now()) == Exclusion::Yes;
        let leaves = excluded || self.cluster.node.as_ref().is_some_and(|node| node.leaving);
        let (stop, limit) = if leaves { (Stop::Leaving, LEAVING) } else { (Stop::Restart, END) };
        if let Some(thread) = self.local.take() {
            if leaves {
                tracing::info!(op = "stop", addresses = self.local.held.len(), "handing local addresses over");
            }
            thread.stop(stop, limit).await;
            while let Some(report) = self.local.try_next() {
                self.handle_update(report);
            }
        }
        self.compare().await;
        if leaves {
            self.withdraw_remote().await;
        }
        let count = self.extend(false).await;
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

    /// Takes the remote addresses away, so that routers send nothing here any more.
    async fn withdraw_remote(&mut self) {
        self.desired.clear();
        let plan = Plan { writer: Writer::Remote, sweep: true, ..self.plan(BootTime::now()) };
        let operations: Vec<Operation> = plan.operations(plan.ours_in_kernel());
        for batch in operations.chunks(BATCH) {
            let batch = batch.to_vec();
            if let Err(error) = self.with_kernel(move |kernel| kernel.apply(&batch)).await {
                tracing::error!(op = "stop", %error, "remote addresses were not withdrawn");
            }
        }
        self.hear().await;
    }

    /// Gives our addresses a lifetime of the grace period; returns to how many. With
    /// `only_running_out`, those that live for more than half of that are left as they are.
    async fn extend(&mut self, only_running_out: bool) -> usize {
        let grace = u32::try_from(self.settings.stop_grace.as_secs()).unwrap_or(u32::MAX - 1);
        let operations = self.plan(BootTime::now()).extensions(grace, only_running_out);
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
