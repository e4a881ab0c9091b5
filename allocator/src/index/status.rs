//! The status of groups.

mod conditions;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use api_types::{Announce, Family, Group, Ipam, PendingRelease, Pool, ServiceGroupStatus};
use k8s_openapi::jiff::Timestamp;
use runtime::BootTime;
use serde_json::{Value, json};

use super::Index;
use crate::groups::{GroupId, Table};
use conditions::Conditions;

/// A group's status is written at most this often.
const PERIOD: Duration = Duration::from_secs(1);
/// Releases that a status notes at most: all agents watch it.
const PENDING: usize = 1000;

/// A status to write.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusPatch {
    /// The group.
    pub group: GroupId,
    /// The configuration to apply (server-side apply) to the status subresource.
    pub body: Value,
}

/// Which groups' status may have changed, and what was written last.
#[derive(Debug, Default)]
pub(super) struct Statuses {
    dirty: BTreeSet<GroupId>,
    all: bool,
    written: BTreeMap<GroupId, (ServiceGroupStatus, BootTime)>,
}

impl Statuses {
    pub(super) fn touch(&mut self, id: GroupId) {
        self.dirty.insert(id);
    }

    pub(super) const fn touch_all(&mut self) {
        self.all = true;
    }

    pub(super) fn touch_addresses(&mut self, table: &Table, addresses: &[IpAddr]) {
        for &address in addresses {
            match table.group_of(address).and_then(|(group, _)| table.id_of(&group.name)) {
                Some(id) if self.dirty.contains(id) => {}
                Some(id) => _ = self.dirty.insert(id.clone()),
                // It may be shown by any group that had it once.
                None => self.all = true,
            }
        }
    }

    pub(super) fn forget(&mut self, id: &GroupId) {
        self.written.remove(id);
        self.dirty.remove(id);
    }
}

#[cfg(test)]
impl Statuses {
    pub(super) fn forget_written(&mut self) {
        self.written.clear();
    }
}

impl Index {
    /// The statuses to write now, `room` at most. Also brings the gauges up to date, on every replica.
    pub fn status_patches(&mut self, now: BootTime, time: Timestamp, room: usize) -> Vec<StatusPatch> {
        if std::mem::take(&mut self.status.all) {
            self.metrics.pool_size.reset();
            self.metrics.pool_in_use.reset();
            self.metrics.owed.reset();
            let shown = self.table.accepted().map(|(id, _)| id).chain(self.table.refused().map(|(id, _)| id));
            self.status.dirty.extend(shown.cloned());
        }
        let due: Vec<GroupId> = self
            .status
            .dirty
            .iter()
            .filter(|id| self.status.written.get(*id).is_none_or(|(_, at)| now.since(*at) >= PERIOD))
            .cloned()
            .collect();
        let mut patches = Vec::new();
        for id in due {
            if patches.len() >= room {
                break;
            }
            self.status.dirty.remove(&id);
            self.refresh_gauges(&id.1);
            let Some(status) = self.group_status(&id, time) else { continue };
            if !self.leading || !self.is_new(&id, &status) {
                continue;
            }
            patches.push(self.status_patch(&id, &status));
            self.status.written.insert(id, (status, now));
        }
        patches
    }

    /// A status could not be written: it is made anew after a pause.
    pub fn status_failed(&mut self, group: &GroupId, now: BootTime) {
        if let Some((written, at)) = self.status.written.get_mut(group) {
            // Unlike any real one, so that it is written whatever comes.
            *written = ServiceGroupStatus { allocated_ipv4: -1, ..ServiceGroupStatus::default() };
            *at = now + Duration::from_secs(5);
        }
        if self.objects.contains_key(group) {
            self.status.dirty.insert(group.clone());
        }
    }

    fn is_new(&self, id: &GroupId, status: &ServiceGroupStatus) -> bool {
        let stored = self.objects.get(id).and_then(|object| object.status.as_ref());
        match self.status.written.get(id) {
            Some((written, _)) => written != status,
            None => stored != Some(status),
        }
    }

