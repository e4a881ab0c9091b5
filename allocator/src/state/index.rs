//! The index: joins the parts of the state, and takes in Services.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api_types::names::reason::DUPLICATE_ADDRESS;
use ipnetwork::IpNetwork;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use runtime::BootTime;
use runtime::events::Event;
use tracing::warn;

use super::announcing::Announcing;
use super::cluster::Cluster;
use super::fencing::Fencing;
use super::group_status::{GroupStatuses, StatusPatch};
use super::group_view::GroupView;
use super::groups::Groups;
use super::offers::Offers;
use super::owed_record::OwedRecord;
use super::queue::WorkQueue;
use super::repairs::Repairs;
use super::services::{Novelty, Services};
use super::sharing::{Disagreement, disagreements};
use super::unanswered::Unanswered;
use crate::addresses::{AddressTable, FreedAddresses};
use crate::external::ExternalAllocations;
use crate::metrics::Metrics;
use crate::model::{ExternalIps, GroupId, GroupTable, HeldAddresses, Leftover, Owner, Scope, Service, ServiceName};
use crate::plan::{Notice, Snapshot, counts_as_given};

/// The state of the allocator.
#[derive(Debug)]
pub struct Index {
    pub(super) metrics: Metrics,
    pub(super) services: Services,
    pub(super) groups: Groups,
    pub(super) addresses: AddressTable,
    pub(super) node_subnets: BTreeSet<IpNetwork>,
    pub(super) cluster: Cluster,
    pub(super) external: ExternalAllocations,
    /// The record of what is to be given back to sidecars.
    pub(super) owed: OwedRecord,
    /// What the agents' kernels have.
    pub(super) held: HeldAddresses,
    /// Whether every agent that is alive has told all that its kernel has, in the life of this process.
    pub(super) heard_all: bool,
    pub(super) freed: FreedAddresses,
    pub(super) repairs: Repairs,
    pub(super) announcing: Announcing,
    pub(super) unanswered: Unanswered,
    pub(super) now: BootTime,
    /// The time of day, for conditions.
    pub(super) time: Timestamp,
    /// Whether this replica writes.
    pub(super) leading: bool,
    pub(super) fencing: Fencing,
    pub(super) offers: Offers,
    pub(super) queue: WorkQueue,
    pub(super) status: GroupStatuses,
    /// The pools whose gauges are exported.
    pub(super) shown_pools: BTreeSet<String>,
    /// To publish.
    pub(super) events: Vec<Event>,
}

impl Index {
    /// An empty state that does not lead.
    #[must_use]
    pub fn new(install_namespace: &str, metrics: Metrics) -> Self {
        Self {
            metrics,
            services: Services::default(),
            groups: Groups::new(install_namespace),
            addresses: AddressTable::default(),
            node_subnets: BTreeSet::new(),
            cluster: Cluster::default(),
            external: ExternalAllocations::default(),
            owed: OwedRecord::default(),
            held: HeldAddresses::default(),
            heard_all: false,
            freed: FreedAddresses::default(),
            repairs: Repairs::default(),
            announcing: Announcing::default(),
            unanswered: Unanswered::default(),
            now: BootTime::default(),
            time: Timestamp::UNIX_EPOCH,
            leading: false,
            fencing: Fencing::default(),
            offers: Offers::default(),
            queue: WorkQueue::default(),
            status: GroupStatuses::default(),
            shown_pools: BTreeSet::new(),
            events: Vec::new(),
        }
    }

