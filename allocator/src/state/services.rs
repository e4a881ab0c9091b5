//! The Services, and the addresses reserved for writes in flight.

use std::collections::BTreeMap;
use std::net::IpAddr;

use runtime::events::Event;

use crate::model::{Requested, Scope, Service, ServiceName, is_our_condition};
use crate::plan::Notice;

/// Identifies a write; no two writes of a process have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteId(u64);

/// Why addresses are reserved.
#[derive(Debug)]
enum Reason {
    /// A write that assigns them is in flight. The events are published if it succeeds.
    InFlight(WriteId, Vec<Event>),
    /// The API server has answered that the Service is gone. The watch is behind and may still deliver states in which
    /// the Service has them, so nobody else gets them before the watch delivers the end.
    ServiceGone,
}

/// Addresses that a Service holds in addition to those of its last known state.
#[derive(Debug)]
struct Reservation {
    addresses: Vec<IpAddr>,
    reason: Reason,
}

/// The end of a write in flight.
#[derive(Debug)]
pub(super) struct EndedWrite {
    pub(super) addresses: Vec<IpAddr>,
    /// To publish if the write succeeded.
    pub(super) events: Vec<Event>,
}

/// One Service.
#[derive(Debug)]
struct Entry {
    /// The newest known state.
    service: Service,
    /// There is never more than one write in flight.
    reservation: Option<Reservation>,
    /// The problem that was reported last. The same problem is reported once.
    reported: Option<Box<str>>,
    /// The group without a free address for it.
    exhausted: Option<Box<str>>,
    /// The remarks that were reported last.
    remarked: Vec<Box<str>>,
    /// What the Service had been given before somebody took off both its status and our list.
    last_given: Vec<IpAddr>,
    /// What the user requests was edited since the Service was planned last.
    edited: bool,
}

/// How a state from the API server relates to what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Novelty {
    /// A later state is known already: the answer to a write may be ahead of the watch.
    Outdated,
    /// A later state of the known object. `matters` says whether planning depends on a difference.
    Later { matters: bool },
    /// Another object of the same name.
    OtherObject,
    /// No object of this name is known.
    New,
}

/// All Services of type `LoadBalancer`.
#[derive(Debug, Default)]
pub(super) struct Services {
    entries: BTreeMap<ServiceName, Entry>,
    /// How many Services wait for an address of which group.
    exhausted: BTreeMap<Box<str>, usize>,
    last_write: WriteId,
}

impl Services {
    pub(super) fn get(&self, name: &ServiceName) -> Option<&Service> {
        self.entries.get(name).map(|entry| &entry.service)
    }

