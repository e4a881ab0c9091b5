//! Telling the Services, in their annotations, who announces their addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use api_types::Family;
use api_types::names::{annotation as keys, reason};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{Patch, PatchParams};
use runtime::events::Kind as Urgency;
use runtime::log::ErrorChain;
use runtime::write::{Next, within};
use runtime::{BootTime, Task};
use serde_json::{Map, Value, json};

use super::Agent;
use crate::cluster::service::{ServiceName, ServiceView};
use crate::decide::reason::Reason;
use crate::model::placement::Kind;
use crate::report::annotation::{Edit, Role, edit};
use crate::report::lease::content::FIELD_MANAGER;

/// How long one write may take.
const DEADLINE: Duration = Duration::from_secs(5);

impl Agent {
    /// The annotations of the Services with this address may need a change.
    pub(super) fn note_slots(&mut self, ip: IpAddr) {
        let now = BootTime::now();
        // All nodes see a change at once; they need not write at once.
        let jitter = Duration::from_millis(u64::from(now.as_millis().to_le_bytes()[0]) / 4);
        let local = self.local.held.contains_key(&ip);
        for service in self.cluster.services.of(ip) {
            // Remote addresses have no entries, unless they were local before.
            if !local && service.announcing(Family::of(ip)).is_none() {
                continue;
            }
            self.slots.note(&service.name, now, jitter);
        }
    }

    /// Writes what is due.
    pub(super) fn tell(&mut self) {
        let now = BootTime::now();
        for name in self.slots.due(now) {
            if self.write_slots(&name, now) {
                return;
            }
        }
    }

    /// Starts the write of a Service's announcing annotations; returns whether there is one.
    fn write_slots(&mut self, name: &ServiceName, now: BootTime) -> bool {
        let Some(service) = self.cluster.services.get(name) else {
            self.slots.forget(name);
            return false;
        };
        let edits: Vec<(Family, Edit)> = Family::ALL
            .into_iter()
            .filter_map(|family| self.edit(service, family).map(|edit| (family, edit)))
            .collect();
        if edits.is_empty() {
            self.slots.forget(name);
            return false;
        }
        let mut annotations = Map::new();
        for (family, edit) in &edits {
            let key = if *family == Family::V4 { keys::ANNOUNCING_IPV4 } else { keys::ANNOUNCING_IPV6 };
            annotations.insert(key.to_owned(), edit.text.clone().map_or(Value::Null, Value::String));
            for from in &edit.replaced {
                self.outside.metrics.slot_steals.with_label_values(&[from, &self.settings.node]).inc();
                let text = format!("node {} announces addresses that node {from} announced", self.settings.node);
                for address in service.addresses.iter().filter(|address| Family::of(**address) == *family).take(1) {
                    self.tell_users(*address, Urgency::Normal, reason::ANNOUNCE_SLOT_STEAL, &text);
                }
            }
        }
        // The version makes sure that nobody else's entry is lost.
        let patch = Patch::Merge(json!({"metadata": {
            "resourceVersion": service.resource_version, "uid": service.uid, "annotations": annotations
        }}));
        let api: Api<Service> = Api::namespaced(self.outside.client.clone(), &name.namespace);
        let (writes, service) = (self.outside.metrics.writes.clone(), name.clone());
        self.slots.begin(name, now);
        self.slot_write = Some(Task::spawn(async move {
            let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            let request = api.patch_status(&service.name, &parameters, &patch);
            match writes.count("service", within(DEADLINE, request).await) {
                Ok(_) => true,
                Err(error) if error.next() == Next::Forget => true,
                Err(error) => {
                    tracing::debug!(op = "annotate", service = %service, error = %ErrorChain(&error), "annotation not written yet");
                    false
                }
            }
        }));
        true
    }

    /// The write under way has ended.
    pub(super) fn slot_written(&mut self, succeeded: bool) {
        self.slot_write = None;
        self.slots.end(succeeded, BootTime::now());
    }

    fn edit(&self, service: &ServiceView, family: Family) -> Option<Edit> {
        let of_family = service.addresses.iter().filter(|address| Family::of(**address) == family);
        let roles: BTreeMap<IpAddr, Role> = of_family.map(|address| (*address, self.role(*address))).collect();
        edit(service.announcing(family), &self.settings.node, &roles)
    }

    fn role(&self, address: IpAddr) -> Role {
        let Some(status) = self.status.get(&address) else { return Role::NotOwner };
        match (status.placed, &status.decision.reason) {
            (Some(placed), _) if placed.kind == Kind::Local => {
                Role::Announces(self.observed.name_of(placed.key.index).to_owned())
            }
            (None, Reason::NotOwner | Reason::Undecided) => Role::NotOwner,
            _ => Role::CannotAnnounce,
        }
    }
}
