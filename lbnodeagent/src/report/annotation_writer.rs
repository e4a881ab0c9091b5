//! Writing the announcing annotations of Services.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use api_types::Family;
use api_types::names::{annotation as keys, reason};
use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use runtime::events::Kind as Severity;
use runtime::log::ErrorChain;
use runtime::write::{Next, within};
use runtime::{BootTime, Task};
use serde_json::{Map, Value, json};

use super::annotation::{Edit, Role, edit};
use super::annotation_budget::AnnotationBudget;
use super::annotation_queue::AnnotationQueue;
use super::lease::content::FIELD_MANAGER;
use super::reporter::Reporter;
use crate::cluster::service::{ServiceName, ServiceView};
use crate::cluster::services::Services;

/// How long one write may take: longer than an admission webhook, which has 10 s by default.
const DEADLINE: Duration = Duration::from_secs(12);

/// Writes the announcing annotations, one Service at a time.
pub struct AnnotationWriter {
    client: Client,
    queue: AnnotationQueue,
    budget: AnnotationBudget,
    /// Since when this node answers for local addresses.
    answers_since: BTreeMap<IpAddr, BootTime>,
    /// The write under way.
    write: Option<Write>,
}

/// A write under way.
struct Write {
    service: ServiceName,
    uid: String,
    families: Vec<Family>,
    /// When the rest may be written.
    rest: Option<BootTime>,
    /// It returns whether it succeeded.
    task: Task<bool>,
}

impl AnnotationWriter {
    /// Without anything to write.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let (queue, budget) = (AnnotationQueue::default(), AnnotationBudget::default());
        Self { client, queue, budget, answers_since: BTreeMap::new(), write: None }
    }

    /// The annotations of the Services with this address may need a change. `local` says whether this node answers for it
    /// as a local address.
    pub fn note(&mut self, services: &Services, ip: IpAddr, local: bool) {
        let now = BootTime::now();
        if local {
            self.answers_since.entry(ip).or_insert(now);
        } else {
            self.answers_since.remove(&ip);
        }
        // All nodes see a change at once. They need not write at once.
        let jitter = Duration::from_millis(u64::from(now.as_millis().to_le_bytes()[0]) / 4);
        for service in services.of(ip) {
            // A remote address has no entry, unless it was local before.
            if local || service.announcing(Family::of(ip)).is_some() {
                self.queue.note(&service.name, now, jitter);
            }
        }
    }

    /// When the next write is due.
    #[must_use]
    pub fn wake(&self) -> Option<BootTime> {
        self.queue.wake()
    }

    /// Starts the next write that is due, if any. `role` is this node's role for an address of a Service.
    pub fn write_due(&mut self, services: &Services, reporter: &Reporter, role: impl Fn(&ServiceView, IpAddr) -> Role) {
        let now = BootTime::now();
        for name in self.queue.due(now) {
            if self.write(services, reporter, &name, now, &role) {
                return;
            }
        }
    }

    /// Waits for the end of the write under way; forever, if there is none.
    pub async fn written(&mut self) {
        let Some(write) = &mut self.write else { return std::future::pending().await };
        let succeeded = write.task.join().await.unwrap_or(false);
        let (written, now) = (self.write.take(), BootTime::now());
        self.queue.end(succeeded, now);
        let Some(Write { service, uid, families, rest, .. }) = written.filter(|_| succeeded) else { return };
        for family in families {
            self.budget.written(&uid, family, now);
        }
        if let Some(rest) = rest {
            self.queue.postpone(&service, rest);
        }
    }

    /// Starts the write of a Service's annotations; returns whether there is anything to write.
    fn write(
        &mut self,
        services: &Services,
        reporter: &Reporter,
        name: &ServiceName,
        now: BootTime,
        role: impl Fn(&ServiceView, IpAddr) -> Role,
    ) -> bool {
        let service = services.get(name);
        let edits: Vec<(Family, Edit)> = Family::ALL
            .into_iter()
            .filter_map(|family| family_edit(service?, &reporter.node, family, &role).map(|edit| (family, edit)))
            .collect();
        let Some(service) = service.filter(|_| !edits.is_empty()) else {
            self.queue.forget(name);
            return false;
        };
        let ready_at = |(family, _): &(Family, Edit)| {
            let of_family = service.addresses.iter().filter(|address| Family::of(**address) == *family);
            let news = of_family.filter_map(|address| self.answers_since.get(address)).max();
            self.budget.ready_at(&service.uid, *family, news.copied(), now)
        };
        let rest = edits.iter().map(ready_at).filter(|at| *at > now).min();
        let edits: Vec<(Family, Edit)> = edits.into_iter().filter(|edit| ready_at(edit) <= now).collect();
        if let Some(rest) = rest.filter(|_| edits.is_empty()) {
            self.queue.postpone(name, rest);
            return false;
        }
        let mut annotations = Map::new();
        for (family, edit) in &edits {
            let key = if *family == Family::V4 { keys::ANNOUNCING_IPV4 } else { keys::ANNOUNCING_IPV6 };
            annotations.insert(key.to_owned(), edit.text.clone().map_or(Value::Null, Value::String));
            report_replaced(services, reporter, service, *family, edit);
        }
        // The version makes sure that no other node's entry is lost.
        let patch = Patch::Merge(json!({"metadata": {
            "resourceVersion": service.resource_version, "uid": service.uid, "annotations": annotations
        }}));
        let api: Api<Service> = Api::namespaced(self.client.clone(), &name.namespace);
        let uid = service.uid.to_string();
        let (writes, service) = (reporter.metrics.writes.clone(), name.clone());
        self.queue.begin(name, now);
        let task = Task::spawn(async move {
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
        });
        let families = edits.into_iter().map(|(family, _)| family).collect();
        self.write = Some(Write { service: name.clone(), uid, families, rest, task });
        true
    }
}

/// Reports that this node replaces the entries of others.
fn report_replaced(services: &Services, reporter: &Reporter, service: &ServiceView, family: Family, edit: &Edit) {
    for from in &edit.replaced {
        reporter.metrics.slot_steals.with_label_values(&[from, &reporter.node]).inc();
        let text = format!("node {} announces addresses that node {from} announced", reporter.node);
        for address in service.addresses.iter().filter(|address| Family::of(**address) == family).take(1) {
            reporter.services(services, *address, Severity::Normal, reason::ANNOUNCE_SLOT_STEAL, &text);
        }
    }
}

fn family_edit(
    service: &ServiceView,
    node: &str,
    family: Family,
    role: impl Fn(&ServiceView, IpAddr) -> Role,
) -> Option<Edit> {
    let of_family = service.addresses.iter().filter(|address| Family::of(**address) == family);
    let roles: BTreeMap<IpAddr, Role> = of_family.map(|address| (*address, role(service, *address))).collect();
    edit(service.announcing(family), node, &roles)
}
