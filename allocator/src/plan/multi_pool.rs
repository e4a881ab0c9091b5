//! One address from each range (specification, allocation.md 6).

use std::net::IpAddr;

use api_types::{Announce, Family, Group, Pool};

use super::failure::Failure;
use super::outcome::Measurement;
use super::planner::{Assignment, Planner};
use crate::model::is_external;

impl<'a> Planner<'a> {
    /// Whether the Service takes an address from each range. Its annotation decides; without it the group of its
    /// addresses does, or the selected group if it has none.
    pub(super) fn is_multi_pool(&self) -> bool {
        let wanted = self.service.requested.multi_pool.unwrap_or_else(|| {
            let holder = self.held.iter().find_map(|&address| self.snapshot.groups.group_of(address));
            match holder {
                Some((group, _)) => group.multi_pool,
                None if self.held.is_empty() => {
                    self.selection().is_ok_and(|selection| selection.groups.iter().any(|group| group.multi_pool))
                }
                None => false,
            }
        });
        // The ranges of a sidecar are not known here.
        wanted && !self.selection().is_ok_and(|selection| selection.groups.iter().all(|group| is_external(group)))
    }

    pub(super) fn multi_pool(&mut self) {
        let families = if self.service.families.is_empty() { vec![Family::V4] } else { self.service.families.clone() };
        match self.one_of_each_range(&families) {
            Ok((addresses, new)) => self.assign(addresses, &new),
            Err(failure) => self.fail(&failure),
        }
    }

    /// What the Service keeps, and one more address from every usable range in which it has none.
    fn one_of_each_range(&mut self, families: &[Family]) -> Result<(Vec<IpAddr>, Vec<Assignment<'a>>), Failure> {
        if self.service.key().is_some() {
            return Err(Failure::MultiAndSharing);
        }
        let mut addresses = if self.service.requested.re_evaluate { self.still_usable(families)? } else { self.kept() };
        let mut new = Vec::new();
        let mut failure = None;
        for &family in families {
            let Some(group) = self.multi_group(family)? else { continue };
            if group.balance_pools {
                return Err(Failure::MultiAndBalance(group.name.clone()));
            }
            let (before, mut partial) = (new.len(), false);
            for pool in group.pools_of(family).filter(|pool| self.is_usable(group, pool)) {
                if addresses.iter().any(|&address| pool.range.contains(address)) {
                    continue;
                }
                let hinted = self.hinted(group, |address| pool.range.contains(address));
                match hinted.or_else(|| self.snapshot.addresses.lowest_free(&[pool.range])) {
                    Some(address) => {
                        addresses.push(address);
                        new.push(Assignment { address, group });
                    }
                    None => partial = true,
                }
            }
            if partial {
                self.plan.wants_more = true;
                self.plan.measurements.push(Measurement::MultiPoolPartial(group.name.clone()));
            }
            if new.len() > before {
                self.plan.measurements.push(Measurement::MultiPool(group.name.clone()));
            } else if partial {
                failure = Some(self.exhausted(group, family));
            } else {
                failure = failure.or_else(|| Some(Failure::MultiInactive(group.name.clone())));
            }
        }
        if addresses.is_empty() {
            let nothing = || Failure::NoRange { groups: "the selected group".to_owned(), family: Family::V4 };
            return Err(failure.unwrap_or_else(nothing));
        }
        Ok((addresses, new))
    }

    /// What a new allocation may keep: addresses in usable ranges of the groups that are selected now.
    fn still_usable(&self, families: &[Family]) -> Result<Vec<IpAddr>, Failure> {
        let mut usable = Vec::new();
        for &family in families {
            let Some(group) = self.multi_group(family)? else { continue };
            for pool in group.pools_of(family).filter(|pool| self.is_usable(group, pool)) {
                usable.extend(self.held.iter().copied().find(|&address| pool.range.contains(address)));
            }
        }
        Ok(usable)
    }

    /// The group to take addresses of the family from: that of the addresses it has, else the selected one.
    fn multi_group(&self, family: Family) -> Result<Option<&'a Group>, Failure> {
        let mut names: Vec<&str> = Vec::new();
        let mut found: Option<&'a Group> = None;
        let mut outside = false;
        // A new allocation takes the group that is selected now.
        let held = self.held.iter().filter(|_| !self.service.requested.re_evaluate);
        for &address in held.filter(|address| Family::of(**address) == family) {
            match self.snapshot.groups.group_of(address) {
                Some((group, _)) => {
                    if !names.contains(&group.name.as_str()) {
                        names.push(&group.name);
                    }
                    found = Some(group);
                }
                None => outside = true,
            }
        }
        let mismatch = |found| Err(Failure::MultiMismatch { family, found });
        match (names.as_slice(), outside) {
            ([], false) => {}
            ([], true) => return mismatch("no group".to_owned()),
            ([_], _) => return Ok(found),
            (several, _) => return mismatch(format!("several groups ({})", several.join(", "))),
        }
        let group = self.selection()?.for_family(family);
        match group {
            Some(group) if is_external(group) => Err(Failure::MultiExternal(group.name.clone())),
            group => Ok(group),
        }
    }

    /// Whether the range counts. Ranges of local groups count only if a node has the subnet.
    fn is_usable(&self, group: &Group, pool: &Pool) -> bool {
        group.announce == Announce::SubnetOrRouted || self.snapshot.node_subnets.contains(&pool.subnet)
    }
}
