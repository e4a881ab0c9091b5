//! The queue: which Service is judged next, and what the outcome of its write means.

use std::net::IpAddr;

use api_types::names::reason;
use runtime::events::{Event, Kind};

use super::entry::Flight;
use super::patch::{ServicePatch, assign, clean, fence};
use super::{Index, Task};
use crate::judge::{Note, judge, missing_families};
use crate::service::{Leftover, Name, Scope, Service};

/// The id of a flight whose Service is gone; no patch has it.
pub(super) const GONE: u64 = 0;

/// What became of a write to a Service.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It was written; this is the object now.
    Written(Service),
    /// The Service had changed; this is the object now. Nothing was written by this write, unless an
    /// earlier attempt of it was, which the object shows.
    Conflict(Service),
    /// The Service does not exist any more, or is not of type `LoadBalancer`.
    Gone,
    /// The API server refuses it, with this text.
    Refused(String),
}

impl Index {
    /// From now on this replica writes. `fence` is unlike that of any other term of any process.
    ///
    /// Unless the predecessor left cleanly, Services to which it may have been about to give an address
    /// are written first, before anything is handed out: that voids writes of the predecessor that are
    /// still under way. Which Services those are is told by themselves alone, see [`shows`].
    pub fn lead(&mut self, clean: bool, fence: &str) {
        self.leading = true;
        fence.clone_into(&mut self.fence);
        self.take_over_all_sidecars();
        if !clean {
            let services = self.services.values().map(|entry| &entry.service);
            let waiting = services.filter(|service| shows(service) || service.marks.fence);
            self.fencing = waiting.map(|service| service.name.clone()).collect();
            let key = |name: &Name| self.services.get(name)?.service.key().map(ToString::to_string);
            let suspects = self.fencing.iter().map(|name| (name, key(name).unwrap_or_default()));
            suspects.for_each(|(name, key)| self.ledger.suspect(name, &key));
        }
        // First come, first served.
        let mut all: Vec<&Service> = self.services.values().map(|entry| &entry.service).collect();
        all.sort_by_key(|service| service.seniority());
        let names: Vec<Name> = all.into_iter().map(|service| service.name.clone()).collect();
        for name in names {
            self.enqueue(&name);
        }
        for (name, addresses) in self
            .services
            .values()
            .map(|entry| (entry.service.name.clone(), entry.service.addresses.clone()))
            .collect::<Vec<_>>()
        {
            self.check_sharing(&name, &addresses);
        }
        self.status.touch_all();
        let all = self.objects.keys().cloned().collect();
        self.tell_groups(&self.table.clone(), &all);
    }

    /// From now on this replica writes nothing.
    pub fn follow(&mut self) {
        self.leading = false;
        self.queue.clear();
        self.fencing.clear();
        self.cleanups.clear();
        self.pending.clear();
        self.events.clear();
        self.ledger.clear(&self.table);
        let names: Vec<Name> = self.services.keys().cloned().collect();
        for name in names {
            if let Some(entry) = self.services.get_mut(&name) {
                (entry.queued, entry.told) = (false, None);
                if entry.flight.take().is_some() {
                    self.rebook(&name);
                }
            }
        }
    }

    /// Whether Services are being written to void a predecessor's writes.
    #[must_use]
    pub fn is_fencing(&self) -> bool {
        !self.fencing.is_empty()
    }

