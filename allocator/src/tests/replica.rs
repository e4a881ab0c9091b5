//! A simulated replica: an index, and the edge between it and the simulated API server.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use prometheus::Registry;
use runtime::BootTime;
use runtime::events::Event;
use serde_json::{Value, json};

use super::api_server::{ApiServer, Delivery};
use crate::metrics::Metrics;
use crate::model::{GroupObject, HeldAddresses, Service, WatchedGroup, WatchedService};
use crate::state::{Index, Outcome, Purpose, ServicePatch, clean_up};

pub(super) fn kept(object: &Value, default_announcer: bool) -> Option<Service> {
    serde_json::from_value::<WatchedService>(object.clone()).unwrap().keep(default_announcer)
}

/// The Lease of an agent.
pub(super) fn lease(node: &str, subnets: &str, own_addresses: &str) -> Lease {
    serde_json::from_value(json!({
        "metadata": {"name": api_types::lease::name(node), "annotations": {
            api_types::lease::SUBNETS: subnets, api_types::lease::OWN_ADDRESSES: own_addresses}},
        "spec": {"leaseDurationSeconds": 180, "renewTime": "1970-01-01T00:00:00.000000Z"}
    }))
    .unwrap()
}

/// The cluster of all replicas.
pub(super) const CLUSTER: &str = "here";

/// When no write of a status has to wait any more.
fn far() -> BootTime {
    BootTime::now() + Duration::from_secs(3600)
}

/// A replica: an index and its writes in flight.
pub(super) struct Replica {
    pub(super) index: Index,
    pub(super) writes: Vec<ServicePatch>,
    pub(super) events: Vec<Event>,
    /// The statuses of groups as this replica wrote them.
    statuses: BTreeMap<String, Value>,
    /// When the record of what is owed was looked at last.
    record_at: BootTime,
    /// The time since the replica began.
    pub(super) now: BootTime,
    /// Whether Services without a class are ours.
    pub(super) default_announcer: bool,
    /// What the Lease of the leader says.
    lease: Rc<RefCell<Option<String>>>,
    /// Whether a write of the Lease is answered before anything else happens.
    pub(super) states_at_once: bool,
    /// What is on its way to the Lease.
    stated: Option<Arc<str>>,
}

impl Replica {
    /// A new leader that has read everything.
    pub(super) fn leader(server: &mut ApiServer, clean: bool, fence: &str) -> Self {
        Self::leader_with(server, clean, fence, true, Some(HeldAddresses::default()))
    }

    /// A new leader that has read everything, and this of the agents' kernels; nothing if they have not told all.
    pub(super) fn leader_with(
        server: &mut ApiServer,
        clean: bool,
        fence: &str,
        default_announcer: bool,
        held: Option<HeldAddresses>,
    ) -> Self {
        let mut replica = Self::follower(server, default_announcer, held);
        replica.index.lead(clean, replica.lease.borrow().clone().as_deref(), fence);
        replica.index.start_external(CLUSTER, server.record.as_deref());
        replica
    }

    /// A replica that has read everything, and this of the agents' kernels.
    fn follower(server: &mut ApiServer, default_announcer: bool, held: Option<HeldAddresses>) -> Self {
        let mut index = Index::new("purelb", Metrics::new(&Registry::new()).unwrap());
        let now = BootTime::default() + Duration::from_secs(3600);
        server.deliveries.clear();
        server.seconds += 60;
        index.set_time(now, Timestamp::from_second(server.seconds).unwrap());
        index.set_heard_all(held.is_some());
        index.set_held(held.unwrap_or_default());
        let kept = |object: &Value| kept(object, default_announcer);
        index.reset_services(server.services.values().filter_map(kept).collect());
        let group = |object: &Value| GroupObject::new(&serde_json::from_value::<WatchedGroup>(object.clone()).unwrap());
        index.reset_groups(server.groups.values().map(group).collect());
        Self {
            index,
            writes: Vec::new(),
            events: Vec::new(),
            statuses: BTreeMap::new(),
            record_at: BootTime::default(),
            now,
            default_announcer,
            lease: server.lease.clone(),
            states_at_once: true,
            stated: None,
        }
    }

    /// Time passes.
    pub(super) fn pass(&mut self, server: &mut ApiServer, seconds: u64) {
        server.seconds += i64::try_from(seconds).unwrap();
        self.now = self.now + Duration::from_secs(seconds);
        self.index.set_time(self.now, Timestamp::from_second(server.seconds).unwrap());
    }

    /// The agent of the node keeps its Lease, with these subnets and these addresses of its kernel.
    pub(super) fn put_member(&mut self, node: &str, subnets: &str, own_addresses: &str) {
        self.put_lease(&lease(node, subnets, own_addresses));
    }

    pub(super) fn put_lease(&mut self, lease: &Lease) {
        self.index.apply_lease(lease, BootTime::now(), Timestamp::UNIX_EPOCH);
        self.index.expire_leases(BootTime::now());
    }

    /// The watch delivers its next event.
    pub(super) fn deliver(&mut self, server: &mut ApiServer) -> bool {
        let Some(delivery) = server.deliveries.pop_front() else { return false };
        let group = |object: Value| GroupObject::new(&serde_json::from_value::<WatchedGroup>(object).unwrap());
        match delivery {
            Delivery::Service(object) => {
                self.index.apply_service(kept(&object, self.default_announcer).unwrap());
            }
            Delivery::ServiceGone(object) => {
                self.index.delete_service(&serde_json::from_value::<WatchedService>(object).unwrap().as_leftover());
            }
            Delivery::Group(object) => self.index.apply_group(group(object)),
            Delivery::GroupGone(object) => {
                let object = group(object);
                self.index.delete_group(&(object.namespace, object.name));
            }
        }
        true
    }

