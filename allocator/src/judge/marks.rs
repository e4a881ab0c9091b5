//! The annotations that belong to the addresses (specification, allocation.md 9, api.md 5.2).

use std::net::IpAddr;

use super::{Case, Target};

impl Case<'_> {
    /// The annotations for the addresses of the verdict; nothing if those there are may stay.
    pub(super) fn target(&self) -> Option<Target> {
        let (service, addresses) = (self.service, &self.verdict.addresses);
        if addresses.is_empty() {
            // Without an address it carries no marks; what the agents wrote they remove themselves.
            let marked = service.marks.allocated || service.marks.groups.is_some() || service.marks.pool_type.is_some();
            return marked.then_some(Target { groups: None, pool_type: None, skip_dad: false });
        }
        let complete = service.marks.allocated && service.marks.groups.is_some() && service.marks.pool_type.is_some();
        if complete && *addresses == service.addresses {
            return None;
        }
        let names: Vec<String> = addresses.iter().filter_map(|&address| self.group_name(address)).collect();
        let pinned = service.wishes.addresses.is_some() || service.wishes.load_balancer_ip.is_some();
        let groups = match names.as_slice() {
            [] => None,
            [first, rest @ ..] if !pinned && rest.iter().all(|name| name == first) => Some(first.clone()),
            names => Some(names.join(", ")),
        };
        // A Service that keeps its first address keeps its kind too, whatever became of the group.
        let keeps_first = addresses.first() == service.addresses.first();
        let of_group = addresses.first().and_then(|&address| self.group_of(address)).map(|group| group.announce);
        let pool_type = match service.marks.pool_type.filter(|_| keeps_first) {
            Some(kept) => Some(kept),
            None => of_group.or(service.marks.pool_type),
        };
        let skip_dad = addresses.iter().any(|&address| self.group_of(address).is_some_and(|group| group.skip_ipv6_dad));
        let target = Target { groups, pool_type, skip_dad };
        let known = Target {
            groups: service.marks.groups.as_deref().map(str::to_owned),
            pool_type: service.marks.pool_type,
            skip_dad: service.marks.skip_dad,
        };
        // Addresses whose group is gone may lack a mark that nobody can restore any more.
        (*addresses != service.addresses || !service.marks.allocated || target != known).then_some(target)
    }

    /// The name of an address's group; of a group that is gone, as it was written at the time.
    fn group_name(&self, address: IpAddr) -> Option<String> {
        let group = self.group_of(address).map(|group| group.name.as_str());
        group.or_else(|| self.service.marked_group(address)).map(str::to_owned)
    }
}
