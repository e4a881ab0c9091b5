//! What happens to one Service: plan it, record the plan, write it, and take in the outcome.
//!
//! A reservation is made by [`Index::write`], just before a write is sent. It ends in [`Index::written`], when the
//! outcome is known.

use std::net::IpAddr;

use api_types::Announce;
use api_types::names::{annotation, reason};
use runtime::events::Event;
use serde_json::json;
use tracing::info;

use super::fencing::expects_address;
use super::index::Index;
use super::offering::gains;
use super::patch::{KeptMarks, Purpose, ServicePatch, assign, clean_up, fence, mark};
use super::repairs::RepairKind;
use super::service_conditions::{Kept, service_conditions};
use super::sharing::lost_addresses;
use crate::model::{Leftover, Owner, Scope, Service, ServiceName};
use crate::plan::{self, Memory, Notice, Plan, counts_as_given, reminder};

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
        if let Some(fence) = self.next_fence() {
            return Some(fence);
        }
        while !self.offers.is_full()
            && let Some(name) = self.queue.pop()
        {
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
        while let Some(name) = self.fencing.next() {
            let Some(service) = self.services.get(&name).filter(|_| self.services.is_writable(&name)) else {
                self.fencing.put_off(&name, self.now);
                continue;
            };
            let (patch, addresses) = (fence(service, self.fencing.value()), service.addresses.clone());
            self.fencing.sent(&name);
            return Some(self.write(patch, addresses, Vec::new()));
        }
        None
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
                self.release_all_external(&Owner::from(&leftover), leftover.written_groups());
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
        if self.is_withheld(name, &plan) {
            return None;
        }
        let service = self.services.get(name)?;
        if needs_mark(service, &plan) {
            let kind = if asks_unmarked(service, &plan) { RepairKind::Ask } else { RepairKind::Fence };
            if plan.restores && !self.may_repair(name, kind) {
                return None;
            }
            let service = self.services.get(name)?;
            let requested = plan.requests.iter().map(|(group, _)| group.as_str());
            let groups = requested.chain(service.written.asked_groups()).collect();
            let (patch, addresses) = (mark(service, self.fencing.value(), &groups), service.addresses.clone());
            return Some(self.write(patch, addresses, Vec::new()));
        }
        if !self.may_give(name, &plan) {
            return None;
        }
        if !plan.restores && self.services.forget_last_given(name) {
            self.update_addresses(name);
        }
        let service = self.services.get(name)?;
        let patch = self.patch(service, &plan);
        let kind = repair_kind(&plan, self.is_group_condition_due(service));
        if patch.is_some() && plan.restores && !self.may_repair(name, kind) {
            self.record_problem(name, &plan);
            return None;
        }
        // The repair may have brought a condition.
        let service = self.services.get(name)?;
        let patch = patch.and_then(|_| self.patch(service, &plan));
        let object = service.reference();
        self.record(name, &plan, patch.is_none());
        self.remind(name, &plan, patch.is_none());
        self.plan_again_at_rest(name, patch.is_none());
        let event = |Notice { kind, reason, text }| Event { object: object.clone(), kind, reason, note: text };
        let events = plan.notices.into_iter().map(event).collect();
        patch.map(|patch| self.write(patch, plan.addresses, events))
    }

    /// Decides what the Service should have.
    fn plan(&self, service: &Service) -> Plan {
        let lost = lost_addresses(&self.services, &self.addresses, service);
        let kinds = self.kinds_in_use(service);
        let before_copies = self.before_copies(service);
        let last_given = self.services.last_given(&service.name);
        let memory = Memory { lost: &lost, last_given, kinds: &kinds, before_copies: &before_copies };
        plan::plan(self.snapshot(), service, memory)
    }

    /// The addresses of the Service's hint that others show as well, all of them copies which come after it. They are
    /// restored together, in any order, and one of them has the address.
    fn before_copies(&self, service: &Service) -> Vec<IpAddr> {
        let snapshot = self.snapshot();
        let order = |service: &Service| (service.created, service.name.clone());
        let comes_after = |holder: &ServiceName, address: IpAddr| {
            let Some(other) = self.services.get(holder) else { return false };
            let is_copy = other.scope == Scope::Ours && other.provenance.hint.contains(&address);
            let has_it = self.services.is_reserved(holder, address) || counts_as_given(&snapshot, other, address);
            is_copy && !has_it && order(other) > order(service)
        };
        let only_copies_follow = |address: &IpAddr| {
            let holders = self.addresses.holders(*address).iter();
            let mut others = holders.filter(|holder| **holder != service.name).peekable();
            others.peek().is_some() && others.all(|other| comes_after(other, *address))
        };
        service.provenance.hint.iter().copied().filter(only_copies_follow).collect()
    }

    /// The addresses that the Service may share, each with the pool type of a Service that has it.
    fn kinds_in_use(&self, service: &Service) -> Vec<(IpAddr, Announce)> {
        let Some(key) = service.key() else { return Vec::new() };
        let kind_of = |holder: &ServiceName| self.services.get(holder)?.written.pool_type;
        let shared = self.addresses.addresses_of_key(key, &service.name).into_iter();
        let kind_in_use = |address| {
            let mut others = self.addresses.holders(address).iter().filter(|holder| **holder != service.name);
            others.find_map(kind_of).map(|kind| (address, kind))
        };
        shared.filter_map(kind_in_use).collect()
    }

    /// Whether a late write of the predecessor could give another Service what this one would gain.
    fn is_withheld(&mut self, name: &ServiceName, plan: &Plan) -> bool {
        if !self.fencing.is_active() {
            return false;
        }
        let Some(service) = self.services.get(name) else { return false };
        let withheld = self.fencing.withholds(name, gains(service, plan));
        if withheld {
            // Something else may become free meanwhile.
            self.queue.set_waiting(name, true);
        }
        withheld
    }

    /// Whether a write that only puts back something may be sent now. It is counted.
    fn may_repair(&mut self, name: &ServiceName, kind: RepairKind) -> bool {
        let Some(service) = self.services.get(name) else { return false };
        let permitted = self.repairs.permit(service, kind, self.now);
        let object = service.reference();
        if permitted && let Some(message) = self.repairs.sent(service, kind, self.now) {
            self.publish(object, Notice::warning(reason::STATUS_OVERWRITTEN, message));
        }
        permitted
    }

    /// Tells a user whose edit does not move the Service.
    fn remind(&mut self, name: &ServiceName, plan: &Plan, at_rest: bool) {
        let edited = self.services.take_edit(name);
        let Some(service) = self.services.get(name).filter(|_| edited && at_rest && plan.restores) else { return };
        if let Some(notice) = reminder(self.snapshot(), service, plan) {
            self.publish(service.reference(), notice);
        }
    }

    /// The Service kept the annotation `leader-fence` for something that turned out to be settled with the sidecars.
    fn plan_again_at_rest(&mut self, name: &ServiceName, at_rest: bool) {
        let Some(service) = self.services.get(name).filter(|_| at_rest && !self.external.is_empty()) else { return };
        let marks = self.kept_marks(service, false);
        if service.scope == Scope::Ours && has_mark_that_is_over(service, marks) {
            self.enqueue(name);
        }
    }

    /// The write that carries out the plan, if anything is to be written.
    fn patch(&self, service: &Service, plan: &Plan) -> Option<ServicePatch> {
        let marks = self.kept_marks(service, !plan.requests.is_empty());
        let mark_is_over = service.scope == Scope::Ours && has_mark_that_is_over(service, marks);
        let overwritten = self.repairs.message(service, self.now);
        let not_announced = self.announcing.wanted(&service.name);
        let missing_groups = self.missing_groups(service);
        let kept = Kept { overwritten, missing_groups: missing_groups.as_deref(), not_announced };
        let conditions = service_conditions(&self.services, &self.addresses, service, kept, self.time);
        let vip_ports = self.vip_ports(&service.name, &plan.addresses);
        let opens = service.scope == Scope::Ours && vip_ports.as_deref() != service.written.vip_ports.as_deref();
        let changes = mark_is_over || conditions.is_some() || plan.changes() || opens;
        // What is assigned shows what the sidecars gave, if nothing is missing.
        let has_all = !plan.restores && plan.problem.is_none() && !plan.wants_more;
        let keep = KeptMarks { fence: plan.restores && marks.fence, asked: marks.asked && !has_all };
        changes.then(|| {
            let patch = assign(service, plan, conditions, keep);
            if opens { patch.annotated(annotation::VIP_PORTS, json!(vip_ports)) } else { patch }
        })
    }

    /// The marks for the next leader that the Service still needs. `asks` if a sidecar is about to be asked.
    fn kept_marks(&self, service: &Service, asks: bool) -> KeptMarks {
        let asked = asks || self.external.is_open(&Owner::from(service));
        KeptMarks { fence: service.is_waiting() || asked, asked }
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
        for group in self.services.note_exhausted(name, plan.exhausted.as_deref()) {
            self.touch_group(&group);
        }
        self.queue.set_waiting(name, problem.is_some() || plan.wants_more);
        self.refresh_service_gauges();
        if is_new
            && let Some(problem) = problem
            && let Some(service) = self.services.get(name)
        {
            if let Some(holder) = &plan.holder {
                info!(op = "plan", service = %name, %holder, "{}", problem.text);
            }
            self.publish(service.reference(), problem.clone());
        }
        for remark in self.services.note_remarks(name, plan.remarks.clone()) {
            if let Some(service) = self.services.get(name) {
                self.publish(service.reference(), remark);
            }
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
        match &outcome {
            Outcome::Refused(_) if patch.purpose == Purpose::Fence => self.fencing.put_off(name, self.now),
            // A webhook has taken the annotation off again.
            Outcome::Written(now) if patch.purpose == Purpose::Fence && *now.version == *patch.version() => {
                self.fencing.put_off(name, self.now);
            }
            _ => self.close_fence(name),
        }
        match outcome {
            Outcome::Written(now) => {
                self.events.extend(ended.events);
                self.apply_service(now);
                // Whatever an assignment took off the Service was taken off by us.
                if patch.purpose == Purpose::Assign {
                    self.services.forget_last_given(name);
                }
            }
            Outcome::Conflict(now) => {
                if matches!(patch.purpose, Purpose::Repair | Purpose::Mark) {
                    self.repairs.not_written(name, patch.purpose == Purpose::Mark);
                }
                self.apply_service(now);
            }
            Outcome::Gone => return self.services.reserve_until_gone(name, ended.addresses),
            Outcome::Refused(text) => return self.refused(name, &text),
        }
        self.update_addresses(name);
        self.enqueue(name);
    }

    /// The Service waits, and is planned again with all others that wait.
    fn refused(&mut self, name: &ServiceName, text: &str) {
        self.update_addresses(name);
        self.queue.set_waiting(name, true);
        self.tell_refused(name, text);
    }

    /// A write to the Service was refused.
    pub fn tell_refused(&mut self, name: &ServiceName, text: &str) {
        let Some(service) = self.services.get(name) else { return };
        let object = service.reference();
        let text = format!("Failed to allocate an address for {name}: the API server refuses the write: {text}");
        self.publish(object, Notice::warning(reason::ALLOCATION_FAILED, text));
    }
}

