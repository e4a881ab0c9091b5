//! What the status and the gauges of a group say.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api_types::{Announce, Family, Group, Ipam, PendingRelease, Pool, ServiceGroupStatus};
use ipnetwork::IpNetwork;
use k8s_openapi::jiff::Timestamp;

use super::group_conditions::Conditions;
use super::groups::Groups;
use super::services::Services;
use crate::addresses::AddressTable;
use crate::external::ExternalAllocations;
use crate::metrics::Metrics;
use crate::model::{GroupId, is_external};

/// The most releases that a status lists: every agent watches it.
const LISTED_RELEASES: usize = 1000;

/// The state from which the status of a group is made.
pub(super) struct GroupView<'a> {
    pub(super) groups: &'a Groups,
    pub(super) services: &'a Services,
    pub(super) addresses: &'a AddressTable,
    pub(super) node_subnets: &'a BTreeSet<IpNetwork>,
    pub(super) external: &'a ExternalAllocations,
}

impl GroupView<'_> {
    /// The status that the group should have; `None` for a group that is out of scope or gone.
    pub(super) fn status(&self, id: &GroupId, time: Timestamp) -> Option<ServiceGroupStatus> {
        let object = self.groups.object(id)?;
        let table = self.groups.table();
        let mut conditions = Conditions::new(object, time);
        let mut status = ServiceGroupStatus::default();
        match table.get(&id.1).filter(|_| table.id_of(&id.1) == Some(id)) {
            Some(group) => {
                self.describe(group, &mut status);
                match &group.ipam {
                    Ipam::Cluster => conditions.ready(),
                    Ipam::External { provider, socket } => {
                        conditions.external(provider, socket, self.external.sidecar_state(&group.name));
                        conditions.releases_pending(&self.external.pending_releases(&group.name).collect::<Vec<_>>());
                    }
                }
                conditions.nearly_full(&status);
            }
            None => conditions.refused(table.refusal(id)?),
        }
        conditions.addresses_outside(&self.addresses_outside(&id.1));
        status.conditions = conditions.finish();
        Some(status)
    }

    fn describe(&self, group: &Group, status: &mut ServiceGroupStatus) {
        let local = match group.announce {
            Announce::Local => true,
            Announce::SubnetOrRouted => group.pools.iter().any(|pool| self.is_on_a_node(pool)),
        };
        status.announce = Some(if local { "Local" } else { "Remote" }.to_owned());
        status.bound_namespaces.clone_from(&group.binding.namespaces);
        if let Ipam::External { provider, .. } = &group.ipam {
            status.ipam = Some(provider.clone());
            return self.describe_external(group, status);
        }
        status.ipam = Some("Cluster".to_owned());
        status.addresses = group.pools.iter().map(|pool| pool.text.clone()).collect();
        let (used, free) = self.usage(group, Family::V4);
        (status.allocated_ipv4, status.available_ipv4) = (used, Some(free));
        let (used, free) = self.usage(group, Family::V6);
        (status.allocated_ipv6, status.available_ipv6) = (used, Some(free));
    }

    /// The numbers that the sidecar reports, and the releases that it has not taken.
    fn describe_external(&self, group: &Group, status: &mut ServiceGroupStatus) {
        let pending = self.external.pending_releases(&group.name).take(LISTED_RELEASES);
        let pending = pending.map(|(service, address)| PendingRelease {
            service: service.to_string(),
            address: address.map(|address| address.to_string()),
        });
        status.pending_releases = pending.collect();
        let Some(reported) = self.external.stats(&group.name) else { return };
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        status.addresses.clone_from(&reported.ranges);
        (status.allocated_ipv4, status.allocated_ipv6) = (count(reported.used.0), count(reported.used.1));
        if let Some((v4, v6)) = reported.size {
            status.available_ipv4 = Some(count(v4.saturating_sub(reported.used.0)));
            status.available_ipv6 = Some(count(v6.saturating_sub(reported.used.1)));
        }
    }

    /// The numbers of used and of free addresses of a family; both saturate.
    fn usage(&self, group: &Group, family: Family) -> (i64, i64) {
        let (mut used, mut size) = (0_u128, 0_u128);
        for pool in group.pools_of(family) {
            used = used.saturating_add(self.addresses.used(pool.range));
            size = size.saturating_add(pool.range.size());
        }
        let count = |number: u128| i64::try_from(number).unwrap_or(i64::MAX);
        (count(used), count(size.saturating_sub(used)))
    }

    /// Whether a node that is alive has a subnet that contains the range's.
    fn is_on_a_node(&self, pool: &Pool) -> bool {
        self.node_subnets
            .iter()
            .any(|network| network.prefix() <= pool.subnet.prefix() && network.contains(pool.subnet.ip()))
    }

    /// The addresses that came from the group and lie in no range any more, with their Services.
    fn addresses_outside(&self, group: &str) -> Vec<(IpAddr, String)> {
        let mut found = Vec::new();
        if self.groups.table().get(group).is_some_and(is_external) {
            return found;
        }
        for &address in self.addresses.outside() {
            for holder in self.addresses.holders(address) {
                let Some(service) = self.services.get(holder).filter(|service| service.written.by_us) else { continue };
                if service.written_group(address) == Some(group) {
                    found.push((address, holder.to_string()));
                }
            }
        }
        found
    }

    /// Brings the gauges of an accepted group up to date.
    pub(super) fn refresh_gauges(&self, name: &str, metrics: &Metrics) {
        let Some(group) = self.groups.table().get(name) else { return };
        let (mut used, mut size) = (0.0, 0.0);
        if let Some(stats) = self.external.stats(name) {
            used = approximate(u128::from(stats.used.0) + u128::from(stats.used.1));
            size = stats.size.map_or(0.0, |(v4, v6)| approximate(u128::from(v4) + u128::from(v6)));
        }
        for pool in &group.pools {
            used += approximate(self.addresses.used(pool.range));
            size += approximate(pool.range.size());
        }
        metrics.pool_size.with_label_values(&[name]).set(size);
        metrics.pool_in_use.with_label_values(&[name]).set(used);
        if is_external(group) {
            let pending = i64::try_from(self.external.pending_releases(name).count()).unwrap_or(i64::MAX);
            metrics.releases_pending.with_label_values(&[name]).set(pending);
        }
    }
}

/// A count as a metric: the nearest number of double precision.
fn approximate(number: u128) -> f64 {
    let part = |shift: u32| f64::from(u32::try_from((number >> shift) & 0xffff_ffff).unwrap_or_default());
    part(0) + part(32) * 2_f64.powi(32) + part(64) * 2_f64.powi(64) + part(96) * 2_f64.powi(96)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::float_cmp, reason = "powers of two are exact")]
    fn counts_become_numbers_of_double_precision() {
        for number in [0, 1, 256, 1 << 64, 1 << 127] {
            assert_eq!(approximate(number).log2().exp2(), approximate(number));
        }
        assert_eq!(approximate(1 << 64), 2_f64.powi(64));
        assert_eq!(approximate(251), 251.0);
    }
}
