//! What happens to one Service: plan it, record the plan, write it, and take in the outcome.
//!
//! A reservation is made by [`Index::write`], just before a write is sent. It ends in [`Index::written`], when the
//! outcome is known.

use std::net::IpAddr;

use api_types::names::reason;
use runtime::events::Event;

use super::fencing::expects_address;
use super::index::Index;
use super::patch::{ServicePatch, assign, clean_up, fence, mark};
use super::service_conditions::service_conditions;
use super::sharing::lost_addresses;
use crate::model::{Leftover, Scope, Service, ServiceName};
use crate::plan::{self, Notice, Plan};

/// What became of a write to a Service.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It was written. This is the object now.
    Written(Service),
    /// The Service had changed. This is the object now. Nothing was written, unless an earlier attempt of the same write
    /// was, which the object shows.
    Conflict(Service),
    /// The Service does not exist any more, or is not of type `LoadBalancer`.
    Gone,
    /// The API server refuses the write, with this text.
    Refused(String),
}

/// The queue.
impl Index {
    /// The next write to send, if there is any.
    pub fn next_patch(&mut self) -> Option<ServicePatch> {
        if !self.leading {
            return None;
        }
        if self.fencing.is_active() {
            return self.next_fence();
        }
        while let Some(name) = self.queue.pop() {
            // While a write is in flight nothing is planned. The outcome puts the Service into the queue again.
            if self.services.is_writable(&name)
                && let Some(patch) = self.reconcile(&name)
            {
                return Some(patch);
            }
        }
        self.next_clean_up()
    }

    fn next_fence(&mut self) -> Option<ServicePatch> {
        let name = self.fencing.open().iter().find(|name| self.services.is_writable(name))?;
        let service = self.services.get(name)?;
        let (patch, addresses) = (fence(service, self.fencing.value()), service.addresses.clone());
        Some(self.write(patch, addresses, Vec::new()))
    }

    fn next_clean_up(&mut self) -> Option<ServicePatch> {
        while let Some(leftover) = self.queue.pop_clean_up() {
            // It may be of type `LoadBalancer` again.
            if !self.services.contains(&leftover.name) {
                return Some(clean_up(&leftover));
            }
        }
        None
    }

    /// Adds clean-ups of Services that are not of type `LoadBalancer` and carry annotations or conditions of ours.
    pub fn clean_up(&mut self, leftovers: impl IntoIterator<Item = Leftover>) {
        if !self.leading {
            return;
        }
        for leftover in leftovers {
            if !self.services.contains(&leftover.name) {
                self.release_all_external(&leftover.name, leftover.written_groups());
            }
            self.queue.push_clean_up(leftover);
        }
    }

    /// The number of Services to plan.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.queue.len()
    }

    /// Whether something has happened that waiting Services may wait for, since the last [`retry`](Self::retry).
    #[must_use]
    pub const fn wants_retry(&self) -> bool {
        self.queue.wants_retry()
    }

    /// The number of Services that wait for something.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.waiting().len()
    }

    /// Plans all waiting Services again, the oldest first.
    pub fn retry(&mut self) {
        self.queue.retry_begins();
        let mut waiting: Vec<&Service> =
            self.queue.waiting().iter().filter_map(|name| self.services.get(name)).collect();
        waiting.sort_by_key(|service| service.seniority());
        let names: Vec<ServiceName> = waiting.into_iter().map(|service| service.name.clone()).collect();
        for name in names {
            self.enqueue(&name);
        }
    }
}

/// One Service.
impl Index {
    fn reconcile(&mut self, name: &ServiceName) -> Option<ServicePatch> {
        let service = self.services.get(name)?;
        let plan = self.plan(service);
        if needs_mark(service, &plan) {
            let (patch, addresses) = (mark(service, self.fencing.value()), service.addresses.clone());
            return Some(self.write(patch, addresses, Vec::new()));
        }
        let patch = self.patch(service, &plan);
        let object = service.reference();
        self.record(name, &plan, patch.is_none());
        let event = |Notice { kind, reason, text }| Event { object: object.clone(), kind, reason, note: text };
        let events = plan.notices.into_iter().map(event).collect();
        patch.map(|patch| self.write(patch, plan.addresses, events))
    }

    /// Decides what the Service should have.
    fn plan(&self, service: &Service) -> Plan {
        let lost = lost_addresses(&self.services, &self.addresses, service);
        plan::plan(self.snapshot(), service, &lost)
    }

    /// The write that carries out the plan, if anything is to be written.
    fn patch(&self, service: &Service, plan: &Plan) -> Option<ServicePatch> {
        let mark_is_over = service.scope == Scope::Ours && service.written.leader_fence && !service.is_waiting();
        let conditions = service_conditions(&self.services, &self.addresses, service, self.time);
        let changes = mark_is_over || conditions.is_some() || plan.changes(service);
        changes.then(|| assign(service, plan, conditions))
    }

    /// Records what follows from the plan besides the write: metrics, the problem to report, and external allocations.
    fn record(&mut self, name: &ServiceName, plan: &Plan, at_rest: bool) {
        for measurement in &plan.measurements {
            self.metrics.count(measurement);
        }
        self.record_problem(name, plan);
        self.record_external(name, plan, at_rest);
    }

    fn record_problem(&mut self, name: &ServiceName, plan: &Plan) {
        let problem = plan.problem.as_ref();
        let is_new = self.services.note_problem(name, problem.map(|problem| problem.text.as_str()));
        self.queue.set_waiting(name, problem.is_some() || plan.wants_more);
        self.refresh_service_gauges();
        if is_new
            && let Some(problem) = problem
            && let Some(service) = self.services.get(name)
        {
            self.publish(service.reference(), problem.clone());
        }
    }

    /// Reserves the addresses of a write that is about to be sent.
    fn write(&mut self, patch: ServicePatch, addresses: Vec<IpAddr>, events: Vec<Event>) -> ServicePatch {
        let id = self.services.reserve(&patch.name, addresses, events);
        self.update_addresses(&patch.name);
        ServicePatch { id: Some(id), ..patch }
    }

    /// Takes in the outcome of a write of [`next_patch`](Self::next_patch).
    pub fn written(&mut self, patch: &ServicePatch, outcome: Outcome) {
        let name = &patch.name;
        let Some(ended) = patch.id.and_then(|id| self.services.end_write(name, id)) else { return };
        self.fencing.close(name);
        match outcome {
            Outcome::Written(now) => {
                self.events.extend(ended.events);
                self.apply_service(now);
            }
            Outcome::Conflict(now) => self.apply_service(now),
            Outcome::Gone => return self.services.reserve_until_gone(name, ended.addresses),
            Outcome::Refused(text) => return self.refused(name, &text),
        }
        self.update_addresses(name);
        self.enqueue(name);
    }

    /// The Service waits, and is planned again with all others that wait.
    fn refused(&mut self, name: &ServiceName, text: &str) {
        self.update_addresses(name);
        let Some(service) = self.services.get(name) else { return };
        let object = service.reference();
        let text = format!("Failed to allocate an address for {name}: the API server refuses the write: {text}");
        self.queue.set_waiting(name, true);
        self.publish(object, Notice::warning(reason::ALLOCATION_FAILED, text));
    }
}

/// Whether the Service gains an address and does not show it yet to a leader that takes over.
fn needs_mark(service: &Service, plan: &Plan) -> bool {
    let gains = plan.addresses.iter().any(|address| !service.addresses.contains(address));
    gains && !expects_address(service) && !service.written.leader_fence
}
