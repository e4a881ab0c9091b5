//! External allocations: calls to sidecars, their answers, and what is given back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::names::reason;
use runtime::BootTime;

use super::index::Index;
use crate::external::{Call, CallError, Effects, Response};
use crate::model::{Owner, Scope, Service, ServiceName};
use crate::plan::{Notice, Plan, sidecar_group};

impl Index {
    /// The next call to a sidecar, if there is any.
    pub fn next_call(&mut self, now: BootTime) -> Option<Call> {
        if !self.leading {
            return None;
        }
        for group in self.external.refresh(now) {
            self.touch_group(&group);
        }
        self.external.next_call(now)
    }

    /// Takes in the answer to a call of [`next_call`](Self::next_call).
    pub fn call_answered(&mut self, call: &Call, result: &Result<Response, CallError>, now: BootTime) {
        let Effects { services, groups, release_failed, restore_refused, listing } =
            self.external.answered(call, result, now);
        for name in services {
            self.enqueue(&name);
        }
        for group in groups {
            self.touch_group(&group);
        }
        if let Some((group, owner, why)) = release_failed {
            self.report_failed_release(&group, &owner, &why);
        }
        if let Some((group, owner, why)) = restore_refused {
            self.report_refused_restore(&group, &owner, &why);
        }
        if let Some((group, listing)) = listing {
            self.compare_with_sidecar(&group, &listing);
        }
    }

    fn report_failed_release(&mut self, group: &str, owner: &Owner, why: &str) {
        let object = match self.services.get(&owner.name).filter(|service| *service.uid == *owner.uid) {
            Some(service) => service.reference(),
            None => match self.groups.table().id_of(group) {
                Some(id) => self.groups.reference(id),
                None => self.record_reference(),
            },
        };
        let text = format!(
            "the IPAM sidecar of pool {group:?} does not take back the addresses of {owner}: {why}; the allocator tries again until it does"
        );
        self.publish(object, Notice::warning(reason::RELEASE_FAILED, text));
    }

    /// Whether a successor need not know of anything that is under way with a sidecar.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.external.is_quiet()
    }

    /// Takes over the external groups of the table.
    pub(super) fn take_over_external_groups(&mut self) {
        let moved = self.external.set_groups(self.groups.table());
        if self.leading {
            self.report_moved(&moved);
        }
    }

    /// Forgets all external allocations. Calls are sent when it is known what an earlier leader owed.
    pub(super) fn restart_external(&mut self) {
        self.external.clear(self.groups.table());
    }

    /// Records what a plan requests and rejects of external groups. If nothing is to be written, the Service is at rest
    /// and everything that it does not need is given back.
    pub(super) fn record_external(&mut self, name: &ServiceName, plan: &Plan, at_rest: bool) {
        if self.external.is_empty() {
            return;
        }
        let Some(service) = self.services.get(name) else { return };
        let owner = Owner::from(service);
        for (group, request) in &plan.requests {
            self.external.request(group, &owner, request.clone());
        }
        for rejection in &plan.rejections {
            self.external.reject(&rejection.group, &owner, &rejection.addresses, rejection.why.as_deref());
            if rejection.addresses.iter().any(|address| self.is_forgotten(&rejection.group, name, *address)) {
                self.external.compare_soon(&rejection.group);
            }
        }
        let Some(service) = self.services.get(name) else { return };
        // Without our marks it is not known what the Service has of which group.
        let has_marks = service.provenance.list.is_some() || service.written.by_us;
        let is_unmarked = service.scope == Scope::Ours && !has_marks && !service.addresses.is_empty();
        if matches!(service.scope, Scope::Ignored | Scope::NoClass) || is_unmarked {
            return;
        }
        let held = self.held_by_group(service);
        self.external.record_held(&owner, &held);
        if !at_rest {
            // What it has from a range is no sidecar's.
            let table = self.groups.table();
            let is_external = |address: &&IpAddr| {
                table.group_of(**address).is_none()
                    || sidecar_group(table, &self.external, service, **address).is_some()
            };
            let kept: Vec<IpAddr> = plan.addresses.iter().filter(is_external).copied().collect();
            return self.external.prepare_release(&owner, &kept, &plan.requests);
        }
        for group in self.external.reconcile(&owner, &held, &plan.requests) {
            self.touch_group(&group);
        }
    }

    /// Whether a sidecar gave the Service what it gave another one before, which has it: it has forgotten that, and will
    /// give it again and again. What Services share by a key it gives to all of them.
    fn is_forgotten(&self, group: &str, name: &ServiceName, address: IpAddr) -> bool {
        let key = self.services.get(name).and_then(Service::key);
        let others = self.addresses.holders(address).iter().filter(|holder| *holder != name);
        others.filter_map(|holder| self.services.get(holder)).any(|other| {
            let is_of_group = self.external.group_of(&Owner::from(other), address) == Some(group);
            is_of_group && (key.is_none() || other.key() != key)
        })
    }

    /// A Service is gone. `groups` are those that its annotations name.
    pub(super) fn release_all_external<'a>(&mut self, owner: &Owner, groups: impl Iterator<Item = &'a str>) {
        if self.leading {
            for group in self.external.release_all(owner, groups) {
                self.touch_group(&group);
            }
        }
    }

    pub(super) fn touch_group(&mut self, group: &str) {
        if let Some(id) = self.groups.table().id_of(group).cloned() {
            self.status.touch(id);
        }
    }

    /// What the Service has of which group, as plans see it: what it has from a sidecar stays that one's. Another address of a
    /// range is the group's whose range it is, whatever a sidecar gave. Of others, what this process knows counts more than
    /// the annotation, which anybody may edit.
    pub(super) fn held_by_group(&self, service: &Service) -> BTreeMap<String, BTreeSet<IpAddr>> {
        let owner = Owner::from(service);
        let mut held: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
        if service.scope != Scope::Ours {
            return held;
        }
        for &address in service.addresses.iter().chain(service.claimed()) {
            let shown = service.written.by_us && service.addresses.contains(&address);
            let written = || service.written_group(address).filter(|_| shown);
            let recorded_or_written = || self.external.group_of(&owner, address).or_else(written);
            let in_range = self.groups.table().group_of(address).map(|(group, _)| group.name.as_str());
            let from_sidecar = sidecar_group(self.groups.table(), &self.external, service, address);
            if let Some(group) = from_sidecar.or(in_range).or_else(recorded_or_written) {
                held.entry(group.to_owned()).or_default().insert(address);
            }
        }
        held
    }
}