    pub(super) fn contains(&self, name: &ServiceName) -> bool {
        self.entries.contains_key(name)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Service> {
        self.entries.values().map(|entry| &entry.service)
    }

    pub(super) fn names(&self) -> Vec<ServiceName> {
        self.entries.keys().cloned().collect()
    }

    /// Compares a state with what is known.
    pub(super) fn novelty(&self, service: &Service) -> Novelty {
        let Some(Entry { service: known, .. }) = self.entries.get(&service.name) else { return Novelty::New };
        if !service.is_newer_than(&known.version) {
            Novelty::Outdated
        } else if known.uid == service.uid {
            Novelty::Later { matters: matters(known, service) }
        } else {
            Novelty::OtherObject
        }
    }

    /// Stores the newest state of a Service.
    pub(super) fn store(&mut self, service: Service) {
        if let Some(entry) = self.entries.get_mut(&service.name) {
            entry.replace(service);
        } else {
            let (name, reported, remarked) = (service.name.clone(), None, Vec::new());
            let entry = Entry {
                service,
                reservation: None,
                reported,
                exhausted: None,
                remarked,
                last_given: Vec::new(),
                edited: false,
            };
            self.entries.insert(name, entry);
        }
    }

    /// What the Service had been given before somebody took off both its status and our list.
    pub(super) fn last_given(&self, name: &ServiceName) -> &[IpAddr] {
        self.entries.get(name).map_or(&[], |entry| &entry.last_given)
    }

    /// What the Service had been given no longer counts: the allocator itself took it off.
    pub(super) fn forget_last_given(&mut self, name: &ServiceName) -> bool {
        self.entries.get_mut(name).is_some_and(|entry| !std::mem::take(&mut entry.last_given).is_empty())
    }

    /// Notes that the groups were edited, which may concern the Service like an edit of its own.
    pub(super) fn note_edit(&mut self, name: &ServiceName) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.edited = true;
        }
    }

    /// Whether the Service was edited since the last call.
    pub(super) fn take_edit(&mut self, name: &ServiceName) -> bool {
        self.entries.get_mut(name).is_some_and(|entry| std::mem::take(&mut entry.edited))
    }

    /// Notes the present remarks about a Service. Returns those that were not reported yet.
    pub(super) fn note_remarks(&mut self, name: &ServiceName, remarks: Vec<Notice>) -> Vec<Notice> {
        let Some(entry) = self.entries.get_mut(name) else { return Vec::new() };
        let texts = remarks.iter().map(|remark| remark.text.as_str().into()).collect();
        let known: Vec<Box<str>> = std::mem::replace(&mut entry.remarked, texts);
        remarks.into_iter().filter(|remark| !known.iter().any(|text| **text == *remark.text)).collect()
    }

    /// Makes a Service without a class ours, or not.
    pub(super) fn set_scope(&mut self, name: &ServiceName, scope: Scope) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.service.scope = scope;
        }
    }

    /// Removes a Service together with its reservation.
    pub(super) fn remove(&mut self, name: &ServiceName) -> Option<Service> {
        self.note_exhausted(name, None);
        self.entries.remove(name).map(|entry| entry.service)
    }

    /// The addresses that a Service has, and those that are reserved for it.
    pub(super) fn held_addresses(&self, name: &ServiceName) -> Vec<IpAddr> {
        let Some(entry) = self.entries.get(name) else { return Vec::new() };
        let mut addresses = entry.service.addresses.clone();
        let reserved = entry.reservation.iter().flat_map(|reservation| &reservation.addresses);
        for &address in entry.service.claimed().iter().chain(&entry.last_given).chain(reserved) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses
    }

    /// Reserves addresses for a write that is about to be sent.
    pub(super) fn reserve(&mut self, name: &ServiceName, addresses: Vec<IpAddr>, events: Vec<Event>) -> WriteId {
        self.last_write = WriteId(self.last_write.0.wrapping_add(1));
        if let Some(entry) = self.entries.get_mut(name) {
            entry.reservation = Some(Reservation { addresses, reason: Reason::InFlight(self.last_write, events) });
        }
        self.last_write
    }

    /// The addresses of all writes in flight.
    pub(super) fn reserved(&self) -> impl Iterator<Item = IpAddr> {
        let reservations = self.entries.values().filter_map(|entry| entry.reservation.as_ref());
        reservations.flat_map(|reservation| reservation.addresses.iter().copied())
    }

    /// Whether a write in flight gives the address to the Service.
    pub(super) fn is_reserved(&self, name: &ServiceName, address: IpAddr) -> bool {
        let reservation = self.entries.get(name).and_then(|entry| entry.reservation.as_ref());
        reservation.is_some_and(|reservation| reservation.addresses.contains(&address))
    }

    /// Ends the reservation of a write. `None` if this write is not in flight: the Service of that time may be gone, and
    /// another one of its name may have a write of its own.
    pub(super) fn end_write(&mut self, name: &ServiceName, write: WriteId) -> Option<EndedWrite> {
        let entry = self.entries.get_mut(name)?;
        let ended = entry.reservation.take_if(
            |reservation| matches!(reservation.reason, Reason::InFlight(in_flight, _) if in_flight == write),
        )?;
        let events = if let Reason::InFlight(_, events) = ended.reason { events } else { Vec::new() };
        Some(EndedWrite { addresses: ended.addresses, events })
    }

    /// Reserves the addresses of a Service that is gone until the watch delivers its end.
    pub(super) fn reserve_until_gone(&mut self, name: &ServiceName, addresses: Vec<IpAddr>) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.reservation = Some(Reservation { addresses, reason: Reason::ServiceGone });
        }
    }

    /// The Service that was gone is in a complete list: it exists again.
    pub(super) fn end_gone(&mut self, name: &ServiceName) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.reservation.take_if(|reservation| matches!(reservation.reason, Reason::ServiceGone));
        }
    }

    /// Whether no write to the Service is in flight, so that another one may be sent.
    pub(super) fn is_writable(&self, name: &ServiceName) -> bool {
        self.entries.get(name).is_some_and(|entry| entry.reservation.is_none())
    }

    /// Ends all reservations and forgets which problems were reported. Returns the Services that had a reservation.
    pub(super) fn stop_writing(&mut self) -> Vec<ServiceName> {
        let mut reserved = Vec::new();
        for (name, entry) in &mut self.entries {
            entry.reported = None;
            entry.remarked.clear();
            if entry.reservation.take().is_some() {
                reserved.push(name.clone());
            }
        }
        reserved
    }

    /// Notes the present problem of a Service. Returns whether it was not reported yet.
    pub(super) fn note_problem(&mut self, name: &ServiceName, problem: Option<&str>) -> bool {
        let Some(entry) = self.entries.get_mut(name) else { return false };
        if entry.reported.as_deref() == problem {
            return false;
        }
        entry.reported = problem.map(Into::into);
        problem.is_some()
    }

    /// Notes the group that has no free address for a Service. Returns the groups about which that is news.
    pub(super) fn note_exhausted(&mut self, name: &ServiceName, group: Option<&str>) -> Vec<String> {
        let Some(entry) = self.entries.get_mut(name).filter(|entry| entry.exhausted.as_deref() != group) else {
            return Vec::new();
        };
        let before = std::mem::replace(&mut entry.exhausted, group.map(Into::into));
        if let Some(group) = group {
            *self.exhausted.entry(group.into()).or_default() += 1;
        }
        if let Some(before) = before.as_ref().filter(|before| self.exhausted.contains_key(*before)) {
            let count = self.exhausted.entry(before.clone()).or_default();
            *count = count.saturating_sub(1);
        }
        self.exhausted.retain(|_, count| *count > 0);
        before.as_deref().into_iter().chain(group).map(str::to_owned).collect()
    }

    /// How many Services wait for an address of the group.
    pub(super) fn waiting_for(&self, group: &str) -> usize {
        self.exhausted.get(group).copied().unwrap_or_default()
    }

    /// Whether something of ours is on the Service or on its way to it.
    pub(super) fn may_carry_ours(&self, name: &ServiceName) -> bool {
        self.entries.get(name).is_some_and(|Entry { service, reservation, .. }| {
            service.written.any
                || service.written.leader_fence
                || service.written.asked_of.is_some()
                || reservation.is_some()
                || service.conditions.iter().any(is_our_condition)
        })
    }
}

