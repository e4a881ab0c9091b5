//! Start and stop: what happens to addresses while nobody knows what the cluster wants.

use std::time::Duration;

use ownership::Stop;
use runtime::BootTime;

use super::Agent;
use crate::cluster::configuration::Mode;
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
    /// Extends the lifetimes of addresses of an earlier run until the cluster is known: before anything else at the
    /// start, and every half minute after that.
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

    /// The stop.
    ///
    /// If the node is shut down, the agent is evicted from it, or it is excluded from load balancing, other nodes take
    /// the local addresses over first, and then the remote ones are removed. What is left stays for long enough that
    /// the next run can take it over. If no next run comes, the kernel removes the addresses and their routes.
    pub(super) async fn stop(&mut self) {
        let excluded = self.local.exclusion(BootTime::now()) == Exclusion::Yes;
        let gone = self.mode == Mode::Gone;
        let leaves = excluded || gone || self.cluster.node.as_ref().is_some_and(|node| node.leaving);
        let (stop, limit) = if leaves { (Stop::Leaving, LEAVING) } else { (Stop::Restart, END) };
        if let Some(thread) = self.local.thread.take() {
            if leaves {
                tracing::info!(op = "stop", addresses = self.local.held.len(), "handing local addresses over");
            }
            thread.stop(stop, limit).await;
            while let Some(update) = self.local.try_next() {
                self.handle_update(update);
            }
        }
        self.compare().await;
        if leaves {
            self.withdraw_remote().await;
        }
        let count = self.extend(false).await;
        self.save_record();
        self.end_guard().await;
        tracing::info!(
            op = "stop",
            addresses = count,
            seconds = self.settings.stop_grace.as_secs(),
            "addresses stay for the next run"
        );
    }

    /// Removes the remote addresses, so that routers send nothing here any more.
    async fn withdraw_remote(&mut self) {
        self.remote.clear();
        let plan = Plan { writer: Writer::Remote, sweep: true, ..self.plan(BootTime::now()) };
        let operations: Vec<Operation> = plan.operations(plan.ours_in_kernel());
        for batch in operations.chunks(BATCH) {
            let batch = batch.to_vec();
            if let Err(error) = self.host.call(move |kernel| kernel.apply(&batch)).await {
                tracing::error!(op = "stop", %error, "remote addresses were not withdrawn");
            }
        }
        self.listen().await;
    }

    /// Gives our addresses a lifetime of the grace period; returns to how many. With `only_running_out`, those that
    /// live for more than half of it are left as they are.
    async fn extend(&mut self, only_running_out: bool) -> usize {
        let grace = u32::try_from(self.settings.stop_grace.as_secs()).unwrap_or(u32::MAX - 1);
        let operations = self.plan(BootTime::now()).extensions(grace, only_running_out);
        let count = operations.len();
        if count == 0 {
            return 0;
        }
        match self.host.call(move |kernel| kernel.apply(&operations)).await {
            Ok(results) => {
                let failed = results.iter().filter(|result| result.is_err()).count();
                if failed > 0 {
                    tracing::warn!(op = "extend", failed, "some lifetimes were not extended");
                }
            }
            Err(error) => tracing::error!(op = "extend", %error, "lifetimes were not extended"),
        }
        self.listen().await;
        count
    }
}
