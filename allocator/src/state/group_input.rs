//! Changes of ServiceGroups and of the nodes' subnets.

use std::collections::BTreeSet;

use ipnetwork::IpNetwork;
use runtime::events::Kind;
use tracing::{info, warn};

use super::groups::GroupEffects;
use super::index::Index;
use crate::model::{GroupId, GroupObject, Scope, Service, ServiceName};
use crate::plan::Notice;

impl Index {
    /// A ServiceGroup was added or changed.
    pub fn apply_group(&mut self, object: GroupObject) {
        let effects = self.groups.apply(object);
        self.groups_changed(effects);
    }

    /// A ServiceGroup was deleted.
    pub fn delete_group(&mut self, id: &GroupId) {
        let effects = self.groups.delete(id);
        self.groups_changed(effects);
    }

    /// The complete list of ServiceGroups.
    pub fn reset_groups(&mut self, objects: Vec<GroupObject>) {
        let effects = self.groups.reset(objects);
        self.groups_changed(effects);
    }

    fn groups_changed(&mut self, effects: GroupEffects) {
        for id in &effects.gone {
            self.status.forget(id);
        }
        if effects.table_changed {
            self.addresses.set_ranges(self.groups.table().ranges());
            self.take_over_external_groups();
            for name in self.services.names() {
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
    pub fn set_node_subnets(&mut self, subnets: BTreeSet<IpNetwork>) {
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
