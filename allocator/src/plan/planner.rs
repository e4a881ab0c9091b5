//! Which way of allocation applies to a Service, and the parts that all ways have in common.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api_types::names::reason;
use api_types::{Announce, Family, Group};

use super::allocation::{Allocation, Basis, sidecar_group};
use super::failure::Failure;
use super::outcome::{AnnotationChange, Measurement, Notice, Plan, Snapshot};
use super::release::release;
use super::select::{Denied, Selection, select_groups};
use crate::model::{FamilyPolicy, Owner, Scope, Service, is_external};

/// What the state remembers of a Service.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory<'a> {
    /// Addresses that it must give up because another Service has the better right to them.
    pub lost: &'a [IpAddr],
    /// What it had been given before somebody emptied its status and removed our marks.
    pub last_given: &'a [IpAddr],
    /// Addresses that it may share with others, and how these announce them.
    pub kinds: &'a [(IpAddr, Announce)],
    /// Addresses that its hint names and only copies show that come after it.
    pub before_copies: &'a [IpAddr],
}

/// Plans a Service.
#[must_use]
pub fn plan<'a>(snapshot: Snapshot<'a>, service: &'a Service, memory: Memory<'a>) -> Plan {
    match service.scope {
        Scope::Ignored => {
            let remarks = vec![reserved_name(service)];
            return Plan { remarks, ..Plan::unchanged(service) };
        }
        Scope::NoClass => return Plan::unchanged(service),
        Scope::OtherClass => {
            let written = service.written.any || service.written.leader_fence;
            let annotations = if written { AnnotationChange::RemoveAll } else { AnnotationChange::Keep };
            return Plan { annotations, ..Plan::unchanged(service) };
        }
        Scope::Ours if !service.has_cluster_ip && !service.deleting => return Plan::unchanged(service),
        Scope::Ours | Scope::Released => {}
    }
    let allocation = Allocation::of(&snapshot, service, memory.last_given);
    if allocation.basis == Basis::Undecided {
        return Plan::unchanged(service);
    }
    if service.deleting {
        return release(service, &allocation, "because the Service is being deleted");
    }
    if service.scope == Scope::Released {
        return release(service, &allocation, "as the annotation purelb.io/release asks");
    }
    let remarks: Vec<Notice> = allocation.foreign_remark().into_iter().chain(general_remarks(service)).collect();
    if allocation.is_foreign() && !service.requested.re_evaluate {
        return Plan { remarks, ..Plan::unchanged(service) };
    }
    let mut planner = Planner::new(snapshot, service, allocation, memory);
    planner.decide();
    let affinity = planner.affinity_remark();
    let mut plan = planner.finish();
    plan.remarks.extend(affinity);
    if plan.ingress.is_none() {
        plan.remarks.extend(remarks);
    }
    plan
}

/// What to tell about a Service that is never served.
fn reserved_name(service: &Service) -> Notice {
    let text = format!(
        "{} gets no address: Services of this name are the cluster's own and never served; make another Service for the same pods",
        service.name
    );
    Notice::warning(reason::CONFIGURATION_WARNING, text)
}

/// What to tell about settings that have no effect, or less than they seem to.
fn general_remarks(service: &Service) -> impl Iterator<Item = Notice> {
    let requested = &service.requested;
    let released = requested.release.then_some(
        "the annotation purelb.io/release has no effect on a Service whose spec.loadBalancerClass is ours: its type or class decides",
    );
    let unspecified = (requested.has_unspecified_ip() && requested.addresses.is_none()).then(|| {
        let writer = service.writers.load_balancer_ip.as_deref();
        let writer = writer.map_or_else(String::new, |writer| format!(", written by {writer:?},"));
        format!("spec.loadBalancerIP{writer} is the unspecified address and names none; remove it, or use the annotation purelb.io/addresses")
    });
    let texts = released.map(str::to_owned).into_iter().chain(unspecified);
    texts.map(|text| Notice::warning(reason::CONFIGURATION_WARNING, text))
}

/// An address that is assigned to the Service, and its group.
#[derive(Debug, Clone)]
pub(super) struct Assignment<'a> {
    pub(super) address: IpAddr,
    pub(super) group: &'a Group,
}

/// Plans one Service.
pub(super) struct Planner<'a> {
    pub(super) snapshot: Snapshot<'a>,
    pub(super) service: &'a Service,
    /// What the Service has been given so far.
    pub(super) allocation: Allocation,
    /// The same, without what it must give up.
    pub(super) held: Vec<IpAddr>,
    /// How others announce addresses that the Service may share with them.
    pub(super) kinds: &'a [(IpAddr, Announce)],
    /// Addresses that its hint names and only copies show that come after it.
    before_copies: &'a [IpAddr],
    /// The groups of newly assigned addresses.
    pub(super) assigned: BTreeMap<IpAddr, &'a Group>,
    pub(super) plan: Plan,
}

impl<'a> Planner<'a> {
    fn new(snapshot: Snapshot<'a>, service: &'a Service, allocation: Allocation, memory: Memory<'a>) -> Self {
        let lost = memory.lost;
        let held = allocation.addresses.iter().copied().filter(|address| !lost.contains(address)).collect();
        let plan = Plan { clear_re_evaluate: service.requested.re_evaluate, ..Plan::default() };
        let Memory { kinds, before_copies, .. } = memory;
        Self { snapshot, service, allocation, held, kinds, before_copies, assigned: BTreeMap::new(), plan }
    }

