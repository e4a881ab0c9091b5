//! Several owners of one name: a Service that was deleted, and the one that was made anew under its name.
//!
//! A sidecar that keeps allocations by UID has one for each of them. An older one has a single allocation for the name:
//! whoever asks next is given what the predecessor had, and giving that back would take it from the living Service. So
//!
//! - the calls for all owners of a name go one after the other;
//! - what a predecessor owes is given back before the new one asks, unless the sidecar has refused that: the living
//!   Service's wish counts more;
//! - once the living one was given something, what a predecessor owes is settled, unless the sidecar keeps owners.

use super::allocation::ExternalAllocation;
use super::allocations::{ExternalAllocations, ExternalGroup};
use super::call::Request;
use crate::model::{Owner, ServiceName};

impl ExternalGroup {
    /// All owners of the name.
    fn owners(&self, name: &ServiceName) -> impl Iterator<Item = (&Owner, &ExternalAllocation)> {
        self.allocations.range(Owner::first(name)..).take_while(move |(owner, _)| owner.name == *name)
    }

    fn others(&self, owner: &Owner) -> impl Iterator<Item = (&Owner, &ExternalAllocation)> {
        self.owners(&owner.name).filter(move |(other, _)| *other != owner)
    }

    /// Whether the call has to wait for what another owner of the name does.
    pub(super) fn is_blocked(&self, owner: &Owner, request: &Request) -> bool {
        self.others(owner).any(|(_, other)| {
            other.is_in_flight()
                || match request {
                    Request::Allocate(..) | Request::Restore(..) => self.goes_first(other),
                    Request::Release(..) => other.is_living() && self.keeps_owners != Some(true),
                    Request::Stats | Request::List(_) => false,
                }
        })
    }

    /// Whether what another owner of the name owes is given back before anything is asked for. One that keeps owners may be
    /// slow with it: what it does then is about that owner.
    fn goes_first(&self, other: &ExternalAllocation) -> bool {
        let is_slow = self.keeps_owners == Some(true) && other.release_failure().is_some();
        other.owes_unrefused_release() && !is_slow
    }

    /// Whether the Service asks for nothing until a release is answered that has failed before.
    pub(super) fn waits_for_release(&self, owner: &Owner) -> bool {
        let waits = |(other, allocation): (&Owner, &ExternalAllocation)| {
            let is_first =
                if other == owner { allocation.owes_unrefused_release() } else { self.goes_first(allocation) };
            is_first && allocation.release_failure().is_some()
        };
        self.owners(&owner.name).any(waits)
    }

    /// What the sidecar has not taken back from an earlier Service of the name, or from this one, as a sentence.
    pub(super) fn debt(&self, owner: &Owner) -> Option<String> {
        let (whose, why) = self.owners(&owner.name).find_map(|(other, allocation)| {
            let whose = if other == owner { "what the Service had" } else { "what an earlier Service of its name had" };
            Some((whose, allocation.release_failure()?))
        })?;
        Some(format!("{owner} waits until {whose} is given back; the sidecar says: {why}"))
    }

    /// Settles what earlier owners of the name owe, if the living one has it now. Returns whether there was anything.
    fn settle(&mut self, name: &ServiceName) -> bool {
        if self.keeps_owners != Some(false) {
            return false;
        }
        let living = self.owners(name).find(|(_, allocation)| allocation.is_living()).map(|(owner, _)| owner.clone());
        let Some(living) = living else { return false };
        let is_settled = |(_, other): &(&Owner, &ExternalAllocation)| other.owes_release() && !other.is_in_flight();
        let settled: Vec<Owner> = self.others(&living).filter(is_settled).map(|(owner, _)| owner.clone()).collect();
        let any = !settled.is_empty();
        for owner in settled {
            if let Some(gone) = self.allocations.remove(&owner)
                && let Some(living) = self.allocations.get_mut(&living)
            {
                living.inherit(gone.held);
            }
        }
        any
    }
}

impl ExternalAllocations {
    /// Something about an owner of the name has changed, for which the others may have waited. Returns whether a living
    /// Service now has what another one owed.
    pub(super) fn enqueue_name(&mut self, group_name: &str, name: &ServiceName) -> bool {
        let Some(group) = self.groups.get_mut(group_name) else { return false };
        let settled = group.settle(name);
        let owners: Vec<Owner> = group.owners(name).map(|(owner, _)| owner.clone()).collect();
        for owner in owners {
            self.enqueue(group_name, &owner);
        }
        settled
    }

    /// The sidecar of the group has said whether it keeps owners. Returns the names of living Services that now have what
    /// another one owed.
    pub(super) fn enqueue_names(&mut self, group_name: &str) -> Vec<ServiceName> {
        let owners = self.groups.get(group_name).into_iter().flat_map(|group| group.allocations.keys());
        let mut names: Vec<ServiceName> = owners.map(|owner| owner.name.clone()).collect();
        names.dedup();
        names.retain(|name| self.enqueue_name(group_name, name));
        names
    }
}
