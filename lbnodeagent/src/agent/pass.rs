//! Decide, plan, write, read back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use nix::errno::Errno;
use runtime::BootTime;

use super::report::Outcome;
use super::{Agent, Retry, Status};
use crate::cluster::service::ServiceView;
use crate::cluster::watches;
use crate::decide::address::decide;
use crate::decide::context::Context;
use crate::decide::decision::Decision;
use crate::decide::reason::Reason;
use crate::model::address::MARK;
use crate::model::operation::{Failure, Operation, Purpose};
use crate::model::placement::{Kind, Placement};

/// The longest wait between two tries of a failed operation.
const MAX_RETRY: Duration = Duration::from_secs(30);

impl Agent {
    /// Looks at everything that changed since the last pass.
    pub(super) async fn pass(&mut self) {
        if let Some(missing) = self.cluster.missing() {
            self.outside.readiness.unready(format!("waiting for {missing}"));
            return;
        }
        self.watch_endpoints();
        let mut dirty = self.cluster.take_dirty();
        if dirty.config {
            self.refresh_config();
            self.interfaces_changed = true;
        }
        let circumstances = dirty.protocol || self.interfaces_changed;
        if self.interfaces_changed {
            self.refresh_interfaces().await;
        }
        let more = self.cluster.take_dirty();
        dirty.addresses.extend(more.addresses);
        if dirty.all || more.all {
            dirty.addresses.extend(self.everything());
        }
        if circumstances || !self.local.is_running() {
            self.tell_circumstances();
        }
        self.tell_members();
        self.decide(&dirty.addresses);
        if circumstances {
            self.narrow_interfaces();
        }
        if !dirty.addresses.is_empty() {
            self.write(&dirty.addresses).await;
            self.outside.metrics.client.updates.inc();
        }
        self.tell_completeness();
        if !self.first_pass_done {
            self.first_pass_done = true;
            // The first lists are through.
            runtime::memory::trim();
            self.outside.readiness.ready();
            tracing::info!(op = "start", remoteAddresses = self.desired.len(), "first pass done");
        }
    }

    /// Every address that anybody has to do with.
    fn everything(&self) -> BTreeSet<IpAddr> {
        let plan = self.plan(BootTime::now());
        self.cluster.services.addresses().chain(self.status.keys().copied()).chain(plan.ours_in_kernel()).collect()
    }

    /// The watch of `EndpointSlices` runs only while some Service needs it.
    fn watch_endpoints(&mut self) {
        match (self.cluster.services.need_endpoints(), &self.endpoint_watch) {
            (true, None) => {
                self.endpoint_watch = Some(watches::endpoint_slices(&self.outside.client, &self.outside.inputs));
            }
            (false, Some(_)) => {
                self.endpoint_watch = None;
                self.cluster.endpoints.clear();
            }
            _ => {}
        }
    }

    fn decide(&mut self, addresses: &BTreeSet<IpAddr>) {
        let now = BootTime::now();
        for ip in addresses {
            let context = Context {
                mode: &self.mode,
                groups: &self.cluster.groups,
                selection: &self.selection,
                services: &self.cluster.services,
                members: &self.cluster.members,
                held: &self.local.held,
                candidacies: &self.local.candidacies,
                remote: &self.desired,
                exclusion: self.exclusion(now),
                endpoints: &self.cluster.endpoints,
                observed: &self.observed,
                connected: &self.connected,
                recorded: self.record.keys(),
                node_addresses: self.node_addresses(),
                dummy: self.dummy,
                now,
            };
            let users: Vec<&ServiceView> = self.cluster.services.of(*ip).collect();
            let (decision, candidacy) = decide(&context, *ip, &users);
            match decision.placement.filter(|placement| placement.kind == Kind::Remote) {
                Some(placement) => self.desired.insert(*ip, placement),
                None => self.desired.remove(ip),
            };
            self.tell_candidacy(*ip, candidacy);
            self.decided(*ip, decision);
        }
    }

    /// Notes a decision, and says so if it is a new one.
    fn decided(&mut self, ip: IpAddr, decision: Decision) {
        if let Some(status) = self.status.get_mut(&ip) {
            // Nothing new is known: what was said last still holds.
            let nothing_new = decision.reason == Reason::Undecided && status.decision.placement.is_none();
            if status.decision == decision || nothing_new {
                return;
            }
            let before = std::mem::replace(&mut status.decision, decision);
            status.since = Timestamp::now();
            self.report_decision(ip, Some(&before.reason));
        } else {
            let status = Status { decision, since: Timestamp::now(), placed: None, seen: false, failure: None };
            self.status.insert(ip, status);
            self.report_decision(ip, None);
        }
    }

