//! The annotations that go with the addresses (specification, allocation.md 9, api.md 5.2).

use std::net::IpAddr;

use api_types::Announce;

use super::outcome::AllocationAnnotations;
use super::planner::Planner;

impl Planner<'_> {
    /// The annotations for the addresses of the plan; `None` if those on the Service may stay.
    pub(super) fn annotations(&self) -> Option<AllocationAnnotations> {
        let (written, addresses) = (&self.service.written, &self.plan.addresses);
        if addresses.is_empty() {
            // The agents remove their own annotations themselves.
            let any = written.by_us || written.groups.is_some() || written.pool_type.is_some() || written.list;
            // Marks of another object stay as a hint until an address is given, and all marks until a sidecar has answered.
            let may_follow = self.service.provenance.for_another || !self.plan.requests.is_empty();
            if self.allocation.addresses.is_empty() && (may_follow || !self.service.addresses.is_empty()) {
                return None;
            }
            return any.then_some(AllocationAnnotations { groups: None, pool_type: None, skip_ipv6_dad: false });
        }
        let unchanged = *addresses == self.allocation.addresses;
        let listed = self.service.provenance.list.as_ref() == Some(addresses);
        let complete = written.by_us && written.groups.is_some() && written.pool_type.is_some();
        if unchanged && listed && complete && !self.has_other_group(addresses) {
            return None;
        }
        let skip_ipv6_dad =
            addresses.iter().any(|&address| self.group_of(address).is_some_and(|group| group.skip_ipv6_dad));
        let wanted = AllocationAnnotations {
            groups: self.allocated_from(addresses),
            pool_type: self.pool_type(addresses),
            skip_ipv6_dad,
        };
        let known = AllocationAnnotations {
            groups: written.groups.as_deref().map(str::to_owned),
            pool_type: written.pool_type,
            skip_ipv6_dad: written.skip_ipv6_dad,
        };
        // An address whose group is gone may lack an annotation that nothing can restore. That is no reason to write.
        (!unchanged || !listed || !written.by_us || wanted != known).then_some(wanted)
    }

    /// Whether an address lies in the range of another group than the one that the Service names: a group was renamed, or
    /// its range went to another.
    fn has_other_group(&self, addresses: &[IpAddr]) -> bool {
        addresses.iter().any(|&address| {
            let found = self.group_of(address).map(|group| group.name.as_str());
            found.is_some() && found != self.service.written_group(address)
        })
    }

    /// The names of the groups: one name if it holds for all addresses and none is pinned, else one for each address.
    fn allocated_from(&self, addresses: &[IpAddr]) -> Option<String> {
        let names: Vec<String> = addresses.iter().filter_map(|&address| self.group_name(address)).collect();
        let pinned = self.service.requested.pins().is_some();
        match names.as_slice() {
            [] => None,
            [first, rest @ ..] if !pinned && rest.iter().all(|name| name == first) => Some(first.clone()),
            names => Some(names.join(", ")),
        }
    }

    /// The pool type of the first address. It stays as long as that address does, whatever becomes of the group. An address
    /// that others have as well keeps theirs: it must not be announced in two ways.
    fn pool_type(&self, addresses: &[IpAddr]) -> Option<Announce> {
        let written = self.service.written.pool_type;
        let keeps_first = addresses.first() == self.allocation.addresses.first();
        let in_use = self.kinds.iter().find(|(address, _)| addresses.contains(address)).map(|(_, kind)| *kind);
        let of_group = addresses.first().and_then(|&address| self.group_of(address)).map(|group| group.announce);
        written.filter(|_| keeps_first).or(in_use).or(of_group).or(written)
    }

    /// The name of the group of an address. If the group is gone, the name is still in `allocated-from`.
    fn group_name(&self, address: IpAddr) -> Option<String> {
        let group = self.group_of(address).map(|group| group.name.as_str());
        group.or_else(|| self.service.written_group(address)).map(str::to_owned)
    }
}