    /// The state by which a Service is planned.
    pub(super) const fn snapshot(&self) -> Snapshot<'_> {
        Snapshot {
            groups: self.groups.table(),
            bindings: self.groups.bindings(),
            addresses: &self.addresses,
            node_subnets: &self.node_subnets,
            external: &self.external,
            held: &self.held,
            heard_all: self.heard_all,
            freed: &self.freed,
            now: self.now,
        }
    }

    /// Sets the time, by both clocks. Services become due by it.
    pub fn set_time(&mut self, now: BootTime, time: Timestamp) {
        (self.now, self.time) = (now, time);
        self.check_fences();
        for name in self.repairs.due(now) {
            self.enqueue(&name);
        }
    }

    /// What the agents' kernels have.
    pub fn set_held(&mut self, held: HeldAddresses) {
        self.held = held;
        self.evidence_changed();
    }

    /// Whether every agent that is alive has told all that its kernel has.
    pub fn set_heard_all(&mut self, heard_all: bool) {
        if std::mem::replace(&mut self.heard_all, heard_all) != heard_all {
            self.announcing.touch();
            self.evidence_changed();
        }
    }

    fn evidence_changed(&mut self) {
        let unlisted = |service: &&Service| service.provenance.list.is_none() && !service.addresses.is_empty();
        let names: Vec<ServiceName> =
            self.services.iter().filter(unlisted).map(|service| service.name.clone()).collect();
        for name in names {
            self.classify(&name);
            self.enqueue(&name);
        }
    }

    /// A Service without a class is ours if what it has counts as given by us, whatever applies to new ones.
    pub(super) fn classify(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get(name).filter(|service| service.scope == Scope::NoClass) else { return };
        let snapshot = self.snapshot();
        let is_given = |address: &IpAddr| counts_as_given(&snapshot, service, *address);
        let had_any = service.provenance.list.is_some() || !self.services.last_given(name).is_empty();
        if had_any || service.addresses.iter().any(is_given) {
            self.services.set_scope(name, Scope::Ours);
        }
    }

    /// A Service was added or changed. A state older than the known one is ignored.
    pub fn apply_service(&mut self, service: Service) {
        let name = service.name.clone();
        let plan_again = match self.services.novelty(&service) {
            Novelty::Outdated => return,
            Novelty::Later { matters } => {
                // Whatever was prepared for an earlier state is refused.
                self.close_fence(&name);
                matters
            }
            Novelty::OtherObject => {
                // The write in flight for the old object will be refused.
                self.forget(&name);
                true
            }
            Novelty::New => true,
        };
        self.announcing.touch();
        let external_ips =
            ExternalIps { addresses: service.external_ips.clone(), ports: service.sharing.ports.clone() };
        self.services.store(service);
        self.set_own_external_ips(&name, external_ips);
        self.classify(&name);
        self.update_addresses(&name);
        if plan_again {
            self.enqueue(&name);
        }
        self.refresh_service_gauges();
    }

    /// A Service was deleted, or is no longer of type `LoadBalancer`. The watch does not say which, so our annotations
    /// are cleaned up as if it still existed.
    pub fn delete_service(&mut self, gone: &Leftover) {
        let Some(service) = self.services.get(&gone.name).filter(|service| service.uid == gone.uid) else { return };
        // The answer to a write may have shown already that it is of the type again.
        if is_later(&service.version, &gone.version) {
            return;
        }
        if self.services.may_carry_ours(&gone.name) {
            self.clean_up([gone.clone()]);
        }
        self.forget(&gone.name);
        self.refresh_service_gauges();
    }

    /// The complete list of Services. Known Services that are not listed are gone.
    pub fn reset_services(&mut self, services: Vec<Service>) {
        let listed: BTreeSet<ServiceName> = services.iter().map(|service| service.name.clone()).collect();
        for name in self.services.names() {
            if !listed.contains(&name) {
                self.forget(&name);
            }
        }
        for service in services {
            self.services.end_gone(&service.name);
            self.apply_service(service);
        }
        self.recheck_groups();
    }

    fn forget(&mut self, name: &ServiceName) {
        if let Some(service) = self.services.remove(name) {
            let groups = service.written.groups.as_deref().filter(|_| service.written.by_us);
            let groups = groups.iter().flat_map(|groups| groups.split(", ")).chain(service.written.asked_groups());
            self.release_all_external(&Owner::from(&service), groups);
        }
        self.announcing.touch();
        self.queue.set_waiting(name, false);
        self.end_unanswered(name);
        self.close_fence(name);
        let held: Vec<_> = self.addresses.held_by(name).to_vec();
        self.enqueue_other_holders(&held, name);
        if !held.is_empty() {
            self.status.touch_addresses(self.groups.table(), &held);
            // Even if no address is free now: a port of a shared one may be.
            self.queue.request_retry();
        }
        let freed = self.addresses.forget(name);
        self.freed.note(name, &freed, self.now);
        self.cluster.reports.retain(name, &[]);
        self.set_own_external_ips(name, ExternalIps::default());
    }

    /// Brings the address table in line with the Service and its reservation.
    pub(super) fn update_addresses(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get(name) else { return };
        let after = self.services.held_addresses(name);
        let before = self.addresses.held_by(name).to_vec();
        let sharing_changed = self.addresses.set_sharing(name, &service.sharing);
        let freed = self.addresses.hold(name, &after);
        self.freed.note(name, &freed, self.now);
        if before != after {
            self.status.touch_addresses(self.groups.table(), &before);
            self.status.touch_addresses(self.groups.table(), &after);
        }
        if !freed.is_empty() || (sharing_changed && !after.is_empty()) || before.len() > after.len() {
            self.queue.request_retry();
        }
        if sharing_changed || before != after {
            // A disagreement with the other holders may be over.
            self.enqueue_other_holders(&before, name);
        }
        let to_check: Vec<_> =
            after.iter().copied().filter(|address| sharing_changed || !before.contains(address)).collect();
        self.check_sharing(name, &to_check);
        if before != after {
            self.check_reserved(name, &after);
        }
    }

    /// Reports the disagreements about these addresses of the Service.
    pub(super) fn check_sharing(&mut self, name: &ServiceName, addresses: &[IpAddr]) {
        for disagreement in disagreements(&self.services, &self.addresses, name, addresses) {
            self.report_disagreement(disagreement);
        }
    }

    fn report_disagreement(&mut self, found: Disagreement) {
        let Disagreement { address, services: [one, two], reason, why } = found;
        warn!(op = "sharing", reason, %address, %one, %two, "two Services use the address: {why}");
        if reason == DUPLICATE_ADDRESS && self.leading {
            self.metrics.duplicates.inc();
        }
        for (name, other) in [(&one, &two), (&two, &one)] {
            let Some(service) = self.services.get(name) else { continue };
            let (reference, ours) = (service.reference(), service.scope == Scope::Ours);
            self.publish(reference, Notice::warning(reason, format!("{address} is also in use by {other}: {why}")));
            if ours {
                self.enqueue(name);
            }
        }
    }

    /// Plans the other holders of these addresses again.
    fn enqueue_other_holders(&mut self, addresses: &[IpAddr], name: &ServiceName) {
        let holders = addresses.iter().flat_map(|&address| self.addresses.holders(address));
        let others: Vec<ServiceName> = holders.filter(|holder| *holder != name).cloned().collect();
        for other in others {
            self.enqueue(&other);
        }
    }

    /// Plans the Service again, if this replica leads.
    pub(super) fn enqueue(&mut self, name: &ServiceName) {
        if self.leading && self.services.contains(name) {
            self.queue.push(name);
        }
    }

    /// Adds a Kubernetes event. Only the leader publishes: the other replicas come to the same conclusions.
    pub(super) fn publish(&mut self, object: ObjectReference, notice: Notice) {
        if self.leading {
            let Notice { kind, reason, text } = notice;
            self.events.push(Event { object, kind, reason, note: text });
        }
    }

    /// Removes and returns the Kubernetes events to publish.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The group statuses to write now, `room` at most.
    pub fn status_patches(&mut self, now: BootTime, time: Timestamp, room: usize) -> Vec<StatusPatch> {
        if !self.leading {
            return Vec::new();
        }
        let view = GroupView {
            groups: &self.groups,
            services: &self.services,
            addresses: &self.addresses,
            node_subnets: &self.node_subnets,
            cluster: &self.cluster,
            external: &self.external,
            unanswered: self.unanswered.summary(),
        };
        self.status.due(&view, now, time, room)
    }

    /// A group status could not be written.
    pub fn status_failed(&mut self, group: &GroupId, now: BootTime) {
        self.status.write_failed(group, self.groups.object(group).is_some(), now);
    }

    /// The last known state of a Service.
    #[must_use]
    pub fn service(&self, name: &ServiceName) -> Option<&Service> {
        self.services.get(name)
    }

    /// The table of groups.
    #[must_use]
    pub const fn group_table(&self) -> &GroupTable {
        self.groups.table()
    }

    pub(super) fn refresh_service_gauges(&self) {
        self.metrics.services.set(i64::try_from(self.services.len()).unwrap_or(i64::MAX));
        self.metrics.pending.set(i64::try_from(self.queue.waiting().len()).unwrap_or(i64::MAX));
    }

    /// When a Service becomes due by time alone.
    #[cfg(test)]
    pub(crate) fn next_due(&self) -> Option<BootTime> {
        self.repairs.next_due()
    }

    #[cfg(test)]
    pub(crate) fn lowest_free(&self, range: api_types::AddressRange) -> Option<IpAddr> {
        self.addresses.lowest_free(&[range])
    }

    /// Has the next [`status_patches`](Self::status_patches) contain every group.
    #[cfg(test)]
    pub(crate) fn rewrite_statuses(&mut self) {
        self.status.touch_all();
        self.status.forget_writes();
    }
}

/// Whether one resource version is surely later than the other.
fn is_later(one: &str, other: &str) -> bool {
    matches!((one.parse::<u64>(), other.parse::<u64>()), (Ok(one), Ok(other)) if one > other)
}
