//! One address for each family (specification, allocation.md 4 and 5).

use std::net::IpAddr;

use api_types::names::reason;
use api_types::{AddressRange, Family, Group};

use super::failure::Failure;
use super::outcome::{Measurement, Notice};
use super::planner::{Assignment, Planner};
use super::select::Selection;
use crate::model::is_external;

impl<'a> Planner<'a> {
    pub(super) fn single(&mut self) {
        if self.is_complete() {
            self.plan.addresses.clone_from(&self.held);
            return;
        }
        let anew = self.service.requested.re_evaluate;
        let wanted = if self.service.families.is_empty() && self.held.is_empty() {
            self.families_before_dual_stack()
        } else {
            self.service.families.clone()
        };
        let open: Vec<Family> = wanted.iter().copied().filter(|family| anew || !self.has(*family)).collect();
        if open.is_empty() {
            self.plan.addresses = self.kept();
            return;
        }
        let selection = match self.selection() {
            Ok(selection) => selection,
            Err(denied) => return self.fail(&denied.into()),
        };
        let mut assigned: Vec<Assignment<'a>> = Vec::new();
        let mut failures: Vec<(Family, Failure)> = Vec::new();
        // Sidecars come last: none is asked for a Service that cannot have its other family.
        let is_from_sidecar = |family: &Family| selection.for_family(*family).is_some_and(is_external);
        let (external, own): (Vec<Family>, Vec<Family>) = open.into_iter().partition(is_from_sidecar);
        for family in own.into_iter().chain(external) {
            if is_from_sidecar(&family) && !failures.is_empty() && !self.prefers_dual_stack() {
                break;
            }
            match self.find(&selection, &wanted, family, anew) {
                Ok(found) => assigned.extend(found),
                Err(failure) => failures.push((family, failure)),
            }
        }
        if failures.iter().any(|(_, failure)| matches!(failure, Failure::SidecarPending(_))) {
            return self.wait_for_sidecar();
        }
        assigned.sort_by_key(|found| wanted.iter().position(|family| *family == Family::of(found.address)));
        let nothing_at_all = assigned.is_empty() && self.kept().is_empty();
        match failures.first() {
            Some((_, failure)) if !self.prefers_dual_stack() || nothing_at_all => self.fail(&failure.clone()),
            _ => self.assign_found(&assigned, &failures, &selection),
        }
    }

    /// Nothing is decided before the sidecar has answered.
    fn wait_for_sidecar(&mut self) {
        (self.plan.addresses, self.plan.wants_more) = (self.kept(), true);
        self.plan.clear_re_evaluate = false;
    }

    /// The family of a Service without `ipFamilies`, as before dual stack: IPv6 if the group has any, else IPv4.
    fn families_before_dual_stack(&self) -> Vec<Family> {
        let has_v6 = self.selection().is_ok_and(|selection| selection.for_family(Family::V6).is_some());
        vec![if has_v6 { Family::V6 } else { Family::V4 }]
    }

