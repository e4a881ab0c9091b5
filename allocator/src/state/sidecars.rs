//! External allocations: calls to sidecars, their answers, and what is given back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::names::reason;
use runtime::BootTime;

use super::index::Index;
use crate::external::{Call, CallError, Effects, Response};
use crate::model::{Scope, ServiceName};
use crate::plan::{Notice, Plan};

impl Index {
    /// The next call to a sidecar, if there is any.
    pub fn next_call(&mut self, now: BootTime) -> Option<Call> {
        if self.leading { self.external.next_call(now) } else { None }
    }

    /// Takes in the answer to a call of [`next_call`](Self::next_call).
    pub fn call_answered(&mut self, call: &Call, result: &Result<Response, CallError>, now: BootTime) {
        let Effects { services, groups, release_failed } = self.external.answered(call, result, now);
        for name in services {
            self.enqueue(&name);
        }
        for group in groups {
            self.touch_group(&group);
        }
        if let Some((group, name, why)) = release_failed {
            self.report_failed_release(&group, &name, &why);
        }
    }

    fn report_failed_release(&mut self, group: &str, name: &ServiceName, why: &str) {
        let object = match self.services.get(name) {
            Some(service) => service.reference(),
            None => match self.groups.table().id_of(group) {
                Some(id) => self.groups.reference(id),
                None => return,
            },
        };
        let text = format!(
            "the IPAM sidecar of pool {group:?} does not take back the addresses of {name}: {why}; the allocator tries again until it does"
        );
        self.publish(object, Notice::warning(reason::RELEASE_FAILED, text));
    }

    /// Whether a successor need not know of anything that is under way with a sidecar.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.external.is_quiet()
    }

    /// Takes over the external groups of the table, and the releases that an earlier leader owed to new ones.
    pub(super) fn take_over_external_groups(&mut self) {
        for group in self.external.set_groups(self.groups.table()) {
            self.resume_releases(&group);
        }
    }

    /// Forgets all external allocations but the releases that an earlier leader owed.
    pub(super) fn restart_external(&mut self) {
        self.external.clear(self.groups.table());
        let groups: Vec<String> = self.groups.table().accepted().map(|(_, group)| group.name.clone()).collect();
        for group in groups {
            self.resume_releases(&group);
        }
    }

    /// Resumes the releases that the status of the group lists.
    fn resume_releases(&mut self, group: &str) {
        let object = self.groups.table().id_of(group).and_then(|id| self.groups.object(id));
        let status = object.and_then(|object| object.status.as_ref());
        let pending = status.map(|status| status.pending_releases.clone()).unwrap_or_default();
        for release in pending {
            let Some((namespace, name)) = release.service.split_once('/') else { continue };
            let name = ServiceName::new(namespace, name);
            let address: Option<IpAddr> = release.address.as_deref().and_then(|text| text.parse().ok());
            if release.address.is_some() && address.is_none() {
                continue;
            }
            // The status may be older than the Service, which may have got the address again.
            let in_use = self.services.get(&name).is_some_and(|service| {
                let from_group = service.addresses.iter().filter(|held| service.written_group(**held) == Some(group));
                from_group.copied().any(|held| address.is_none_or(|address| held == address))
            });
            if !in_use {
                self.external.resume_release(group, &name, address);
            }
        }
    }

    /// Records what a plan requests and rejects of external groups. If nothing is to be written, the Service is at rest
    /// and everything that it does not need is given back.
    pub(super) fn record_external(&mut self, name: &ServiceName, plan: &Plan, at_rest: bool) {
        if self.external.is_empty() {
            return;
        }
        for (group, request) in &plan.requests {
            self.external.request(group, name, request.clone());
        }
        for rejection in &plan.rejections {
            self.external.reject(&rejection.group, name, &rejection.addresses, rejection.why.as_deref());
        }
        let Some(service) = self.services.get(name) else { return };
        if service.scope == Scope::Ignored {
            return;
        }
        let mut held: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
        if service.scope == Scope::Ours && service.written.by_us {
            for &address in &service.addresses {
                if let Some(group) = service.written_group(address) {
                    held.entry(group).or_default().insert(address);
                }
            }
        }
        self.external.record_held(name, &held);
        if !at_rest {
            return self.external.prepare_release(name, &plan.addresses, &plan.requests);
        }
        for group in self.external.reconcile(name, &held, &plan.requests) {
            self.touch_group(&group);
        }
    }

    /// A Service is gone. `groups` are those that its annotations name.
    pub(super) fn release_all_external<'a>(&mut self, name: &ServiceName, groups: impl Iterator<Item = &'a str>) {
        if self.leading {
            for group in self.external.release_all(name, groups) {
                self.touch_group(&group);
            }
        }
    }

    fn touch_group(&mut self, group: &str) {
        if let Some(id) = self.groups.table().id_of(group).cloned() {
            self.status.touch(id);
        }
    }
}