    /// Sends the next write.
    pub(super) fn send(&mut self) -> bool {
        let mut patch = self.next_patch();
        if patch.is_none() && self.states_at_once && self.state(false) {
            patch = self.next_patch();
        }
        let sent = patch.is_some();
        self.writes.extend(patch);
        self.events.extend(self.index.take_events());
        sent
    }

    fn next_patch(&mut self) -> Option<ServicePatch> {
        self.stated = self.index.offer_to_state().or(self.stated.take());
        if self.states_at_once {
            self.state(false);
        }
        let patch = self.index.next_patch();
        self.stated = self.index.offer_to_state().or(self.stated.take());
        patch
    }

    /// The write of the Lease under way arrives. Its answer comes back, or is lost. Returns whether there was one.
    pub(super) fn state(&mut self, lose: bool) -> bool {
        let Some(offer) = self.stated.clone() else { return false };
        *self.lease.borrow_mut() = Some(offer.to_string());
        if !lose {
            self.stated = None;
            self.index.offer_recorded(&offer);
        }
        true
    }

    /// A write in flight arrives. Its answer comes back, or is lost; then the write is sent again.
    pub(super) fn answer(&mut self, server: &mut ApiServer, which: usize, lose: bool) -> Option<(Value, Value)> {
        if self.writes.is_empty() {
            return None;
        }
        let patch = self.writes.remove(which % self.writes.len());
        let name = patch.name.name().to_owned();
        let before = server.services.get(&name).cloned().unwrap_or_default();
        let result = server.patch(&name, &patch.body);
        let after = server.services.get(&name).cloned().unwrap_or_default();
        if lose {
            self.writes.push(patch);
            return Some((before, after));
        }
        if patch.purpose == Purpose::CleanUp && result == Err(409) {
            // As the edge does: once more for the newer state, if that still needs it.
            let now = server
                .services
                .get(&name)
                .map(|object| serde_json::from_value::<WatchedService>(object.clone()).unwrap());
            self.writes.extend(now.and_then(|now| now.leftover()).map(|leftover| clean_up(&leftover)));
            return Some((before, after));
        }
        let kept = |object: &Value| kept(object, self.default_announcer);
        let outcome = match result {
            Ok(object) => kept(&object).map_or(Outcome::Gone, Outcome::Written),
            Err(404) => Outcome::Gone,
            Err(_) => server.services.get(&name).and_then(kept).map_or(Outcome::Gone, Outcome::Conflict),
        };
        self.index.written(&patch, outcome);
        self.events.extend(self.index.take_events());
        Some((before, after))
    }

    /// Works until nothing is left to do, however long that takes.
    pub(super) fn settle(&mut self, server: &mut ApiServer) {
        for _ in 0..100 {
            self.settle_now(server);
            let Some(due) = self.index.next_due() else { return };
            self.pass(server, due.since(self.now).as_secs() + 1);
        }
        panic!("something is always due");
    }

    /// Works until nothing is left to do at this moment.
    pub(super) fn settle_now(&mut self, server: &mut ApiServer) {
        for _ in 0..10_000 {
            let mut busy = self.deliver(server);
            busy |= self.state(false);
            busy |= self.send();
            busy |= self.answer(server, 0, false).is_some();
            if self.index.wants_retry() {
                self.index.retry();
                busy = true;
            }
            if !busy && !self.write_statuses(server) {
                return;
            }
        }
        panic!("there is always something left to do");
    }

    /// Writes the statuses of groups; returns whether there were any.
    fn write_statuses(&mut self, server: &mut ApiServer) -> bool {
        self.write_record(server);
        let patches = self.index.status_patches(far(), Timestamp::UNIX_EPOCH, usize::MAX);
        for patch in &patches {
            server.set_group_status(&patch.group.1, &patch.body["status"]);
            self.statuses.insert(patch.group.1.clone(), patch.body["status"].clone());
        }
        !patches.is_empty()
    }

    /// Writes the record of what is owed to sidecars.
    pub(super) fn write_record(&mut self, server: &mut ApiServer) {
        self.record_at = self.record_at + Duration::from_secs(10);
        if let Some(text) = self.index.record_write(self.record_at) {
            server.record = Some(text);
            self.index.record_written(true, self.record_at);
        }
    }

    /// The reasons and texts of the Kubernetes events since the last call.
    pub(super) fn take_reports(&mut self) -> Vec<String> {
        self.events.extend(self.index.take_events());
        self.events.drain(..).map(|event| format!("{} {}", event.reason, event.note)).collect()
    }

    pub(super) fn group_status(&mut self, name: &str) -> Value {
        self.index.rewrite_statuses();
        let patches = self.index.status_patches(far(), Timestamp::UNIX_EPOCH, usize::MAX);
        patches
            .into_iter()
            .find(|patch| patch.group.1 == name)
            .map(|patch| patch.body["status"].clone())
            .or_else(|| self.statuses.get(name).cloned())
            .unwrap_or_default()
    }

    /// The writes in flight for this purpose.
    pub(super) fn in_flight(&self, purpose: Purpose) -> usize {
        self.writes.iter().filter(|patch| patch.purpose == purpose).count()
    }
}