    /// An address of one family; a sidecar may give several. With `anew`, addresses that the Service has and that are
    /// still right are found first.
    fn find(
        &mut self,
        selection: &Selection<'a>,
        wanted: &[Family],
        family: Family,
        anew: bool,
    ) -> Result<Vec<Assignment<'a>>, Failure> {
        let Some(group) = selection.for_family(family) else {
            return Err(Failure::NoRange { groups: selection.names(), family });
        };
        if is_external(group) {
            let held = if anew { self.held_from(group, family) } else { Vec::new() };
            return if held.is_empty() { self.sidecar_addresses(group, selection, wanted, family) } else { Ok(held) };
        }
        if anew && let Some(address) = self.still_right(group, family) {
            return Ok(vec![Assignment { address, group }]);
        }
        if let Some(address) = self.hinted(group, |address| Family::of(address) == family) {
            return Ok(vec![Assignment { address, group }]);
        }
        let address =
            if self.service.key().is_some() { self.shared(group, family)? } else { self.unshared(group, family)? };
        Ok(vec![Assignment { address, group }])
    }

    fn still_right(&self, group: &Group, family: Family) -> Option<IpAddr> {
        let held = self.held.iter().copied().filter(|&address| Family::of(address) == family);
        let in_group = held.filter(|&address| group.pool_of(address).is_some());
        in_group.into_iter().find(|&address| self.check_holders(group, address).is_ok())
    }

    /// An address to which the Service's key is bound, or a free one if the key is new in this group and family.
    fn shared(&self, group: &Group, family: Family) -> Result<IpAddr, Failure> {
        let (addresses, service) = (self.snapshot.addresses, self.service);
        let mut first_failure = None;
        for address in self.addresses_of_key(group, family) {
            let holders = addresses.check(address, &service.name, &service.sharing);
            let holders = holders.map_err(|refusal| Failure::Refusal { group: group.name.clone(), refusal });
            match holders.and_then(|()| self.check_reserved(group, address)) {
                Ok(()) => return Ok(address),
                Err(failure) => _ = first_failure.get_or_insert(failure),
            }
        }
        first_failure.map_or_else(|| self.first_free(group, family), Err)
    }

    /// The addresses of the group and family that other Services hold with the same key.
    pub(super) fn addresses_of_key(&self, group: &Group, family: Family) -> Vec<IpAddr> {
        let Some(key) = self.service.key() else { return Vec::new() };
        let bound = self.snapshot.addresses.addresses_of_key(key, &self.service.name).into_iter();
        bound.filter(|&address| Family::of(address) == family && group.pool_of(address).is_some()).collect()
    }

    /// A free address: of the first range that has one, or of the least used range if the group balances.
    fn unshared(&mut self, group: &Group, family: Family) -> Result<IpAddr, Failure> {
        if !group.balance_pools {
            return self.first_free(group, family);
        }
        let addresses = self.snapshot.addresses;
        let mut ranges: Vec<AddressRange> = group.pools_of(family).map(|pool| pool.range).collect();
        ranges.sort_by_key(|range| addresses.used(*range));
        let found = addresses.lowest_free(&ranges);
        let address = found.ok_or_else(|| self.exhausted(group, family))?;
        self.plan.measurements.push(Measurement::Balanced(group.name.clone()));
        Ok(address)
    }

    fn first_free(&self, group: &Group, family: Family) -> Result<IpAddr, Failure> {
        let ranges: Vec<AddressRange> = group.pools_of(family).map(|pool| pool.range).collect();
        let free = self.snapshot.addresses.lowest_free(&ranges);
        free.ok_or_else(|| self.exhausted(group, family))
    }

    /// The failure for a group without a free address of the family.
    pub(super) fn exhausted(&self, group: &Group, family: Family) -> Failure {
        let forbidden = group.pools_of(family).map(|pool| self.snapshot.addresses.forbidden(pool.range));
        let reserved = forbidden.fold(0, u128::saturating_add);
        Failure::Exhausted { group: group.name.clone(), family, reserved }
    }

    fn assign_found(&mut self, found: &[Assignment<'a>], failures: &[(Family, Failure)], selection: &Selection<'a>) {
        let mut addresses: Vec<IpAddr> = self.kept();
        let new: Vec<Assignment<'a>> =
            found.iter().filter(|found| !addresses.contains(&found.address)).cloned().collect();
        if self.service.requested.re_evaluate {
            // A new allocation replaces the old addresses of its family. A family without one keeps what it has.
            addresses.retain(|address| {
                let replaced = found.iter().any(|found| Family::of(found.address) == Family::of(*address));
                !replaced || found.iter().any(|found| found.address == *address)
            });
        }
        addresses.extend(new.iter().map(|found| found.address));
        // The status lists the families in the Service's order.
        let place = |address: &IpAddr| self.service.families.iter().position(|family| *family == Family::of(*address));
        addresses.sort_by_key(place);
        self.assign(addresses, &new);
        if let Some(warning) = selection.warning.as_ref().filter(|_| !new.is_empty()) {
            self.plan.notices.push(Notice::warning(reason::CONFIGURATION_WARNING, warning.clone()));
        }
        if !failures.is_empty() {
            let causes: Vec<String> =
                failures.iter().map(|(family, why)| format!("no {family} address: {why}")).collect();
            let text =
                format!("{} prefers dual stack but has one family only: {}", self.service.name, causes.join("; "));
            self.plan.problem = Some(Notice::normal(reason::FAMILY_UNAVAILABLE, text));
            let measurements = failures.iter().filter_map(|(_, failure)| failure.pool_measurement());
            self.plan.measurements.extend(measurements);
        }
    }
}
