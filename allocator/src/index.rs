//! All state: objects go in, patches and events come out. It never waits and knows no network.
//!
//! | Part | Does |
//! |---|---|
//! | `entry` | what is known of one Service, the write under way included |
//! | `work` | the queue: which Service is judged next, what its write's outcome means |
//! | `patch` | the one write to a Service |
//! | `sharing` | addresses with several holders: who has the right, who must go |
//! | `external` | what is asked of IPAM sidecars |
//! | `status` | the status of groups |

mod entry;
mod external;
mod patch;
mod sharing;
mod status;
mod work;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use api_types::names::reason;
use ipnetwork::IpNetwork;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use runtime::events::{Event, Kind};
use tracing::{info, warn};

pub use patch::{ServicePatch, Task, clean};
pub use status::StatusPatch;
pub use work::Outcome;

use crate::groups::{GroupId, GroupObject, Table};
use crate::ipam::Ledger;
use crate::judge::World;
use crate::metrics::Metrics;
use crate::pool::Book;
use crate::select::Bindings;
use crate::service::{Leftover, Name, Service};
use entry::Entry;

/// The state of the allocator.
#[derive(Debug)]
pub struct Index {
    install_namespace: String,
    metrics: Metrics,
    services: BTreeMap<Name, Entry>,
    objects: BTreeMap<GroupId, GroupObject>,
    table: Table,
    bindings: Bindings,
    book: Book,
    subnets: BTreeSet<IpNetwork>,
    ledger: Ledger,
    /// The time of day, for conditions.
    time: Timestamp,
    /// Whether this replica writes.
    leading: bool,
    /// Unlike that of any other term of any process.
    fence: String,
    queue: VecDeque<Name>,
    fencing: BTreeSet<Name>,
    last_patch: u64,
    cleanups: VecDeque<Leftover>,
    retry_pending: bool,
    pending: BTreeSet<Name>,
    events: Vec<Event>,
    status: status::Statuses,
}

impl Index {
    /// An empty state; it does not lead.
    #[must_use]
    pub fn new(install_namespace: &str, metrics: Metrics) -> Self {
        Self {
            install_namespace: install_namespace.to_owned(),
            metrics,
            services: BTreeMap::new(),
            objects: BTreeMap::new(),
            table: Table::default(),
            bindings: Bindings::default(),
            book: Book::default(),
            subnets: BTreeSet::new(),
            ledger: Ledger::default(),
            time: Timestamp::UNIX_EPOCH,
            leading: false,
            fence: String::new(),
            queue: VecDeque::new(),
            fencing: BTreeSet::new(),
            last_patch: 0,
            cleanups: VecDeque::new(),
            retry_pending: false,
            pending: BTreeSet::new(),
            events: Vec::new(),
            status: status::Statuses::default(),
        }
    }

