//! What to do and to tell when a sidecar does not have for the Services what they have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::names::reason;
use tracing::{info, warn};

use super::condition::join_first;
use super::index::Index;
use crate::external::{Differences, Listing};
use crate::model::{Owner, Service};
use crate::plan::Notice;

/// The most items that a message lists. The log has all of them.
const LISTED: usize = 20;

impl Index {
    /// Compares what the sidecar of a group lists with the Services. What belongs to none of them is given back: a Service
    /// that was deleted while no allocator ran, or whose release was lost with its process.
    pub(super) fn compare_with_sidecar(&mut self, group: &str, listing: &Listing) {
        let services = &self.services;
        let is_living = |owner: &Owner| services.get(&owner.name).is_some_and(|service| *service.uid == *owner.uid);
        let Differences { mut unowned, mut surplus, mut missing } = self.external.compare(group, listing, is_living);
        if self.is_fencing() {
            // What some Services have is not known yet.
            surplus.clear();
            missing.clear();
        }
        let misnamed: Vec<Owner> = unowned.extract_if(.., |owner| self.is_misnamed(owner, listing)).collect();
        for owner in &unowned {
            info!(op = "ipam", pool = group, service = %owner, uid = %owner.uid, "belongs to no Service, is given back");
            self.external.resume_release(group, owner, None);
        }
        // What a Service shows is no difference, whatever is known of it, unless it has that from a range of another group.
        surplus.retain(|(owner, address)| {
            self.groups.table().group_of(*address).is_some() || !self.addresses.held_by(&owner.name).contains(address)
        });
        // What another Service has is given back by a sidecar only that tells their owners apart.
        let keeps_owners = self.external.keeps_owners(group);
        let (unused, surplus): (Vec<_>, Vec<_>) =
            surplus.into_iter().partition(|(_, address)| keeps_owners || self.addresses.holders(*address).is_empty());
        for (owner, address) in &unused {
            info!(op = "ipam", pool = group, service = %owner, %address, "no Service has it, is given back");
            self.external.resume_release(group, owner, Some(*address));
        }
        let mut to_restore: BTreeMap<&Owner, BTreeSet<IpAddr>> = BTreeMap::new();
        for (owner, address) in &missing {
            to_restore.entry(owner).or_default().insert(*address);
        }
        for (owner, addresses) in to_restore {
            let key = self.services.get(&owner.name).and_then(Service::key).map(ToString::to_string);
            self.external.restore(group, owner, addresses, &key.unwrap_or_default());
        }
        let text_of = |(owner, address): &(Owner, IpAddr)| format!("{address} of {owner}");
        for (found, what) in [(&surplus, "the Service does not have it"), (&missing, "the sidecar does not list it")] {
            for (owner, address) in found {
                warn!(op = "ipam", pool = group, service = %owner, %address, "{what}");
            }
        }
        let parts = [
            (
                unowned.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "it has addresses for Services that do not exist, which are given back",
            ),
            (
                misnamed.iter().map(ToString::to_string).collect(),
                "it lists what Services have for other UIDs than theirs, which is not given back: let the sidecar keep the UIDs of requests",
            ),
            (missing.iter().map(text_of).collect(), "it does not list what Services have, which is registered again"),
            (
                unused.iter().map(text_of).collect(),
                "it has addresses that their Services do not have, which are given back",
            ),
            (
                surplus.iter().map(text_of).collect(),
                "it has addresses for Services that do not have them, and other Services do: correct the IPAM",
            ),
        ];
        let parts = parts.into_iter().filter(|(items, _)| !items.is_empty());
        let parts: Vec<String> =
            parts.map(|(items, what)| format!("{what}: {}", join_first(items, LISTED, ", "))).collect();
        let Some(id) = self.groups.table().id_of(group).cloned().filter(|_| !parts.is_empty()) else { return };
        let text = format!("the IPAM sidecar of pool {group:?} differs from the Services: {}", parts.join("; "));
        self.publish(self.groups.reference(&id), Notice::warning(reason::IPAM_DIFFERS, text));
        self.status.touch(id);
    }

    /// Whether a Service of the name has what is listed for another UID, and nothing is listed for its own.
    fn is_misnamed(&self, owner: &Owner, listing: &Listing) -> bool {
        let Some(living) = self.services.get(&owner.name).map(Owner::from) else { return false };
        let of = |wanted: &Owner| listing.found.iter().find(|listed| listed.owner == *wanted);
        let held = self.addresses.held_by(&owner.name);
        of(&living).is_none() && of(owner).is_some_and(|listed| held.iter().any(|it| listed.addresses.contains(it)))
    }

    /// The sidecar does not register what a Service has, and may give it to others.
    pub(super) fn report_refused_restore(&mut self, group: &str, owner: &Owner, why: &str) {
        warn!(op = "ipam", pool = group, service = %owner, why, "the sidecar does not register what the Service has");
        let Some(service) = self.services.get(&owner.name) else { return };
        let text = format!(
            "the IPAM sidecar of pool {group:?} does not have what the Service has, and does not register it: {why}; the Service keeps it, but the sidecar may give it to others: correct the IPAM"
        );
        self.publish(service.reference(), Notice::warning(reason::IPAM_DIFFERS, text));
    }
}
