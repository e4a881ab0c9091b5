//! The annotations that go with the addresses (specification, allocation.md 9, api.md 5.2).

use std::net::IpAddr;

use super::outcome::AllocationAnnotations;
use super::planner::Planner;

impl Planner<'_> {
    /// The annotations for the addresses of the plan; `None` if those on the Service may stay.
    pub(super) fn annotations(&self) -> Option<AllocationAnnotations> {
        let (written, addresses) = (&self.service.written, &self.plan.addresses);
        if addresses.is_empty() {
            // The agents remove their own annotations themselves.
            let any = written.by_us || written.groups.is_some() || written.pool_type.is_some();
            return any.then_some(AllocationAnnotations { groups: None, pool_type: None, skip_ipv6_dad: false });
        }
        let unchanged = *addresses == self.service.addresses;
        if unchanged && written.by_us && written.groups.is_some() && written.pool_type.is_some() {
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
        (!unchanged || !written.by_us || wanted != known).then_some(wanted)
    }

    /// The names of the groups: one name if it holds for all addresses and none is pinned, else one for each address.
    fn allocated_from(&self, addresses: &[IpAddr]) -> Option<String> {
        let names: Vec<String> = addresses.iter().filter_map(|&address| self.group_name(address)).collect();
        let pinned = self.service.requested.addresses.is_some() || self.service.requested.load_balancer_ip.is_some();
        match names.as_slice() {
            [] => None,
            [first, rest @ ..] if !pinned && rest.iter().all(|name| name == first) => Some(first.clone()),
            names => Some(names.join(", ")),
        }
    }

    /// The pool type of the first address. It stays as long as that address does, whatever becomes of the group.
    fn pool_type(&self, addresses: &[IpAddr]) -> Option<api_types::Announce> {
        let written = self.service.written.pool_type;
        let keeps_first = addresses.first() == self.service.addresses.first();
        let of_group = addresses.first().and_then(|&address| self.group_of(address)).map(|group| group.announce);
        written.filter(|_| keeps_first).or(of_group).or(written)
    }

    /// The name of the group of an address. If the group is gone, the name is still in `allocated-from`.
    fn group_name(&self, address: IpAddr) -> Option<String> {
        let group = self.group_of(address).map(|group| group.name.as_str());
        group.or_else(|| self.service.written_group(address)).map(str::to_owned)
    }
}