impl Entry {
    /// Takes in a later state of the Service.
    fn replace(&mut self, service: Service) {
        let known = &self.service;
        let had = known.scope == Scope::Ours && known.provenance.list.is_some();
        let stripped = service.provenance.list.is_none() && !service.deleting;
        if known.uid != service.uid || !stripped {
            self.last_given.clear();
        } else if had {
            self.last_given = known.claimed().to_vec();
        }
        let wishes = |service: &Service| Requested { re_evaluate: false, ..service.requested.clone() };
        self.edited |= wishes(known) != wishes(&service) || known.sharing.key != service.sharing.key;
        self.service = service;
    }
}

/// Whether the two states differ in anything that planning looks at.
fn matters(old: &Service, new: &Service) -> bool {
    // The index may have made a Service without a class ours.
    let scopes = [old.scope, new.scope];
    (old.scope != new.scope && scopes != [Scope::Ours, Scope::NoClass])
        || old.has_cluster_ip != new.has_cluster_ip
        || old.families != new.families
        || old.policy != new.policy
        || old.sharing != new.sharing
        || old.requested != new.requested
        || old.written != new.written
        || old.deleting != new.deleting
        || old.provenance != new.provenance
        // A list of ours makes it irrelevant who announces the addresses.
        || new.provenance.list.is_none() && old.announced != new.announced
        || old.writers.status_by_us != new.writers.status_by_us
        || old.addresses != new.addresses
        || old.detailed_ingress != new.detailed_ingress
        || old.conditions != new.conditions
}