    /// What a Service is judged by.
    fn world(&self) -> World<'_> {
        World {
            table: &self.table,
            bindings: &self.bindings,
            book: &self.book,
            subnets: &self.subnets,
            ledger: &self.ledger,
        }
    }

    /// What time of day it is.
    pub const fn set_time(&mut self, time: Timestamp) {
        self.time = time;
    }

    /// A Service was added or changed. Older states than the known one are ignored.
    pub fn apply_service(&mut self, service: Service) {
        let name = service.name.clone();
        // The answer to a write may have told of a newer state, or object, than the watch is at.
        if self.service(&name).is_some_and(|known| !service.is_newer_than(&known.version)) {
            return;
        }
        let judge = match self.services.get_mut(&name) {
            Some(entry) if entry.service.uid == service.uid => {
                let judge = entry.differs(&service);
                entry.service = service;
                judge
            }
            known => {
                // A new object of an old name: whatever is under way for the old one will be refused.
                if known.is_some() {
                    self.forget(&name);
                }
                self.services.insert(name.clone(), Entry::new(service));
                true
            }
        };
        self.rebook(&name);
        if judge {
            self.enqueue(&name);
        }
        self.count_services();
    }

    /// A Service was deleted, or is no longer of type `LoadBalancer`: the watch does not tell which,
    /// so an attempt is made to take our annotations off.
    pub fn delete_service(&mut self, gone: &Leftover) {
        let Some(entry) = self.services.get(&gone.name).filter(|entry| entry.service.uid == gone.uid) else { return };
        // The answer to a write may have told already that it is back.
        if is_later(&entry.service.version, &gone.version) {
            return;
        }
        if entry.may_be_marked() {
            self.clean_up([gone.clone()]);
        }
        self.forget(&gone.name);
        self.count_services();
    }

    /// The complete list of Services; others that are known do not exist any more.
    pub fn reset_services(&mut self, services: Vec<Service>) {
        let listed: BTreeSet<Name> = services.iter().map(|service| service.name.clone()).collect();
        let gone: Vec<Name> = self.services.keys().filter(|name| !listed.contains(*name)).cloned().collect();
        for name in gone {
            self.forget(&name);
        }
        for service in services {
            // It was gone, and is back.
            if let Some(entry) = self.services.get_mut(&service.name) {
                entry.flight.take_if(|flight| flight.id == work::GONE);
            }
            self.apply_service(service);
        }
    }

    fn forget(&mut self, name: &Name) {
        if let Some(entry) = self.services.remove(name) {
            let marked = entry.service.marks.groups.as_deref().filter(|_| entry.service.marks.allocated);
            self.give_back_all(name, marked.iter().flat_map(|groups| groups.split(", ")));
        }
        self.pending.remove(name);
        self.fencing.remove(name);
        let held: Vec<_> = self.book.held_by(name).to_vec();
        self.recheck_sharers(&held, name);
        if !held.is_empty() {
            self.status.touch_addresses(&self.table, &held);
            // Not only the addresses that are free now: a port of a shared one may be.
            self.retry_pending = true;
        }
        self.book.forget(name);
    }

    /// Brings the address book in line with what is known of the Service.
    fn rebook(&mut self, name: &Name) {
        let Some(entry) = self.services.get(name) else { return };
        let wanted = entry.all_addresses();
        let before = self.book.held_by(name).to_vec();
        let claim_changed = self.book.set_claim(name, &entry.service.claim);
        let freed = self.book.hold(name, &wanted);
        if before != wanted {
            self.status.touch_addresses(&self.table, &before);
            self.status.touch_addresses(&self.table, &wanted);
        }
        if !freed.is_empty() || (claim_changed && !wanted.is_empty()) || before.len() > wanted.len() {
            self.retry_pending = true;
        }
        if claim_changed || before != wanted {
            // What the others were told may be over.
            self.recheck_sharers(&before, name);
        }
        let news: Vec<_> =
            wanted.iter().copied().filter(|address| claim_changed || !before.contains(address)).collect();
        self.check_sharing(name, &news);
    }

    /// A ServiceGroup was added or changed.
    pub fn apply_group(&mut self, object: GroupObject) {
        let id = (object.namespace.clone(), object.name.clone());
        let spec_changed = self.objects.get(&id).is_none_or(|known| {
            known.uid != object.uid || known.generation != object.generation || known.parsed != object.parsed
        });
        if self.objects.get(&id).is_some_and(|known| known.uid != object.uid) {
            self.status.forget(&id);
        }
        self.objects.insert(id.clone(), object);
        if spec_changed {
            self.rebuild_table(&BTreeSet::from([id]));
        }
    }

    /// A ServiceGroup was deleted.
    pub fn delete_group(&mut self, id: &GroupId) {
        if self.objects.remove(id).is_some() {
            self.status.forget(id);
            self.rebuild_table(&BTreeSet::new());
        }
    }

    /// The complete list of ServiceGroups.
    pub fn reset_groups(&mut self, objects: Vec<GroupObject>) {
        let listed: BTreeMap<GroupId, GroupObject> =
            objects.into_iter().map(|object| ((object.namespace.clone(), object.name.clone()), object)).collect();
        for gone in self.objects.keys().filter(|id| !listed.contains_key(*id)) {
            self.status.forget(gone);
        }
        let changed = listed
            .iter()
            .filter(|(id, object)| {
                self.objects.get(*id).is_none_or(|known| known.parsed != object.parsed || known.uid != object.uid)
            })
            .map(|(id, _)| id.clone())
            .collect();
        self.objects = listed;
        self.rebuild_table(&changed);
    }

    fn rebuild_table(&mut self, changed: &BTreeSet<GroupId>) {
        let table = Table::new(self.objects.iter(), &self.install_namespace);
        let bindings = Bindings::new(&table);
        let old = std::mem::replace(&mut self.table, table);
        if self.table != old {
            self.bindings = bindings;
            self.book.set_ranges(self.table.ranges());
            self.take_over_sidecars();
            self.enqueue_after_table_change();
        }
        self.metrics.out_of_scope.reset();
        for ((namespace, name), kind) in self.table.out_of_scope() {
            self.metrics.out_of_scope.with_label_values(&[namespace.as_str(), name, kind]).set(1);
        }
        self.status.touch_all();
        self.tell_groups(&old, changed);
    }

    /// One event per group whose standing is new or that was edited.
    fn tell_groups(&mut self, old: &Table, changed: &BTreeSet<GroupId>) {
        let mut notes = Vec::new();
        for (id, _) in self.table.accepted() {
            let was = old.get(&id.1).is_some() && old.refusal(id).is_none();
            if !was || changed.contains(id) {
                notes.push((id.clone(), Kind::Normal, reason::PARSED, "The group is in use".to_owned()));
            }
        }
        for (id, refused) in self.table.refused() {
            if old.refusal(id) != Some(refused) || changed.contains(id) {
                let note = format!("The group is not used: {refused}");
                notes.push((id.clone(), Kind::Warning, reason::PARSE_FAILED, note));
            }
        }
        for (id, _) in self.table.out_of_scope() {
            if !old.out_of_scope().any(|(known, _)| known == id) || changed.contains(id) {
                let note =
                    format!("The group is not used: only ServiceGroups in namespace {:?} are", self.install_namespace);
                notes.push((id.clone(), Kind::Warning, reason::OUT_OF_SCOPE, note));
            }
        }
        for (id, kind, reason, note) in notes {
            if kind == Kind::Warning {
                warn!(op = "group", namespace = id.0, name = id.1, reason, "{note}");
            } else {
                info!(op = "group", namespace = id.0, name = id.1, reason, "{note}");
            }
            let object = self.group_reference(&id);
            self.say(object, kind, reason, note);
        }
    }

    fn group_reference(&self, id: &GroupId) -> ObjectReference {
        ObjectReference {
            api_version: Some("purelb.io/v2".to_owned()),
            kind: Some("ServiceGroup".to_owned()),
            namespace: Some(id.0.clone()),
            name: Some(id.1.clone()),
            uid: self.objects.get(id).map(|object| object.uid.clone()),
            ..ObjectReference::default()
        }
    }

    /// Only the leader speaks; the others would say the same.
    fn say(&mut self, object: ObjectReference, kind: Kind, reason: &'static str, note: String) {
        if self.leading {
            self.events.push(Event { object, kind, reason, note });
        }
    }

    /// The events since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The subnets of the nodes that are alive.
    pub fn set_subnets(&mut self, subnets: BTreeSet<IpNetwork>) {
        if subnets != self.subnets {
            self.subnets = subnets;
            self.status.touch_all();
            self.enqueue_multi_pool();
        }
    }

    /// A Service as it is known.
    #[must_use]
    pub fn service(&self, name: &Name) -> Option<&Service> {
        self.services.get(name).map(|entry| &entry.service)
    }

    /// The table of groups.
    #[must_use]
    pub const fn table(&self) -> &Table {
        &self.table
    }

    fn count_services(&self) {
        self.metrics.services.set(i64::try_from(self.services.len()).unwrap_or(i64::MAX));
        self.metrics.pending.set(i64::try_from(self.pending.len()).unwrap_or(i64::MAX));
    }
}

/// Whether one resource version is surely later than the other.
fn is_later(one: &str, other: &str) -> bool {
    matches!((one.parse::<u64>(), other.parse::<u64>()), (Ok(one), Ok(other)) if one > other)
}

#[cfg(test)]
mod tests;
