//! One address per family (specification, allocation.md 4 and 5).

use std::net::IpAddr;

use api_types::names::reason;
use api_types::{Family, Group};
use runtime::events::Kind;

use super::external::is_external;
use super::{Case, Count, Failure, Given};
use crate::select::Choice;

impl<'a> Case<'a> {
    pub(super) fn ordinary(&mut self) {
        if self.is_complete() {
            self.verdict.addresses.clone_from(&self.held);
            return;
        }
        let anew = self.service.wishes.re_evaluate;
        let wanted = if self.service.families.is_empty() && self.held.is_empty() {
            self.families_of_old()
        } else {
            self.service.families.clone()
        };
        let open: Vec<Family> = wanted.iter().copied().filter(|family| anew || !self.has(*family)).collect();
        if open.is_empty() {
            self.verdict.addresses = self.kept();
            return;
        }
        let choice = match self.choice() {
            Ok(choice) => choice,
            Err(denied) => return self.fail(&denied.into()),
        };
        let mut given: Vec<Given<'a>> = Vec::new();
        let mut failures: Vec<(Family, Failure)> = Vec::new();
        // A sidecar is asked last: not for nothing.
        let is_asked = |family: &Family| choice.for_family(*family).is_some_and(is_external);
        let (asked, own): (Vec<Family>, Vec<Family>) = open.into_iter().partition(is_asked);
        for family in own.into_iter().chain(asked) {
            if is_asked(&family) && !failures.is_empty() && !self.prefers() {
                break;
            }
            match self.some(&choice, &wanted, family, anew) {
                Ok(found) => given.extend(found),
                Err(failure) => failures.push((family, failure)),
            }
        }
        if failures.iter().any(|(_, failure)| matches!(failure, Failure::Asking(_))) {
            return self.wait();
        }
        given.sort_by_key(|given| wanted.iter().position(|family| *family == Family::of(given.address)));
        let first_failure = failures.first().map(|(_, failure)| failure.clone());
        match first_failure {
            Some(failure) if !self.prefers() || (given.is_empty() && self.kept().is_empty()) => self.fail(&failure),
            _ => self.give(&given, &failures, &choice),
        }
    }

    /// Nothing is decided before the sidecar has answered.
    fn wait(&mut self) {
        (self.verdict.addresses, self.verdict.waits) = (self.kept(), true);
        self.verdict.clear_re_evaluate = false;
    }

    /// A Service of before dual stack: one address, IPv6 if the group has any.
    fn families_of_old(&self) -> Vec<Family> {
        let six = self.choice().is_ok_and(|choice| choice.for_family(Family::V6).is_some());
        vec![if six { Family::V6 } else { Family::V4 }]
    }

    /// An address of one family, or from a sidecar perhaps several; those that the Service has already, if `anew` and
    /// they are still right.
    fn some(
        &mut self,
        choice: &Choice<'a>,
        wanted: &[Family],
        family: Family,
        anew: bool,
    ) -> Result<Vec<Given<'a>>, Failure> {
        let Some(group) = choice.for_family(family) else {
            return Err(Failure::NoRange { groups: choice.names(), family });
        };
        if is_external(group) {
            let still = if anew { self.still_from(group, family) } else { Vec::new() };
            return if still.is_empty() { self.external(group, choice, wanted, family) } else { Ok(still) };
        }
        if anew && let Some(address) = self.still_right(group, family) {
            return Ok(vec![Given { address, group }]);
        }
        let address =
            if self.service.key().is_some() { self.shared(group, family)? } else { self.lowest(group, family)? };
        Ok(vec![Given { address, group }])
    }

    fn still_right(&self, group: &Group, family: Family) -> Option<IpAddr> {
        let ours = self.held.iter().copied().filter(|&address| Family::of(address) == family);
        ours.filter(|&address| group.pool_of(address).is_some()).find(|&address| self.check(group, address).is_ok())
    }

    /// The address of the Service's key, or a free one if the key is new in this group and family.
    fn shared(&self, group: &Group, family: Family) -> Result<IpAddr, Failure> {
        let mut refusal = None;
        for address in self.bound(group, family) {
            match self.world.book.check(address, &self.service.name, &self.service.claim) {
                Ok(()) => return Ok(address),
                Err(why) => _ = refusal.get_or_insert(why),
            }
        }
        match refusal {
            Some(refusal) => Err(Failure::Refusal { group: group.name.clone(), refusal }),
            None => self.first_free(group, family),
        }
    }

    /// The addresses of the group and family where other Services use the same key.
    pub(super) fn bound(&self, group: &Group, family: Family) -> Vec<IpAddr> {
        let Some(key) = self.service.key() else { return Vec::new() };
        let bound = self.world.book.addresses_of_key(key, &self.service.name).into_iter();
        bound.filter(|&address| Family::of(address) == family && group.pool_of(address).is_some()).collect()
    }

    fn lowest(&mut self, group: &Group, family: Family) -> Result<IpAddr, Failure> {
        if !group.balance_pools {
            return self.first_free(group, family);
        }
        let book = self.world.book;
        let mut pools: Vec<_> = group.pools_of(family).collect();
        pools.sort_by_key(|pool| book.used(pool.range));
        let found = pools.into_iter().find_map(|pool| book.lowest_free(pool.range));
        let address = found.ok_or_else(|| Failure::Exhausted { group: group.name.clone(), family })?;
        self.verdict.counts.push(Count::Balanced(group.name.clone()));
        Ok(address)
    }

    fn first_free(&self, group: &Group, family: Family) -> Result<IpAddr, Failure> {
        let free = group.pools_of(family).find_map(|pool| self.world.book.lowest_free(pool.range));
        free.ok_or_else(|| Failure::Exhausted { group: group.name.clone(), family })
    }

    fn give(&mut self, given: &[Given<'a>], failures: &[(Family, Failure)], choice: &Choice<'a>) {
        // What a family that was asked anew had before goes; a family without any answer keeps what it has.
        let replaced = |address: &IpAddr| given.iter().any(|given| Family::of(given.address) == Family::of(*address));
        let mut addresses: Vec<IpAddr> = self.kept();
        let new: Vec<Given<'a>> = given.iter().filter(|given| !addresses.contains(&given.address)).cloned().collect();
        if self.service.wishes.re_evaluate {
            addresses.retain(|address| !replaced(address) || given.iter().any(|given| given.address == *address));
        }
        addresses.extend(new.iter().map(|given| given.address));
        self.settle(addresses, &new);
        if let Some(warning) = choice.warning.as_ref().filter(|_| !new.is_empty()) {
            self.verdict.notes.push((Kind::Warning, reason::CONFIGURATION_WARNING, warning.clone()));
        }
        if !failures.is_empty() {
            let causes: Vec<String> =
                failures.iter().map(|(family, why)| format!("no {family} address: {why}")).collect();
            let text = format!("{} prefers both families and has one: {}", self.service.name, causes.join("; "));
            self.verdict.problem = Some((Kind::Normal, reason::FAMILY_UNAVAILABLE, text));
            let counts = failures.iter().filter_map(|(_, failure)| failure.pool_count());
            self.verdict.counts.extend(counts);
        }
    }
}
