//! Reserved addresses: what follows when one comes, goes, or is held by a Service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::Announce;
use api_types::names::reason;
use api_types::reserved::subnet_addresses;
use tracing::warn;

use super::index::Index;
use crate::addresses::ReservedFor;
use crate::model::{GroupId, Scope, Service, ServiceName};
use crate::plan::Notice;

impl Index {
    /// Replaces the addresses that are reserved for this. Returns those that were or are, and not both.
    pub(super) fn set_reserved(&mut self, reserved_for: &ReservedFor, addresses: &[IpAddr]) -> Vec<IpAddr> {
        let changed = self.addresses.set_reserved(reserved_for, addresses);
        let table = self.groups.table();
        let in_groups = changed.iter().filter_map(|&address| table.group_of(address)).map(|(group, _)| group);
        let groups: BTreeSet<GroupId> = in_groups.filter_map(|group| table.id_of(&group.name)).cloned().collect();
        if !groups.is_empty() {
            // A Service may wait for an address that is nobody else's now.
            self.queue.request_retry();
        }
        for group in groups {
            self.status.touch(group);
        }
        for &address in &changed {
            for holder in self.addresses.holders(address).to_vec() {
                self.report_reserved(&holder, address);
            }
        }
        changed
    }

    /// Reserves the addresses of subnets that no host may use. They count for `local` groups of version v2 only: with
    /// version v1 and in routed groups, Services have always had them.
    pub(super) fn reserve_subnet_addresses(&mut self) {
        let mut wanted: BTreeMap<ReservedFor, Vec<IpAddr>> = BTreeMap::new();
        for (_, group) in self.groups.table().accepted().filter(|(_, group)| group.announce == Announce::Local) {
            for pool in &group.pools {
                for (address, role) in subnet_addresses(pool.subnet) {
                    if pool.range.contains(address) {
                        wanted.entry(ReservedFor::Subnet(role, pool.subnet)).or_default().push(address);
                    }
                }
            }
        }
        let keys: BTreeSet<ReservedFor> = wanted.keys().cloned().collect();
        for gone in std::mem::replace(&mut self.cluster.subnets, keys) {
            wanted.entry(gone).or_default();
        }
        for (reserved_for, addresses) in wanted {
            self.set_reserved(&reserved_for, &addresses);
        }
    }

    /// The Service holds these addresses: reports those that are somebody else's too.
    pub(super) fn check_reserved(&mut self, name: &ServiceName, held: &[IpAddr]) {
        self.cluster.reports.retain(name, held);
        for &address in held {
            self.report_reserved(name, address);
        }
    }

    /// A term begins: the new leader reports what it finds.
    pub(super) fn check_all_reserved(&mut self) {
        self.cluster.reports.clear();
        let held: Vec<(ServiceName, Vec<IpAddr>)> =
            self.services.iter().map(|service| (service.name.clone(), service.addresses.clone())).collect();
        for (name, addresses) in held {
            self.check_reserved(&name, &addresses);
            self.check_external_ips(&name);
        }
    }

    /// Tells the owner of a Service that nobody announces its external IPs, where they lie in a group.
    pub(super) fn check_external_ips(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get(name).filter(|service| service.scope == Scope::Ours) else { return };
        let in_group = |address: &&IpAddr| self.groups.table().group_of(**address).is_some();
        let addresses: Vec<String> = service.external_ips.iter().filter(in_group).map(ToString::to_string).collect();
        if addresses.is_empty() {
            return;
        }
        let text = format!(
            "spec.externalIPs announces nothing: to get {}, name it in the annotation purelb.io/addresses",
            addresses.join(", ")
        );
        self.publish(service.reference(), Notice::warning(reason::CONFIGURATION_WARNING, text));
    }

    fn report_reserved(&mut self, name: &ServiceName, address: IpAddr) {
        let is_concern = |found: &&ReservedFor| match found {
            ReservedFor::ExternalIp(service) => service.namespace() != name.namespace(),
            _ => true,
        };
        let Some(found) = self.addresses.reserved_for(address).find(is_concern) else {
            return self.cluster.reports.forget(name, address);
        };
        let Some(service) = self.services.get(name).filter(|service| service.scope == Scope::Ours) else { return };
        let (whose, text) = (found.to_string(), reserved_text(found, service, address));
        let object = service.reference();
        if self.leading && self.cluster.reports.note(name, address) {
            warn!(op = "reserved", service = %name, %address, whose, "a Service has an address of somebody else");
            self.publish(object, Notice::warning(reason::RESERVED_ADDRESS, text));
        }
    }
}

fn reserved_text(found: &ReservedFor, service: &Service, address: IpAddr) -> String {
    let whose = found.seen_from(service.name.namespace());
    let closed = if matches!(found, ReservedFor::ExternalIp(_)) { ", whose ports are closed on it" } else { "" };
    format!(
        "{address} is also {whose}{closed}: the Service keeps it; to move the Service, name another address in the annotation purelb.io/addresses and set purelb.io/re-evaluate to true"
    )
}
