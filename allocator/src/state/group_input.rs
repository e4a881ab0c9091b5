//! Changes of ServiceGroups and of the nodes' subnets.

use std::collections::BTreeSet;

use ipnetwork::IpNetwork;
use runtime::events::Kind;
use tracing::{info, warn};

use super::groups::{GroupEffects, Groups, IsInUse};
use super::index::Index;
use crate::model::{GroupId, GroupObject, Scope, Service, ServiceName, ServiceNetworks};
use crate::plan::Notice;

impl Index {
    /// A ServiceGroup was added or changed.
    pub fn apply_group(&mut self, object: GroupObject) {
        self.change_groups(|groups, in_use| groups.apply(object, in_use));
    }

    /// A ServiceGroup was deleted.
    pub fn delete_group(&mut self, id: &GroupId) {
        self.change_groups(|groups, in_use| groups.delete(id, in_use));
    }

    /// The complete list of ServiceGroups.
    pub fn reset_groups(&mut self, objects: Vec<GroupObject>) {
        self.change_groups(|groups, in_use| groups.reset(objects, in_use));
    }

    /// The networks of cluster IPs have changed.
    pub(super) fn set_service_networks(&mut self, networks: ServiceNetworks) {
        self.change_groups(|groups, in_use| groups.set_service_networks(networks, in_use));
    }

    /// Other Services are known.
    pub(super) fn recheck_groups(&mut self) {
        self.change_groups(Groups::recheck);
    }

    fn change_groups(&mut self, change: impl FnOnce(&mut Groups, IsInUse<'_>) -> GroupEffects) {
        let (services, addresses) = (&self.services, &self.addresses);
        let is_from_us = |holder: &ServiceName| {
            services.get(holder).is_some_and(|service| service.scope == Scope::Ours && service.written.by_us)
        };
        let effects = change(&mut self.groups, &|group| {
            group.pools.iter().flat_map(|pool| addresses.holders_in(pool.range)).any(is_from_us)
        });
        self.groups_changed(effects);
    }

    fn groups_changed(&mut self, effects: GroupEffects) {
        for id in &effects.gone {
            self.status.forget(id);
            self.report_gone(id);
        }
        if effects.table_changed {
            self.announcing.touch();
            self.addresses.set_ranges(self.groups.table().ranges());
            self.reserve_subnet_addresses();
            self.take_over_external_groups();
            for name in self.services.names() {
                self.classify(&name);
                self.services.note_edit(&name);
                self.enqueue(&name);
            }
        }
        if effects.specs_changed {
            self.metrics.out_of_scope.reset();
            for ((namespace, name), kind) in self.groups.table().out_of_scope() {
                self.metrics.out_of_scope.with_label_values(&[namespace.as_str(), name, kind]).set(1);
            }
            self.status.touch_all();
        }
        self.report_groups(effects.notices);
    }

    pub(super) fn report_groups(&mut self, notices: Vec<(GroupId, Notice)>) {
        for (id, notice) in notices {
            if notice.kind == Kind::Warning {
                warn!(op = "group", namespace = id.0, name = id.1, reason = notice.reason, "{}", notice.text);
            } else {
                info!(op = "group", namespace = id.0, name = id.1, reason = notice.reason, "{}", notice.text);
            }
            self.publish(self.groups.reference(&id), notice);
        }
    }

    /// The subnets of the nodes that are alive.
    pub(super) fn set_node_subnets(&mut self, subnets: BTreeSet<IpNetwork>) {
        if subnets != self.node_subnets {
            self.node_subnets = subnets;
            self.status.touch_all();
            self.enqueue_multi_pool();
        }
    }

    fn enqueue_multi_pool(&mut self) {
        let services = self.services.iter();
        let affected = services.filter(|service| service.addresses.is_empty() || self.may_use_multi_pool(service));
        let names: Vec<ServiceName> = affected.map(|service| service.name.clone()).collect();
        for name in names {
            self.enqueue(&name);
        }
    }

    /// Whether the Service may take one more address although it has one of each family.
    fn may_use_multi_pool(&self, service: &Service) -> bool {
        service.scope == Scope::Ours
            && service.requested.multi_pool.unwrap_or_else(|| {
                let mut groups = service.addresses.iter().filter_map(|&address| self.groups.table().group_of(address));
                groups.any(|(group, _)| group.multi_pool)
            })
    }
}
