//! What the protocol for local addresses reports.

use api_types::names::reason;
use ownership::Liveness;
use ownership::machine::MemberStatus;
use runtime::BootTime;

use super::Agent;
use crate::local::handle::Local;
use crate::local::messages::Update;
use crate::model::operation::Failure;

impl Agent {
    /// Takes over an update.
    pub(super) fn handle_update(&mut self, update: Update) {
        match update {
            Update::Applied(applied) => {
                let ip = applied.placement.key.ip;
                if let Some(before) = self.local.note_applied(applied) {
                    self.record.remove(&before.key);
                }
                self.cluster.mark([ip]);
            }
            Update::Withdrawn(key) => {
                self.local.note_withdrawn(key.ip);
                self.record.remove(&key);
                self.cluster.mark([key.ip]);
            }
            Update::Failed(failure) => self.note_failure(failure),
            Update::Members { members, silent } => self.handle_members(members, silent),
            Update::Port(Ok(())) => tracing::info!(op = "gossip", port = self.settings.gossip_port, "listening"),
            Update::Port(Err(error)) => {
                tracing::warn!(op = "gossip", %error, "no gossip: Leases show who lives, and failover takes seconds");
                let text = format!("no gossip with the other agents, so that failover takes seconds: {error}");
                self.reporter.node(&self.cluster, reason::GOSSIP_PORT_UNAVAILABLE, &text);
            }
            Update::Notification(fact) => self.reporter.fact(&self.cluster, self.host.observed(), fact),
        }
    }

    /// Notes and reports an operation that the kernel refused.
    pub(super) fn note_failure(&mut self, failure: Failure) {
        self.reporter.failure(&self.cluster.services, self.host.observed(), &failure);
        if let Some(status) = self.status.get_mut(&failure.key.ip) {
            status.failure = Some(failure);
        }
    }

    fn handle_members(&mut self, members: Vec<MemberStatus>, silent: bool) {
        let names = |local: &Local| -> Vec<String> { local.live().map(|member| member.node.to_string()).collect() };
        let (first, before) = (self.local.members.is_none(), names(&self.local));
        self.local.members = Some(members);
        let after = names(&self.local);
        if before != after {
            tracing::info!(op = "members", members = after.join(","), "members changed");
        }
        // This node's Lease is renewed more often while gossip is silent.
        self.interfaces_changed |= silent != self.local.silent;
        self.local.silent = silent;
        let metrics = &self.outside.metrics;
        let count = |liveness: Liveness| {
            let count = self.local.members.iter().flatten().filter(|member| member.liveness == liveness).count();
            i64::try_from(count).unwrap_or(i64::MAX)
        };
        metrics.members.set(count(Liveness::Alive).saturating_add(1));
        metrics.ownership.suspects.set(count(Liveness::Suspect));
        metrics.ownership.silent.set(count(Liveness::Silent));
        metrics.ownership.gossip_silent.set(i64::from(silent));
        let subnets = self.cluster.members.count_subnets(after.iter().map(String::as_str));
        metrics.subnets.set(i64::try_from(subnets).unwrap_or(i64::MAX));
        self.note_exclusion(BootTime::now());
        if first || before != after {
            for (ip, candidacy) in &self.local.candidacies {
                self.report_unqualified(*ip, &candidacy.want.qualified);
            }
        }
    }
}
