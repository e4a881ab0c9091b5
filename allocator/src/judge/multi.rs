//! One address per range (specification, allocation.md 6).

use std::net::IpAddr;

use api_types::{Announce, Family, Group, Pool};

use super::external::is_external;
use super::{Case, Count, Failure, Given};

impl<'a> Case<'a> {
    /// Whether it takes an address from each range: by its annotation, else by its group, which is
    /// the group of what it has, else the one chosen now.
    pub(super) fn is_multi(&self) -> bool {
        let asked = self.service.wishes.multi_pool.unwrap_or_else(|| {
            let holding = self.held.iter().find_map(|&address| self.world.table.group_of(address));
            match holding {
                Some((group, _)) => group.multi_pool,
                None if self.held.is_empty() => {
                    self.choice().is_ok_and(|choice| choice.groups.iter().any(|group| group.multi_pool))
                }
                None => false,
            }
        });
        // A sidecar has no ranges that we know of; it gives what it gives.
        asked && !self.choice().is_ok_and(|choice| choice.groups.iter().all(|group| is_external(group)))
    }

    pub(super) fn multi(&mut self) {
        let families = if self.service.families.is_empty() { vec![Family::V4] } else { self.service.families.clone() };
        match self.grown(&families) {
            Ok((addresses, given)) => self.settle(addresses, &given),
            Err(failure) => self.fail(&failure),
        }
    }

    /// What it keeps and one more address from every usable range where it has none.
    fn grown(&mut self, families: &[Family]) -> Result<(Vec<IpAddr>, Vec<Given<'a>>), Failure> {
        if self.service.key().is_some() {
            return Err(Failure::MultiAndSharing);
        }
        let mut addresses = if self.service.wishes.re_evaluate { self.still_usable(families)? } else { self.kept() };
        let mut given = Vec::new();
        let mut failure = None;
        for &family in families {
            let Some(group) = self.multi_group(family)? else { continue };
            if group.balance_pools {
                return Err(Failure::MultiAndBalance(group.name.clone()));
            }
            let (before, mut partial) = (given.len(), false);
            for pool in group.pools_of(family).filter(|pool| self.is_usable(group, pool)) {
                if addresses.iter().any(|&address| pool.range.contains(address)) {
                    continue;
                }
                match self.world.book.lowest_free(pool.range) {
                    Some(address) => {
                        addresses.push(address);
                        given.push(Given { address, group });
                    }
                    None => partial = true,
                }
            }
            if partial {
                self.verdict.waits = true;
                self.verdict.counts.push(Count::MultiPartial(group.name.clone()));
            }
            if given.len() > before {
                self.verdict.counts.push(Count::Multi(group.name.clone()));
            } else if partial {
                failure = Some(Failure::Exhausted { group: group.name.clone(), family });
            } else {
                failure = failure.or_else(|| Some(Failure::MultiInactive(group.name.clone())));
            }
        }
        if addresses.is_empty() {
            let nothing = || Failure::NoRange { groups: "the chosen group".to_owned(), family: Family::V4 };
            return Err(failure.unwrap_or_else(nothing));
        }
        Ok((addresses, given))
    }

    /// What a Service that is judged as if new may keep: addresses in usable ranges of the groups chosen now.
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

    /// The group to take addresses of the family from: that of the addresses it has, else the chosen one.
    fn multi_group(&self, family: Family) -> Result<Option<&'a Group>, Failure> {
        let mut names: Vec<&str> = Vec::new();
        let mut found: Option<&'a Group> = None;
        let mut outside = false;
        // A Service that is judged as if new takes the group that is chosen now.
        let held = self.held.iter().filter(|_| !self.service.wishes.re_evaluate);
        for &address in held.filter(|address| Family::of(**address) == family) {
            match self.world.table.group_of(address) {
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
        let group = self.choice()?.for_family(family);
        match group {
            Some(group) if is_external(group) => Err(Failure::MultiExternal(group.name.clone())),
            group => Ok(group),
        }
    }

    /// Ranges of local groups only count where a node has the subnet.
    fn is_usable(&self, group: &Group, pool: &Pool) -> bool {
        group.announce == Announce::SubnetOrRouted || self.world.subnets.contains(&pool.subnet)
    }
}
