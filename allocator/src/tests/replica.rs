//! A simulated replica: an index, and the edge between it and the simulated API server.

use prometheus::Registry;
use runtime::BootTime;
use runtime::events::Event;
use serde_json::Value;

use super::api_server::{ApiServer, Delivery};
use crate::metrics::Metrics;
use crate::model::{Service, WatchedGroup, WatchedService};
use crate::state::{Index, Outcome, Purpose, ServicePatch, clean_up};

pub(super) fn kept(object: &Value) -> Option<Service> {
    serde_json::from_value::<WatchedService>(object.clone()).unwrap().keep(true)
}

/// A replica: an index and its writes in flight.
pub(super) struct Replica {
    pub(super) index: Index,
    pub(super) writes: Vec<ServicePatch>,
    pub(super) events: Vec<Event>,
}

impl Replica {
    /// A new leader that has read everything.
    pub(super) fn leader(server: &mut ApiServer, clean: bool, fence: &str) -> Self {
        let mut index = Index::new("purelb", Metrics::new(&Registry::new()).unwrap());
        server.deliveries.clear();
        index.reset_services(server.services.values().filter_map(kept).collect());
        let group = |object: &Value| serde_json::from_value::<WatchedGroup>(object.clone()).unwrap().keep();
        index.reset_groups(server.groups.values().map(group).collect());
        index.lead(clean, fence);
        Self { index, writes: Vec::new(), events: Vec::new() }
    }

    /// The watch delivers its next event.
    pub(super) fn deliver(&mut self, server: &mut ApiServer) -> bool {
        let Some(delivery) = server.deliveries.pop_front() else { return false };
        let group = |object: Value| serde_json::from_value::<WatchedGroup>(object).unwrap().keep();
        match delivery {
            Delivery::Service(object) => self.index.apply_service(kept(&object).unwrap()),
            Delivery::ServiceGone(object) => {
                self.index.delete_service(&serde_json::from_value::<WatchedService>(object).unwrap().as_leftover());
            }
            Delivery::Group(object) => self.index.apply_group(group(object)),
            Delivery::GroupGone(object) => {
                let object = group(object);
                self.index.delete_group(&(object.namespace, object.name));
            }
        }
        true
    }

    /// Sends the next write.
    pub(super) fn send(&mut self) -> bool {
        let patch = self.index.next_patch();
        let sent = patch.is_some();
        self.writes.extend(patch);
        self.events.extend(self.index.take_events());
        sent
    }

    /// A write in flight arrives. Its answer comes back, or is lost; then the write is sent again.
    pub(super) fn answer(&mut self, server: &mut ApiServer, which: usize, lose: bool) -> Option<(Value, Value)> {
        if self.writes.is_empty() {
            return None;
        }
        let patch = self.writes.remove(which % self.writes.len());
        let name = patch.name.name().to_owned();
        let before = server.services.get(&name).cloned().unwrap_or_default();
        let result = server.patch(&name, &patch.body);
        let after = server.services.get(&name).cloned().unwrap_or_default();
        if lose {
            self.writes.push(patch);
            return Some((before, after));
        }
        if patch.purpose == Purpose::CleanUp && result == Err(409) {
            // As the edge does: once more for the newer state, if that still needs it.
            let now = server
                .services
                .get(&name)
                .map(|object| serde_json::from_value::<WatchedService>(object.clone()).unwrap());
            self.writes.extend(now.and_then(|now| now.leftover()).map(|leftover| clean_up(&leftover)));
            return Some((before, after));
        }
        let outcome = match result {
            Ok(object) => kept(&object).map_or(Outcome::Gone, Outcome::Written),
            Err(404) => Outcome::Gone,
            Err(_) => server.services.get(&name).and_then(kept).map_or(Outcome::Gone, Outcome::Conflict),
        };
        self.index.written(&patch, outcome);
        self.events.extend(self.index.take_events());
        Some((before, after))
    }

    /// Works until nothing is left to do.
    pub(super) fn settle(&mut self, server: &mut ApiServer) {
        for _ in 0..10_000 {
            let mut busy = self.deliver(server);
            busy |= self.send();
            busy |= self.answer(server, 0, false).is_some();
            if self.index.wants_retry() {
                self.index.retry();
                busy = true;
            }
            if !busy {
                return;
            }
        }
        panic!("there is always something left to do");
    }

    /// The reasons and texts of the Kubernetes events since the last call.
    pub(super) fn take_reports(&mut self) -> Vec<String> {
        self.events.extend(self.index.take_events());
        self.events.drain(..).map(|event| format!("{} {}", event.reason, event.note)).collect()
    }

    pub(super) fn group_status(&mut self, name: &str) -> Value {
        let now = BootTime::now() + std::time::Duration::from_secs(3600);
        self.index.rewrite_statuses();
        let patches = self.index.status_patches(now, k8s_openapi::jiff::Timestamp::UNIX_EPOCH, usize::MAX);
        patches
            .into_iter()
            .find(|patch| patch.group.1 == name)
            .map(|patch| patch.body["status"].clone())
            .unwrap_or_default()
    }

    /// The writes in flight for this purpose.
    pub(super) fn in_flight(&self, purpose: Purpose) -> usize {
        self.writes.iter().filter(|patch| patch.purpose == purpose).count()
    }
}
