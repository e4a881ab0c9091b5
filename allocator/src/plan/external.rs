//! Addresses that an IPAM sidecar gave (specification, allocation.md 12).

use std::net::IpAddr;

use api_types::names::reason;
use api_types::reserved::names_a_host;
use api_types::{Family, Group, SharingKey};

use super::allocation::sidecar_group;
use super::failure::Failure;
use super::outcome::{Notice, Rejection, Snapshot};
use super::planner::{Assignment, Planner};
use super::select::Selection;
use crate::external::{AddressRequest, Offer};
use crate::model::Owner;

impl<'a> Planner<'a> {
    /// The usable addresses of one family that the sidecar gave.
    ///
    /// The first call for a group records the request: everything that the Service wants of the group, because an answer
    /// names all that the Service has there.
    pub(super) fn sidecar_addresses(
        &mut self,
        group: &'a Group,
        selection: &Selection<'a>,
        wanted: &[Family],
        family: Family,
    ) -> Result<Vec<Assignment<'a>>, Failure> {
        let request = self.address_request(group, selection, wanted);
        if !self.plan.requests.iter().any(|(requested, _)| *requested == group.name) {
            self.plan.requests.push((group.name.clone(), request.clone()));
        }
        let given = match self.snapshot.external.offer(&group.name, &Owner::from(self.service), &request) {
            Offer::Pending => return Err(Failure::SidecarPending(group.name.clone())),
            Offer::Failed(text) => return Err(sidecar_failure(group, &text)),
            Offer::Given(addresses) => addresses.iter().copied().filter(|&address| Family::of(address) == family),
        };
        let (mut usable, mut rejected, mut first_cause) = (Vec::new(), Vec::new(), None);
        for address in given {
            match self.check_given(group, address) {
                Ok(()) => usable.push(Assignment { address, group }),
                Err(why) => {
                    rejected.push(address);
                    first_cause.get_or_insert(format!("it gave {address}, {why}; the address is given back"));
                }
            }
        }
        let group_name = group.name.clone();
        if usable.is_empty() {
            let why = first_cause.unwrap_or_else(|| format!("it gave no {family} address"));
            let rejection = Rejection { group: group_name, addresses: rejected, why: Some(why.clone()) };
            self.plan.rejections.push(rejection);
            return Err(sidecar_failure(group, &why));
        }
        if let Some(why) = first_cause {
            self.plan.rejections.push(Rejection { group: group_name, addresses: rejected, why: None });
            let text = format!("the IPAM sidecar of pool {:?} gave an address that cannot be used: {why}", group.name);
            self.plan.notices.push(Notice::warning(reason::ALLOCATION_FAILED, text));
        }
        Ok(usable)
    }

    fn address_request(&self, group: &Group, selection: &Selection<'a>, wanted: &[Family]) -> AddressRequest {
        let from_group = |family: Family| {
            wanted.contains(&family) && selection.for_family(family).is_some_and(|chosen| chosen.name == group.name)
        };
        let key = self.service.key().map(SharingKey::to_string).unwrap_or_default();
        AddressRequest { v4: from_group(Family::V4), v6: from_group(Family::V6), key }
    }

    /// Whether the Service can have an address that the sidecar gave. The sidecar does not know the other groups.
    fn check_given(&self, group: &Group, address: IpAddr) -> Result<(), String> {
        check_usable(address).map_err(str::to_owned)?;
        let Snapshot { groups, external, .. } = self.snapshot;
        let had_before = || sidecar_group(groups, external, self.service, address) == Some(group.name.as_str());
        if let Some((other, pool)) = groups.group_of(address)
            && !had_before()
        {
            return Err(format!("which lies in {} of pool {:?}", pool.text, other.name));
        }
        let has_it = self.service.addresses.contains(&address);
        let forbidden = self.snapshot.addresses.reserved_for(address).find(|found| found.forbids() && !has_it);
        if let Some(found) = forbidden {
            return Err(format!("which is {found}"));
        }
        let check = self.snapshot.addresses.check(address, &self.service.name, &self.service.sharing);
        check.map_err(|refusal| format!("which another Service has: {refusal}"))
    }

    /// The addresses that the Service already has of this group, for a new allocation.
    pub(super) fn held_from(&self, group: &'a Group, family: Family) -> Vec<Assignment<'a>> {
        let held = self.held.iter().copied().filter(|&address| Family::of(address) == family);
        let from_group = held.filter(|&address| self.group_of(address).is_some_and(|from| from.name == group.name));
        from_group.map(|address| Assignment { address, group }).collect()
    }
}

fn sidecar_failure(group: &Group, text: &str) -> Failure {
    Failure::Sidecar { group: group.name.clone(), text: text.to_owned() }
}

/// Whether a host can have the address as one that others reach.
fn check_usable(address: IpAddr) -> Result<(), &'static str> {
    match address {
        address if names_a_host(address) => Ok(()),
        IpAddr::V6(address) if address.is_unicast_link_local() => Err("which is valid on one link only"),
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => Err("which is an IPv4 address in IPv6 form"),
        _ => Err("which no host can be reached by"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_no_client_can_reach_are_not_usable() {
        for text in
            ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "169.254.1.1", "::", "::1", "ff02::1", "fe80::1"]
        {
            assert!(check_usable(text.parse().unwrap()).is_err(), "{text}");
        }
        assert!(check_usable("::ffff:192.0.2.1".parse().unwrap()).is_err());
        assert!(
            check_usable("192.0.2.1".parse().unwrap()).is_ok() && check_usable("2001:db8::1".parse().unwrap()).is_ok()
        );
    }
}
