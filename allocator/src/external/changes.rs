//! What Services request, hold and release.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::allocation::ExternalAllocation;
use super::allocations::ExternalAllocations;
use super::call::AddressRequest;
use crate::model::Owner;

impl ExternalAllocations {
    fn allocation(&mut self, group: &str, owner: &Owner) -> Option<&mut ExternalAllocation> {
        let group = self.groups.get_mut(group)?;
        Some(group.allocations.entry(owner.clone()).or_default())
    }

    /// A Service requests addresses of a group.
    pub fn request(&mut self, group: &str, owner: &Owner, request: AddressRequest) {
        if let Some(allocation) = self.allocation(group, owner) {
            allocation.request(request);
            self.enqueue(group, owner);
        }
    }

    /// A Service rejects addresses that a sidecar gave. With a reason the whole answer is void, and the request is
    /// repeated later.
    pub fn reject(&mut self, group: &str, owner: &Owner, addresses: &[IpAddr], why: Option<&str>) {
        let now = self.now;
        if let Some(allocation) = self.groups.get_mut(group).and_then(|group| group.allocations.get_mut(owner)) {
            allocation.reject(addresses, why, now);
            self.enqueue(group, owner);
        }
    }

    /// A Service has these addresses by its status. After a restart nothing else is known of it.
    pub fn record_held(&mut self, owner: &Owner, has: &BTreeMap<String, BTreeSet<IpAddr>>) {
        let of_owner = self.groups.values_mut().filter_map(|group| group.allocations.get_mut(owner));
        of_owner.for_each(|allocation| allocation.in_use.clear());
        for (group, addresses) in has {
            if let Some(allocation) = self.allocation(group, owner) {
                allocation.record_held(addresses);
            }
        }
    }

    /// No write to the Service is in flight or needed. It has `needed` of some groups and requests more of others. All
    /// else is given back. Returns the groups with a change in what is to be given back.
    pub fn reconcile(
        &mut self,
        owner: &Owner,
        needed: &BTreeMap<String, BTreeSet<IpAddr>>,
        requests: &[(String, AddressRequest)],
    ) -> Vec<String> {
        let (mut changed, mut kept) = (Vec::new(), Vec::new());
        for (group_name, group) in &mut self.groups {
            let none = BTreeSet::new();
            let needed = needed.get(group_name).unwrap_or(&none);
            let Some(allocation) = group.allocations.get_mut(owner) else { continue };
            let owed_before = allocation.owes_release();
            if requests.iter().any(|(requested, _)| requested == group_name) {
                allocation.release_unneeded(needed);
            } else {
                allocation.keep_only(needed);
            }
            if allocation.owes_release() != owed_before {
                changed.push(group_name.clone());
            }
            if !group.forget_if_over(owner) {
                kept.push(group_name.clone());
            }
        }
        for group in &kept {
            self.enqueue(group, owner);
        }
        changed
    }

    /// A write is in flight that leaves `kept` on the Service. What it takes away is given back when it has succeeded.
    pub fn prepare_release(&mut self, owner: &Owner, kept: &[IpAddr], requests: &[(String, AddressRequest)]) {
        for (group_name, group) in &mut self.groups {
            if let Some(allocation) = group.allocations.get_mut(owner) {
                allocation.prepare_release(requests.iter().any(|(requested, _)| requested == group_name), kept);
            }
        }
    }

    /// A Service is gone: all that it had is given back. `groups` are those that its annotations name. They count even
    /// if nothing else is known of the Service. Returns the groups that have something to give back.
    pub fn release_all<'a>(&mut self, owner: &Owner, groups: impl Iterator<Item = &'a str>) -> Vec<String> {
        for group in groups {
            if let Some(allocation) = self.allocation(group, owner) {
                allocation.assume_sent();
            }
        }
        let mut changed = Vec::new();
        for (group_name, group) in &mut self.groups {
            let Some(allocation) = group.allocations.get_mut(owner) else { continue };
            allocation.release_all();
            group.forget_if_over(owner);
            changed.push(group_name.clone());
        }
        for group in &changed {
            self.enqueue_name(group, &owner.name);
        }
        changed
    }

    /// The sidecar of a group does not list these addresses of a Service, which has this sharing key. It is to register them.
    pub fn restore(&mut self, group: &str, owner: &Owner, addresses: BTreeSet<IpAddr>, key: &str) {
        if let Some(allocation) = self.allocation(group, owner) {
            allocation.restore(addresses, key);
            self.enqueue(group, owner);
        }
    }

    /// An earlier leader may have requested addresses of these groups for this Service, with this sharing key, without
    /// writing them.
    pub fn assume_unanswered<'a>(&mut self, owner: &Owner, key: &str, groups: impl Iterator<Item = &'a str>) {
        for group in groups {
            if let Some(allocation) = self.allocation(group, owner) {
                allocation.assume_unanswered(key);
            }
        }
    }

    /// An earlier leader owed this release: one address, or all.
    pub fn resume_release(&mut self, group: &str, owner: &Owner, address: Option<IpAddr>) {
        if let Some(allocation) = self.allocation(group, owner) {
            allocation.resume_release(address);
            self.enqueue(group, owner);
        }
    }
}