/// Whether the next leader has to be warned of what is about to be done, because the Service does not show it: it
/// gains an address, or a sidecar is asked for more than it has.
fn needs_mark(service: &Service, plan: &Plan) -> bool {
    let gains = gains(service, plan).next().is_some();
    asks_unmarked(service, plan) || !service.written.leader_fence && gains && !expects_address(service)
}

/// Whether a sidecar is to be asked that the Service does not name. What a sidecar does cannot be undone by a fence: whom it
/// may have given something must be known by then.
fn asks_unmarked(service: &Service, plan: &Plan) -> bool {
    plan.requests.iter().any(|(group, _)| !service.written.asked_groups().any(|asked| asked == group))
}

/// Whether the Service has a mark that it does not need any more.
fn has_mark_that_is_over(service: &Service, needed: KeptMarks) -> bool {
    service.written.leader_fence && !needed.fence || service.written.asked_of.is_some() && !needed.asked
}

/// What the write of a plan that only restores consists of.
fn repair_kind(plan: &Plan, about_group: bool) -> RepairKind {
    match (plan.changes(), plan.only_marks) {
        (false, _) if about_group => RepairKind::GroupNote,
        (false, _) => RepairKind::Note,
        (true, true) => RepairKind::Marks,
        (true, false) => RepairKind::Addresses,
    }
}
