//! The Services, and the addresses reserved for writes in flight.

use std::collections::BTreeMap;
use std::net::IpAddr;

use runtime::events::Event;

use crate::model::{Service, ServiceName, is_our_condition};

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
            entry.service = service;
        } else {
            let name = service.name.clone();
            self.entries.insert(name, Entry { service, reservation: None, reported: None });
        }
    }

    /// Removes a Service together with its reservation.
    pub(super) fn remove(&mut self, name: &ServiceName) -> Option<Service> {
        self.entries.remove(name).map(|entry| entry.service)
    }

    /// The addresses that a Service has, and those that are reserved for it.
    pub(super) fn held_addresses(&self, name: &ServiceName) -> Vec<IpAddr> {
        let Some(entry) = self.entries.get(name) else { return Vec::new() };
        let mut addresses = entry.service.addresses.clone();
        for &address in entry.reservation.iter().flat_map(|reservation| &reservation.addresses) {
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

    /// Whether something of ours is on the Service or on its way to it.
    pub(super) fn may_carry_ours(&self, name: &ServiceName) -> bool {
        self.entries.get(name).is_some_and(|Entry { service, reservation, .. }| {
            service.written.any
                || service.written.leader_fence
                || reservation.is_some()
                || service.conditions.iter().any(is_our_condition)
        })
    }
}

/// Whether the two states differ in anything that planning looks at.
fn matters(old: &Service, new: &Service) -> bool {
    old.scope != new.scope
        || old.has_cluster_ip != new.has_cluster_ip
        || old.families != new.families
        || old.policy != new.policy
        || old.sharing != new.sharing
        || old.requested != new.requested
        || old.written != new.written
        || old.addresses != new.addresses
        || old.conditions != new.conditions
}