    /// Makes the kernel agree, and believes only what it then says.
    async fn write(&mut self, addresses: &BTreeSet<IpAddr>) {
        let now = BootTime::now();
        let mut addresses = addresses.clone();
        addresses.retain(|ip| match self.repair_limit.until(*ip, now) {
            Some(at) if self.desired.contains_key(ip) => {
                self.retries.insert(*ip, Retry { at, failures: 0 });
                false
            }
            _ => true,
        });
        let operations: Arc<[Operation]> = self.plan(now).operations(addresses.iter().copied()).into();
        for operation in operations.iter() {
            if let Operation::Put(entry, Purpose::Add | Purpose::Restore) = operation {
                self.observed.expect(entry.key);
            }
        }
        let mut failed: BTreeMap<IpAddr, Failure> = BTreeMap::new();
        let mut done: BTreeMap<IpAddr, Purpose> = BTreeMap::new();
        for (operation, result) in operations.iter().zip(self.carry_out(&operations).await) {
            self.outside.metrics.count_operation(operation, result);
            match (operation, result) {
                (operation, Err(errno)) => {
                    self.observed.expect_no_more(operation.key());
                    failed.insert(operation.key().ip, Failure::of(operation, errno));
                }
                (Operation::Put(entry, why), Ok(())) => {
                    done.entry(entry.key.ip).or_insert(*why);
                }
                (Operation::Delete(key), Ok(())) => self.record.remove(key),
            }
        }
        // Others too that had to be put again with them: what is not seen of those is not somebody else's doing.
        addresses.extend(done.keys());
        for ip in &addresses {
            self.settle(*ip, done.get(ip).copied(), failed.get(ip).copied());
        }
    }

    /// Has the kernel do it; one result each.
    async fn carry_out(&mut self, operations: &Arc<[Operation]>) -> Vec<Result<(), Errno>> {
        if operations.is_empty() {
            return Vec::new();
        }
        let count = operations.len();
        let operations = Arc::clone(operations);
        let results = self.with_kernel_and_ears(move |kernel| kernel.apply(&operations)).await;
        results.unwrap_or_else(|error| {
            tracing::error!(op = "netlink", %error, "cannot write addresses");
            vec![Err(Errno::EIO); count]
        })
    }

    /// What became of an address.
    fn settle(&mut self, ip: IpAddr, done: Option<Purpose>, failed: Option<Failure>) {
        let now = BootTime::now();
        let wanted = self.desired.get(&ip).copied();
        if let Some(failure) = failed {
            let failures = self.retries.get(&ip).map_or(0, |retry| retry.failures).saturating_add(1);
            let wait = Duration::from_millis(250).saturating_mul(1 << failures.min(8)).min(MAX_RETRY);
            self.retries.insert(ip, Retry { at: now + wait, failures });
            self.outside.metrics.client.update_errors.inc();
            self.report_failure(failure);
            return;
        }
        self.retries.remove(&ip);
        let found = wanted.and_then(|placement| self.observed.addresses.get(&placement.key));
        if let Some(placement) = wanted
            && found.is_some_and(|found| found.mark != Some(MARK))
        {
            self.record.insert(placement.key);
        }
        let seen = found.is_some();
        let placed = self.local.placed.remove(&ip);
        let done = done.or_else(|| placed.as_ref().and_then(|placed| placed.why));
        // IPv6 addresses are reported some milliseconds after the kernel has taken them.
        let taken = |placement: &Placement| seen || done.is_some() || self.observed.expects(&placement.key);
        let there = wanted.filter(taken).or_else(|| self.local.held.get(&ip).copied());
        if let Some(held) = self.local.held.get(&ip)
            && self.observed.addresses.get(&held.key).is_some_and(|found| found.mark != Some(MARK))
        {
            self.record.insert(held.key);
        }
        let Some(status) = self.status.get_mut(&ip) else { return };
        let before = std::mem::replace(&mut status.placed, there);
        let was_seen = std::mem::replace(&mut status.seen, seen);
        // A local address is refused by the protocol's thread, and its next try may be a while away.
        let accepted = wanted.is_some() || placed.is_some();
        let over = status.failure.is_some_and(|failure| {
            let gone = !self.observed.addresses.contains_key(&failure.key);
            let wanted_there = there.is_some_and(|placement| placement.key == failure.key);
            if failure.deleting { gone || wanted_there } else { accepted || !self.local.candidacies.contains_key(&ip) }
        });
        if over {
            status.failure = None;
        }
        let repaired = was_seen && done == Some(Purpose::Add) && before.map(|placed| placed.kind) == Some(Kind::Remote);
        let outcome = Outcome {
            before,
            repaired: repaired || placed.as_ref().is_some_and(|placed| placed.repaired),
            done,
            from: placed.and_then(|placed| placed.from),
        };
        self.report_outcome(ip, outcome);
        let left = self.observed.of(ip).next().is_some();
        let unused = self.status.get(&ip).is_some_and(|status| status.decision.reason == Reason::NotWanted);
        if unused && (!left || wanted.is_none()) && !self.local.held.contains_key(&ip) {
            self.status.remove(&ip);
        }
    }
}