    fn status_patch(&self, id: &GroupId, status: &ServiceGroupStatus) -> StatusPatch {
        let uid = self.objects.get(id).map(|object| object.uid.as_str());
        let body = json!({
            "apiVersion": "purelb.io/v2",
            "kind": "ServiceGroup",
            "metadata": {"namespace": id.0, "name": id.1, "uid": uid},
            "status": status,
        });
        StatusPatch { group: id.clone(), body }
    }

    fn group_status(&self, id: &GroupId, time: Timestamp) -> Option<ServiceGroupStatus> {
        let object = self.objects.get(id)?;
        let mut conditions = Conditions::new(object, time);
        let outside = self.outside_addresses(&id.1);
        let mut status = ServiceGroupStatus::default();
        match self.table.get(&id.1).filter(|_| self.table.id_of(&id.1) == Some(id)) {
            Some(group) => {
                self.describe(group, &mut status);
                match &group.ipam {
                    Ipam::Cluster => conditions.ready(),
                    Ipam::External { provider, socket } => {
                        conditions.external(provider, socket, self.ledger.standing(&group.name));
                        conditions.owed(&self.ledger.owed(&group.name).collect::<Vec<_>>());
                    }
                }
                conditions.nearly_full(&status);
            }
            None => conditions.refused(self.table.refusal(id)?),
        }
        conditions.outside(&outside);
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

    /// By the word of the sidecar.
    fn describe_external(&self, group: &Group, status: &mut ServiceGroupStatus) {
        status.pending_releases = self
            .ledger
            .owed(&group.name)
            .take(PENDING)
            .map(|(service, address)| PendingRelease {
                service: service.to_string(),
                address: address.map(|address| address.to_string()),
            })
            .collect();
        let Some(numbers) = self.ledger.stats(&group.name) else { return };
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        status.addresses.clone_from(&numbers.shown);
        (status.allocated_ipv4, status.allocated_ipv6) = (count(numbers.used.0), count(numbers.used.1));
        if let Some((v4, v6)) = numbers.size {
            status.available_ipv4 = Some(count(v4.saturating_sub(numbers.used.0)));
            status.available_ipv6 = Some(count(v6.saturating_sub(numbers.used.1)));
        }
    }

    /// Addresses in use and free addresses of a family; both saturate.
    fn usage(&self, group: &Group, family: Family) -> (i64, i64) {
        let (mut used, mut size) = (0_u128, 0_u128);
        for pool in group.pools_of(family) {
            used = used.saturating_add(self.book.used(pool.range));
            size = size.saturating_add(pool.range.size());
        }
        let count = |number: u128| i64::try_from(number).unwrap_or(i64::MAX);
        (count(used), count(size.saturating_sub(used)))
    }

    /// Whether a node that is alive has a network that contains the pool's.
    fn is_on_a_node(&self, pool: &Pool) -> bool {
        self.subnets
            .iter()
            .any(|network| network.prefix() <= pool.subnet.prefix() && network.contains(pool.subnet.ip()))
    }

    /// Addresses that came from the group and lie in no range any more, with their Services.
    fn outside_addresses(&self, group: &str) -> Vec<(IpAddr, String)> {
        let mut found = Vec::new();
        if self.is_external(group) {
            return found;
        }
        for &address in self.book.outside() {
            for holder in self.book.holders(address) {
                let Some(service) = self.service(holder).filter(|service| service.marks.allocated) else { continue };
                if service.marked_group(address) == Some(group) {
                    found.push((address, holder.to_string()));
                }
            }
        }
        found
    }

    fn refresh_gauges(&self, name: &str) {
        let Some(group) = self.table.get(name) else { return };
        let (mut used, mut size) = (0.0, 0.0);
        if let Some(stats) = self.ledger.stats(name) {
            used = approximate(u128::from(stats.used.0) + u128::from(stats.used.1));
            size = stats.size.map_or(0.0, |(v4, v6)| approximate(u128::from(v4) + u128::from(v6)));
        }
        for pool in &group.pools {
            used += approximate(self.book.used(pool.range));
            size += approximate(pool.range.size());
        }
        self.metrics.pool_size.with_label_values(&[name]).set(size);
        self.metrics.pool_in_use.with_label_values(&[name]).set(used);
        if self.is_external(name) {
            let owed = i64::try_from(self.ledger.owed(name).count()).unwrap_or(i64::MAX);
            self.metrics.owed.with_label_values(&[name]).set(owed);
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
