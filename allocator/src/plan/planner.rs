//! Which way of allocation applies to a Service, and the parts that all ways have in common.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api_types::names::reason;
use api_types::{Family, Group};

use super::failure::Failure;
use super::outcome::{AnnotationChange, Measurement, Notice, Plan, Snapshot};
use super::select::{Denied, Selection, select_groups};
use crate::model::{FamilyPolicy, Scope, Service, is_external};

/// Plans a Service. `lost` are addresses that it must give up because another Service has the better right to them.
#[must_use]
pub fn plan(snapshot: Snapshot<'_>, service: &Service, lost: &[IpAddr]) -> Plan {
    match service.scope {
        Scope::Ignored => return Plan::unchanged(service),
        Scope::OtherClass => {
            let written = service.written.any || service.written.leader_fence;
            let annotations = if written { AnnotationChange::RemoveAll } else { AnnotationChange::Keep };
            return Plan { annotations, ..Plan::unchanged(service) };
        }
        Scope::Ours if !service.has_cluster_ip => return Plan::unchanged(service),
        Scope::Ours => {}
    }
    let ours =
        service.written.by_us || service.addresses.iter().any(|&address| snapshot.groups.group_of(address).is_some());
    if !ours && !service.addresses.is_empty() {
        // Another controller gave it addresses that lie in none of our groups.
        return Plan::unchanged(service);
    }
    Planner::new(snapshot, service, lost).plan()
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
    /// The addresses of the Service, without those that it must give up.
    pub(super) held: Vec<IpAddr>,
    /// The groups of newly assigned addresses.
    pub(super) assigned: BTreeMap<IpAddr, &'a Group>,
    pub(super) plan: Plan,
}

impl<'a> Planner<'a> {
    fn new(snapshot: Snapshot<'a>, service: &'a Service, lost: &[IpAddr]) -> Self {
        let held = service.addresses.iter().copied().filter(|address| !lost.contains(address)).collect();
        let plan = Plan { clear_re_evaluate: service.requested.re_evaluate, ..Plan::default() };
        Self { snapshot, service, held, assigned: BTreeMap::new(), plan }
    }

    fn plan(mut self) -> Plan {
        match self.requested_addresses() {
            Ok(Some(requested)) => self.pinned(&requested),
            // A Service that has all it wants is left alone, whatever its annotations say by now.
            Err(_) if self.is_complete() => self.plan.addresses.clone_from(&self.held),
            Err(failure) => self.fail(&failure),
            Ok(None) if self.is_multi_pool() => self.multi_pool(),
            Ok(None) => self.single(),
        }
        self.finish()
    }

    fn finish(mut self) -> Plan {
        self.plan.annotations = self.annotations().map_or(AnnotationChange::Keep, AnnotationChange::Set);
        let dropped: Vec<String> = self
            .service
            .addresses
            .iter()
            .filter(|address| !self.plan.addresses.contains(address))
            .map(ToString::to_string)
            .collect();
        if !dropped.is_empty() {
            let text = format!("Released {}", dropped.join(", "));
            self.plan.notices.push(Notice::normal(reason::ADDRESS_RELEASED, text));
        }
        self.plan
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
            && self.held.len() == self.service.addresses.len()
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
        let requested = self.service.requested.groups.as_deref().unwrap_or("<none>").to_owned();
        self.plan.measurements.extend(failure.pool_measurement());
        self.plan.measurements.push(Measurement::Rejected(requested, failure.metric()));
    }

    /// The group of an address of the Service: that of a new assignment, the group whose range contains it, or, for an
    /// address from a sidecar, the group in `allocated-from`.
    pub(super) fn group_of(&self, address: IpAddr) -> Option<&'a Group> {
        if let Some(group) = self.assigned.get(&address) {
            return Some(group);
        }
        let groups = self.snapshot.groups;
        let written = || self.service.written_group(address).and_then(|name| groups.get(name));
        groups.group_of(address).map(|(group, _)| group).or_else(|| written().filter(|group| is_external(group)))
    }
}
