//! What the status of a group says.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api_types::{AddressRange, Announce, Family, Group, Ipam, PendingRelease, Pool, ServiceGroupStatus};
use ipnetwork::IpNetwork;
use k8s_openapi::jiff::Timestamp;

use super::aggregates::{InSubnet, cut_off};
use super::cluster::Cluster;
use super::coverage::first_uncovered;
use super::group_conditions::Conditions;
use super::groups::Groups;
use super::routers;
use super::services::Services;
use crate::addresses::AddressTable;
use crate::external::ExternalAllocations;
use crate::model::{GroupId, is_external};

/// The most releases that a status lists: every agent watches it.
const LISTED_RELEASES: usize = 1000;

/// The state from which the status of a group is made.
pub(super) struct GroupView<'a> {
    pub(super) groups: &'a Groups,
    pub(super) services: &'a Services,
    pub(super) addresses: &'a AddressTable,
    pub(super) node_subnets: &'a BTreeSet<IpNetwork>,
    pub(super) cluster: &'a Cluster,
    pub(super) external: &'a ExternalAllocations,
    /// How many Services the API server does not let be written, and why that may be.
    pub(super) unanswered: Option<(usize, &'a str)>,
}

impl GroupView<'_> {
    /// The status that the group should have; `None` for a group that is out of scope or gone.
    pub(super) fn status(&self, id: &GroupId, time: Timestamp) -> Option<ServiceGroupStatus> {
        let object = self.groups.object(id)?;
        let table = self.groups.table();
        let mut conditions = Conditions::new(object, time);
        let mut status =
            ServiceGroupStatus { observed_generation: Some(object.generation), ..ServiceGroupStatus::default() };
        match table.get(&id.1).filter(|_| table.id_of(&id.1) == Some(id)) {
            Some(group) => {
                self.describe(group, &mut status);
                match &group.ipam {
                    Ipam::Cluster => conditions.ready(),
                    Ipam::External { provider, socket } => {
                        conditions.external(provider, socket, self.external.sidecar_state(&group.name));
                        let pending: Vec<_> = self.external.pending_releases(&group.name).collect();
                        conditions.releases_pending(&pending, self.external.release_failure(&group.name));
                    }
                }
                conditions.nearly_full(&status);
                conditions.full(self.services.waiting_for(&group.name));
                if let Some((services, cause)) = self.unanswered {
                    conditions.writes_unanswered(services, cause);
                }
                self.describe_networks(group, &mut conditions);
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

    /// The conditions about other users of the group's addresses and about the nodes' networks.
    fn describe_networks(&self, group: &Group, conditions: &mut Conditions<'_>) {
        let reserved = group.pools.iter().flat_map(|pool| self.addresses.reserved_in(pool.range));
        conditions.reserved_addresses(reserved);
        if let Some((pool, name, network)) = self.groups.service_networks().overlap(group) {
            conditions.service_network(&pool.text, name, network);
        }
        conditions.cut_off(&cut_off(group, |pool| self.nodes_in_subnet(pool)));
        let networks = self.cluster.nodes.pod_networks();
        let overlapping = networks.flat_map(|(network, node)| {
            let pools = group.pools.iter().filter(move |pool| AddressRange::of_network(network).overlaps(pool.range));
            pools.map(move |pool| (pool.text.as_str(), network, node))
        });
        conditions.pod_networks(overlapping);
        if group.announce == Announce::Local && self.cluster.members.are_known() {
            let out_of_reach = group.pools.iter().filter_map(|pool| {
                let from = first_uncovered(pool.range, self.node_subnets)?;
                Some(if from == pool.range.first() {
                    pool.text.clone()
                } else {
                    format!("{} (from {from} on)", pool.text)
                })
            });
            conditions.out_of_reach(&out_of_reach.collect::<Vec<_>>(), self.node_subnets);
        } else if self.cluster.members.are_known() && !self.cluster.members.is_any_alive() {
            conditions.no_agent();
        }
        let remote = group.pools.is_empty() || group.pools.iter().any(|pool| !self.is_on_a_node(pool));
        if group.announce == Announce::SubnetOrRouted && remote {
            conditions.routers(routers::view(self.cluster.members.routers()));
        }
    }

    /// The numbers of used and of free addresses of a family; both saturate.
    fn usage(&self, group: &Group, family: Family) -> (i64, i64) {
        let (mut used, mut available) = (0_u128, 0_u128);
        for pool in group.pools_of(family) {
            used = used.saturating_add(self.addresses.used(pool.range));
            available = available.saturating_add(self.addresses.available(pool.range));
        }
        let count = |number: u128| i64::try_from(number).unwrap_or(i64::MAX);
        (count(used), count(available))
    }

    /// Whether a node that is alive has a subnet that contains the range's.
    fn is_on_a_node(&self, pool: &Pool) -> bool {
        self.node_subnets.iter().any(|network| has_subnet(*network, pool))
    }

    /// Which of the nodes that announce addresses have a subnet that contains the range's.
    fn nodes_in_subnet(&self, pool: &Pool) -> InSubnet {
        if !self.is_on_a_node(pool) {
            return InSubnet::Nobody;
        }
        let mut announcing = self.cluster.members.iter().filter(|(_, alive, inactive, _)| *alive && inactive.is_none());
        let in_all = announcing.all(|(_, _, _, subnets)| subnets.iter().any(|network| has_subnet(*network, pool)));
        if in_all { InSubnet::All } else { InSubnet::Some }
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
}

/// Whether the network of a node contains the subnet of the range.
fn has_subnet(network: IpNetwork, pool: &Pool) -> bool {
    network.prefix() <= pool.subnet.prefix() && network.contains(pool.subnet.ip())
}
