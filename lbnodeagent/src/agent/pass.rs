//! One pass: decide, plan, apply, and take over what the kernel then has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::names::reason;
use jiff::Timestamp;
use runtime::BootTime;

use super::Agent;
use crate::cluster::service::ServiceView;
use crate::cluster::watches;
use crate::decide::address::decide;
use crate::decide::context::{Context, Witnesses};
use crate::decide::decision::Decision;
use crate::decide::reason::Reason;
use crate::decide::rights;
use crate::model::address::{AddressKey, KernelAddress};
use crate::model::operation::{Failure, Operation, Purpose};
use crate::model::placement::{Kind, Placement};
use crate::model::uids::Uids;
use crate::remote::addresses;
use crate::report::outcomes::Outcome;
use crate::report::status::Status;

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
            self.refresh_configuration();
            self.interfaces_changed = true;
        }
        if !self.first_pass_done {
            self.adopt();
        }
        self.update_bfd();
        let protocol = dirty.protocol || self.interfaces_changed;
        if self.interfaces_changed {
            self.refresh_interfaces().await;
        }
        let more = self.cluster.take_dirty();
        dirty.addresses.extend(more.addresses);
        if dirty.all || more.all {
            dirty.addresses.extend(self.all_addresses());
        }
        self.open_guard(&dirty.addresses).await;
        if protocol || !self.local.is_running() {
            self.update_protocol();
        }
        self.send_members();
        let anchors = self.decide(&dirty.addresses);
        dirty.addresses.extend(anchors);
        if protocol {
            self.narrow_interfaces();
        }
        if !dirty.addresses.is_empty() {
            self.write(dirty.addresses).await;
            self.outside.metrics.client.updates.inc();
        }
        self.close_guard().await;
        self.send_completeness();
        self.publish_entries();
        if !self.first_pass_done {
            self.first_pass_done = true;
            // The first lists need much memory while they are read.
            runtime::memory::trim();
            self.outside.readiness.ready();
            tracing::info!(op = "start", remoteAddresses = self.remote.desired().len(), "first pass done");
        }
    }

    /// Every address of a Service, and every one that this node has decided about or has in its kernel.
    fn all_addresses(&self) -> BTreeSet<IpAddr> {
        let plan = self.plan(BootTime::now());
        let known = self.cluster.services.addresses().chain(self.status.keys().copied());
        known.chain(self.holders.uids().keys().copied()).chain(plan.ours_in_kernel()).collect()
    }

    /// Starts the watch of `EndpointSlices` when a Service needs it, and ends it when none does any more.
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

    /// Everything that a decision depends on.
    pub(super) fn context(&self, now: BootTime) -> Context<'_> {
        Context {
            mode: &self.mode,
            groups: &self.cluster.groups,
            services: &self.cluster.services,
            endpoints: &self.cluster.endpoints,
            members: &self.cluster.members,
            node_addresses: self.node_addresses(),
            exclusion: self.local.exclusion(now),
            selection: &self.selection,
            connected: &self.connected,
            dummy: self.dummy.index(),
            observed: self.host.observed(),
            ours: self.ours(),
            gateways: &self.gateways,
            waits_for_proxy: self.waits_for_proxy(),
            held: &self.local.held,
            remote: self.remote.desired(),
            witnesses: Witnesses {
                reports: &self.cluster.reports,
                holders: self.holders.uids(),
                served: &self.served,
                old_leader: self.cluster.has_old_leader(),
            },
            now,
        }
    }

    /// Decides about addresses; returns the anchors of aggregates that change with them.
    fn decide(&mut self, addresses: &BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
        let now = BootTime::now();
        let mut anchors = BTreeSet::new();
        for ip in addresses {
            let context = self.context(now);
            let users: Vec<&ServiceView> = self.cluster.services.of(*ip).collect();
            let serving = rights::serving(&context, *ip, &users);
            let unmarked = uids(&rights::unmarked(&context, *ip, &serving));
            let (mut decision, participation) = decide(&context, *ip, &serving);
            if decision.reason == Reason::NotWanted && !users.is_empty() {
                decision.reason = Reason::NotGiven;
            }
            let served = uids(&serving);
            note_uids(&mut self.unmarked, *ip, unmarked);
            note_uids(&mut self.served, *ip, served);
            let remote = decision.placement.filter(|placement| placement.kind == Kind::Remote);
            anchors.extend(self.remote.set(*ip, remote));
            self.send_participation(*ip, participation);
            self.note_decision(*ip, decision);
            self.report_traffic_policy(*ip);
        }
        anchors
    }

    /// Notes a decision, and reports it if it is a new one.
    fn note_decision(&mut self, ip: IpAddr, decision: Decision) {
        let before = if let Some(status) = self.status.get_mut(&ip) {
            // As long as nothing new is known, the last report still holds.
            let nothing_new = decision.reason == Reason::Undecided && status.decision.placement.is_none();
            if status.decision == decision || nothing_new {
                return;
            }
            status.since = Timestamp::now();
            Some(std::mem::replace(&mut status.decision, decision).reason)
        } else {
            self.status.insert(ip, Status::new(decision));
            None
        };
        if let Some(status) = self.status.get(&ip) {
            self.reporter.decision(&self.cluster.services, ip, &status.decision.reason, before.as_ref());
        }
    }

    /// Applies the plan for remote addresses, and takes over what the kernel then has of these addresses.
    async fn write(&mut self, addresses: BTreeSet<IpAddr>) {
        let now = BootTime::now();
        let mut addresses = self.remote.without_limited(addresses, now);
        let operations = self.plan(now).operations(addresses.iter().copied());
        let unmarked = self.without_mark(&operations);
        let written = addresses::apply(&mut self.host, &mut self.record, &self.outside.metrics, operations).await;
        self.note_affected(&written.affected);
        if self.host.is_stale() {
            self.compare().await;
        }
        // A plan may put other addresses again, too. Their absence meanwhile is not somebody else's doing.
        addresses.extend(written.done.keys());
        for ip in addresses {
            match written.failed.get(&ip) {
                Some(failure) => self.fail(ip, *failure),
                None => self.settle(ip, written.done.get(&ip).copied(), unmarked.contains(&ip)),
            }
        }
    }

    /// The addresses of ours to which these operations give their marks back.
    fn without_mark(&self, operations: &[Operation]) -> BTreeSet<IpAddr> {
        let observed = self.host.observed();
        let keys = operations.iter().map(Operation::key).filter(|key| {
            let lacks_mark = |found: &KernelAddress| self.ours().lacks_mark(found) && self.record.keys().contains(key);
            observed.addresses.get(key).is_some_and(lacks_mark)
        });
        keys.map(|key| key.ip).collect()
    }

    /// An operation on the address was refused.
    fn fail(&mut self, ip: IpAddr, failure: Failure) {
        self.remote.retries.failed(ip, BootTime::now());
        self.outside.metrics.client.update_errors.inc();
        self.note_failure(failure);
        self.note_entries(ip);
    }

    /// Takes over what the kernel has of an address; `marked_again` says that it had lost its mark.
    fn settle(&mut self, ip: IpAddr, purpose: Option<Purpose>, marked_again: bool) {
        self.remote.retries.remove(ip);
        let desired = self.remote.desired().get(&ip).copied();
        let seen = desired.is_some_and(|placement| self.observes(&placement.key));
        self.record_placement(desired);
        self.record_placement(desired.and_then(|placement| placement.aggregate_beside()));
        self.settle_anchor(ip, purpose);
        let applied = self.local.applied.remove(&ip);
        let purpose = purpose.or_else(|| applied.as_ref().and_then(|applied| applied.purpose));
        // An IPv6 address is reported some milliseconds after the kernel has accepted it.
        let accepted =
            |placement: &Placement| seen || purpose.is_some() || self.host.observed().expects(&placement.key);
        let held = self.local.held.get(&ip).copied();
        let placed = desired.filter(accepted).or(held);
        self.record_placement(held);
        self.note_node_address(ip, placed.is_some());
        self.end_failure(ip, placed, desired.is_some() || applied.is_some());
        let Some(status) = self.status.get_mut(&ip) else { return };
        let before = std::mem::replace(&mut status.placed, placed);
        let was_seen = std::mem::replace(&mut status.seen, seen);
        let was_remote = before.map(|placed| placed.kind) == Some(Kind::Remote);
        let repaired = was_seen && was_remote && (purpose == Some(Purpose::Add) || marked_again);
        let outcome = Outcome {
            before,
            repaired: repaired || applied.as_ref().is_some_and(|applied| applied.repaired),
            purpose,
            from: applied.and_then(|applied| applied.from),
        };
        let (services, observed) = (&self.cluster.services, self.host.observed());
        if self.reporter.outcome(services, observed, ip, status, &outcome) {
            self.remote.repair_limit.repaired(ip, BootTime::now());
        }
        self.annotations.note(services, ip, held.is_some());
        self.note_placed(ip, placed);
        let Some(status) = self.status.get(&ip) else { return };
        let observed = self.host.observed();
        let unused = status.decision.reason == Reason::NotWanted;
        let left = observed.of(ip).next().is_some();
        if unused && (!left || desired.is_none()) && held.is_none() {
            self.status.remove(&ip);
        }
    }

    /// Takes over what the kernel has of an anchor of an aggregate. Nothing reports it, so what limits repairs is counted
    /// here.
    fn settle_anchor(&mut self, ip: IpAddr, purpose: Option<Purpose>) {
        let Some(anchor) = self.remote.anchors().get(&ip).copied() else { return };
        self.record_placement(Some(anchor));
        if purpose == Some(Purpose::Add) {
            self.remote.repair_limit.repaired(ip, BootTime::now());
        }
    }

    fn observes(&self, key: &AddressKey) -> bool {
        self.host.observed().addresses.contains_key(key)
    }

    /// Records an address of ours as long as the kernel has it.
    fn record_placement(&mut self, placement: Option<Placement>) {
        let Some(Placement { key, .. }) = placement else { return };
        if self.observes(&key) {
            self.record.insert(key);
        } else {
            self.record.remove(&key);
        }
    }

    /// Reports once that the Node's status lists an address which this node announces. The kubelet or a cloud provider
    /// took it for the node's.
    fn note_node_address(&mut self, ip: IpAddr, placed: bool) {
        if !placed || !self.node_addresses().contains(&ip) {
            self.node_addresses_reported.remove(&ip);
        } else if self.node_addresses_reported.insert(ip) {
            let text = format!(
                "the Node's status lists {ip}, which this node announces for a Service: tell the kubelet the node's own address with --node-ip"
            );
            tracing::warn!(op = "announce", event = reason::NODE_ADDRESS, ip = %ip, "{text}");
            self.reporter.node(&self.cluster, reason::NODE_ADDRESS, &text);
        }
    }

    /// Forgets the last failure of an address if it is over. `accepted` says whether the kernel has accepted the address,
    /// which for a local one only the protocol's thread can tell: its next try may be a while away.
    fn end_failure(&mut self, ip: IpAddr, placed: Option<Placement>, accepted: bool) {
        let Some(failure) = self.status.get(&ip).and_then(|status| status.failure) else { return };
        let over = if failure.deleting {
            !self.observes(&failure.key) || placed.is_some_and(|placement| placement.key == failure.key)
        } else {
            accepted || !self.local.candidacies.contains_key(&ip)
        };
        if over && let Some(status) = self.status.get_mut(&ip) {
            status.failure = None;
        }
    }
}

fn uids(services: &[&ServiceView]) -> Uids {
    let mut uids: Vec<Box<str>> = services.iter().map(|service| service.uid.clone()).collect();
    uids.sort_unstable();
    uids.into()
}

/// Sets the UIDs of an address; without any there is no entry.
fn note_uids(all: &mut BTreeMap<IpAddr, Uids>, ip: IpAddr, uids: Uids) {
    if uids.is_empty() {
        all.remove(&ip);
    } else {
        all.insert(ip, uids);
    }
}