    /// Whether the others that show an address of the hint are copies that come after this Service.
    pub(super) fn is_before_copies(&self, address: IpAddr) -> bool {
        self.before_copies.contains(&address)
    }

    fn decide(&mut self) {
        match self.requested_addresses() {
            Ok(Some(requested)) => self.pinned(&requested),
            // A Service that has all it wants is left alone, whatever its annotations say by now.
            Err(_) if self.is_complete() => self.plan.addresses.clone_from(&self.held),
            Err(failure) => self.fail(&failure),
            Ok(None) if self.is_multi_pool() => self.multi_pool(),
            Ok(None) => self.single(),
        }
    }

    /// What to tell about `sessionAffinity: ClientIP` on an address that routers spread over all nodes.
    fn affinity_remark(&self) -> Option<Notice> {
        let is_routed =
            |address: &IpAddr| self.group_of(*address).is_some_and(|group| group.announce == Announce::SubnetOrRouted);
        let routed = self.plan.addresses.iter().find(|address| is_routed(address))?;
        let text = format!(
            "spec.sessionAffinity: ClientIP holds on each node by itself: routers may send connections of one client to {routed} by several nodes, and so to several pods; use a local group, or hash by source address at the router"
        );
        self.service.requested.session_affinity.then(|| Notice::normal(reason::CONFIGURATION_WARNING, text))
    }

    /// The groups that may serve the Service.
    pub(super) fn selection(&self) -> Result<Selection<'a>, Denied> {
        let (groups, bindings) = (self.snapshot.groups, self.snapshot.bindings);
        select_groups(groups, bindings, self.service.name.namespace(), self.service.requested.groups.as_deref())
    }

    /// Whether the Service has an address of every family that it wants, none of another family, and does not ask for a
    /// new allocation.
    pub(super) fn is_complete(&self) -> bool {
        !self.service.requested.re_evaluate
            && !self.held.is_empty()
            && self.held.len() == self.allocation.addresses.len()
            && self.service.families.iter().all(|family| self.has(*family))
            && self.held.iter().all(|address| self.wants(*address))
    }

    /// Whether the address is of a family that the Service wants.
    pub(super) fn wants(&self, address: IpAddr) -> bool {
        self.service.families.is_empty() || self.service.families.contains(&Family::of(address))
    }

    /// Whether the Service holds an address of the family.
    pub(super) fn has(&self, family: Family) -> bool {
        self.held.iter().any(|&address| Family::of(address) == family)
    }

    /// The addresses that the Service holds, of families that it wants.
    pub(super) fn kept(&self) -> Vec<IpAddr> {
        self.held.iter().copied().filter(|address| self.wants(*address)).collect()
    }

    /// Whether one family is enough.
    pub(super) fn prefers_dual_stack(&self) -> bool {
        self.service.policy == FamilyPolicy::Prefer
    }

    /// Sets the addresses of the plan; `new` are those among them that the Service did not have.
    pub(super) fn assign(&mut self, addresses: Vec<IpAddr>, new: &[Assignment<'a>]) {
        self.plan.addresses = addresses;
        for Assignment { address, group } in new {
            self.assigned.insert(*address, group);
            let text = format!("Assigned {address} from pool {:?}", group.name);
            self.plan.notices.push(Notice::normal(reason::ADDRESS_ASSIGNED, text));
        }
    }

    /// The Service keeps what it may keep and gets nothing new.
    pub(super) fn fail(&mut self, failure: &Failure) {
        self.plan.addresses = self.kept();
        let text = format!("Failed to allocate an address for {}: {failure}", self.service.name);
        self.plan.problem = Some(Notice::warning(reason::ALLOCATION_FAILED, text));
        self.plan.holder = failure.holder().cloned();
        self.plan.exhausted = failure.exhausted_group().map(str::to_owned);
        let requested = self.service.requested.groups.as_deref().unwrap_or("<none>").to_owned();
        self.plan.measurements.extend(failure.pool_measurement());
        self.plan.measurements.push(Measurement::Rejected(requested, failure.metric()));
    }

    /// The group of an address of the Service: that of a new assignment, that of the sidecar that gave what the Service has,
    /// the group whose range contains it, or, for another address from a sidecar, the one that this process recorded, or
    /// else the group in `allocated-from`.
    pub(super) fn group_of(&self, address: IpAddr) -> Option<&'a Group> {
        if let Some(group) = self.assigned.get(&address) {
            return Some(group);
        }
        let (groups, external) = (self.snapshot.groups, self.snapshot.external);
        let from_sidecar = sidecar_group(groups, external, self.service, address).and_then(|name| groups.get(name));
        if let Some(group) = from_sidecar.filter(|group| is_external(group)) {
            return Some(group);
        }
        let recorded = self.snapshot.external.group_of(&Owner::from(self.service), address);
        let written = || recorded.or_else(|| self.service.written_group(address)).and_then(|name| groups.get(name));
        groups.group_of(address).map(|(group, _)| group).or_else(|| written().filter(|group| is_external(group)))
    }
}