    /// Services that wait to be judged.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn enqueue(&mut self, name: &Name) {
        if self.leading
            && let Some(entry) = self.services.get_mut(name)
            && !std::mem::replace(&mut entry.queued, true)
        {
            self.queue.push_back(name.clone());
        }
    }

    pub(super) fn enqueue_after_table_change(&mut self) {
        let names: Vec<Name> = self.services.keys().cloned().collect();
        for name in names {
            self.enqueue(&name);
        }
    }

    pub(super) fn enqueue_multi_pool(&mut self) {
        let services = self.services.values().map(|entry| &entry.service);
        let multi = services.filter(|service| service.addresses.is_empty() || self.may_be_multi_pool(service));
        let names: Vec<Name> = multi.map(|service| service.name.clone()).collect();
        for name in names {
            self.enqueue(&name);
        }
    }

    /// Whether the Service may take one more address although it has all families.
    fn may_be_multi_pool(&self, service: &Service) -> bool {
        service.scope == Scope::Ours
            && service.wishes.multi_pool.unwrap_or_else(|| {
                let mut groups = service.addresses.iter().filter_map(|&address| self.table.group_of(address));
                groups.any(|(group, _)| group.multi_pool)
            })
    }

    /// Something that pending Services may have waited for has happened since the last call of
    /// [`retry`](Self::retry).
    #[must_use]
    pub const fn wants_retry(&self) -> bool {
        self.retry_pending
    }

    /// How many Services wait for something.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Has all pending Services judged again, the oldest first.
    pub fn retry(&mut self) {
        self.retry_pending = false;
        let mut waiting: Vec<&Service> = self.pending.iter().filter_map(|name| self.service(name)).collect();
        waiting.sort_by_key(|service| service.seniority());
        let names: Vec<Name> = waiting.into_iter().map(|service| service.name.clone()).collect();
        for name in names {
            self.enqueue(&name);
        }
    }

    /// The next write to send, if there is any.
    pub fn next_patch(&mut self) -> Option<ServicePatch> {
        if !self.leading {
            return None;
        }
        if self.is_fencing() {
            return self.next_fence();
        }
        while let Some(name) = self.queue.pop_front() {
            let Some(entry) = self.services.get_mut(&name) else { continue };
            entry.queued = false;
            // It is judged again when the write under way has come back.
            if entry.flight.is_none()
                && let Some(patch) = self.judge(&name)
            {
                return Some(patch);
            }
        }
        self.next_cleanup()
    }

    fn next_cleanup(&mut self) -> Option<ServicePatch> {
        while let Some(leftover) = self.cleanups.pop_front() {
            // It may have become one of ours again meanwhile.
            if !self.services.contains_key(&leftover.name) {
                return Some(clean(&leftover));
            }
        }
        None
    }

    /// Services found with annotations of ours that are not of type `LoadBalancer`.
    pub fn clean_up(&mut self, leftovers: impl IntoIterator<Item = Leftover>) {
        if !self.leading {
            return;
        }
        for leftover in leftovers {
            if !self.services.contains_key(&leftover.name) {
                self.give_back_all(&leftover.name, leftover.marked_groups());
            }
            self.cleanups.push_back(leftover);
        }
    }

    fn next_fence(&mut self) -> Option<ServicePatch> {
        let name = self
            .fencing
            .iter()
            .find(|name| self.services.get(name).is_some_and(|entry| entry.flight.is_none()))?
            .clone();
        let entry = self.services.get_mut(&name)?;
        let addresses = entry.service.addresses.clone();
        let patch = fence(&entry.service, &self.fence);
        Some(self.fly(patch, addresses, Vec::new()))
    }

    fn judge(&mut self, name: &Name) -> Option<ServicePatch> {
        let service = &self.services.get(name)?.service;
        let lost = self.lost(service);
        let verdict = judge(self.world(), service, &lost);
        let gains = verdict.addresses.iter().any(|address| !service.addresses.contains(address));
        if gains && !shows(service) && !service.marks.fence {
            // Nobody would think that this Service is about to get an address: first that is written on it.
            let (mark, addresses) = (fence(service, &self.fence), service.addresses.clone());
            return Some(self.fly(mark, addresses, Vec::new()));
        }
        let is_over = service.scope == Scope::Ours && service.marks.fence && !is_waiting(service);
        let conditions = self.conditions(service);
        let changes = is_over || conditions.is_some() || verdict.changes(service);
        let patch = changes.then(|| assign(service, &verdict, conditions));
        let object = service.reference();
        for count in &verdict.counts {
            self.metrics.count(count);
        }
        self.set_problem(name, verdict.problem.as_ref(), verdict.waits);
        self.settle_external(name, &verdict, patch.is_none());
        let patch = patch?;
        let events = verdict
            .notes
            .into_iter()
            .map(|(kind, reason, note)| Event { object: object.clone(), kind, reason, note })
            .collect();
        Some(self.fly(patch, verdict.addresses, events))
    }

    /// Notes a patch as under way and reserves its addresses.
    fn fly(&mut self, mut patch: ServicePatch, addresses: Vec<IpAddr>, events: Vec<Event>) -> ServicePatch {
        self.last_patch += 1;
        patch.id = self.last_patch;
        if let Some(entry) = self.services.get_mut(&patch.name) {
            entry.flight = Some(Flight { id: patch.id, addresses, events });
        }
        self.rebook(&patch.name);
        patch
    }

    /// Notes whether the Service waits for something, and says so when that is new.
    fn set_problem(&mut self, name: &Name, problem: Option<&Note>, waits: bool) {
        let Some(entry) = self.services.get_mut(name) else { return };
        let Some((kind, reason, text)) = problem else {
            entry.told = None;
            if waits {
                self.pending.insert(name.clone());
            } else {
                self.pending.remove(name);
            }
            self.count_services();
            return;
        };
        let known = entry.told.as_deref() == Some(text.as_str());
        entry.told = Some(text.as_str().into());
        let object = entry.service.reference();
        self.pending.insert(name.clone());
        self.count_services();
        if !known {
            self.say(object, *kind, reason, text.clone());
        }
    }

    /// What became of a write of [`next_patch`](Self::next_patch).
    pub fn written(&mut self, patch: &ServicePatch, outcome: Outcome) {
        let name = &patch.name;
        let Some(entry) = self.services.get_mut(name).filter(|_| patch.task != Task::Clean) else { return };
        // The Service of that write may be gone, and another one of its name have a write of its own.
        let Some(flight) = entry.flight.take_if(|flight| flight.id == patch.id) else { return };
        self.fencing.remove(name);
        match outcome {
            Outcome::Written(now) => {
                if self.leading {
                    self.events.extend(flight.events);
                }
                self.apply_service(now);
            }
            Outcome::Conflict(now) => self.apply_service(now),
            Outcome::Gone => {
                // The watch is behind and may still tell of addresses that it had: nobody else gets
                // them before the watch tells that it is gone.
                entry.flight = Some(Flight { id: GONE, events: Vec::new(), ..flight });
                return;
            }
            Outcome::Refused(text) => return self.refused(name, &text),
        }
        self.rebook(name);
        self.enqueue(name);
    }

    /// The Service waits, and is judged again with all others that wait.
    fn refused(&mut self, name: &Name, text: &str) {
        self.rebook(name);
        let Some(service) = self.service(name) else { return };
        let object = service.reference();
        let text = format!("Failed to allocate an address for {name}: the API server refuses the write: {text}");
        self.pending.insert(name.clone());
        self.say(object, Kind::Warning, reason::ALLOCATION_FAILED, text);
    }
}

/// Whether the Service says by itself that it may be about to get an address. One that does not is marked before it gets
/// one: a new leader must know, whatever has become meanwhile of groups, nodes and other Services, to which Services a
/// write of its predecessor may still be on its way.
fn shows(service: &Service) -> bool {
    let takes_more = service.scope == Scope::Ours && service.wishes.multi_pool == Some(true);
    takes_more || is_waiting(service)
}

/// Whether it wants something that it does not have.
fn is_waiting(service: &Service) -> bool {
    service.scope == Scope::Ours
        && service.has_cluster_ip
        && (service.wishes.re_evaluate || !missing_families(service).is_empty())
}
