//! A simulated API server and the edge between it and an index.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use prometheus::Registry;
use runtime::BootTime;
use runtime::events::Event;
use serde_json::{Value, json};

use crate::groups::WatchedGroup;
use crate::index::{Index, Outcome, ServicePatch, Task, clean};
use crate::metrics::Metrics;
use crate::service::{Service, Watched};

/// What a watch delivers.
#[derive(Debug, Clone)]
enum Told {
    Service(Value),
    ServiceGone(Value),
    Group(Value),
    GroupGone(Value),
}

/// The API server: objects as JSON, so that the very patches are tested.
#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) services: BTreeMap<String, Value>,
    pub(super) groups: BTreeMap<String, Value>,
    version: u64,
    uids: u64,
    told: VecDeque<Told>,
    /// Writes to each Service that changed something.
    pub(super) writes: BTreeMap<String, u32>,
}

impl Server {
    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    /// Creates or replaces a Service's spec and annotations, as a user does.
    #[allow(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    pub(super) fn put_service(&mut self, name: &str, spec: Value, annotations: Value) {
        let version = self.next_version();
        let mut object = self.services.get(name).cloned().unwrap_or_else(|| {
            self.uids += 1;
            let second = self.uids;
            json!({"metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{second:05}"),
                "creationTimestamp": format!("2026-01-01T00:{:02}:{:02}Z", second / 60 % 60, second % 60), "annotations": {}}})
        });
        object["metadata"]["resourceVersion"] = json!(version);
        object["spec"] = spec;
        if object["spec"].get("clusterIP").is_none() {
            object["spec"]["clusterIP"] = json!("10.96.0.1");
        }
        if object["spec"].get("type").is_none() {
            object["spec"]["type"] = json!("LoadBalancer");
        }
        merge(&mut object["metadata"]["annotations"], &annotations);
        let left = object["spec"]["type"] != "LoadBalancer";
        if left {
            object["status"] = json!({});
        }
        self.services.insert(name.to_owned(), object.clone());
        self.told.push_back(if left { Told::ServiceGone(object) } else { Told::Service(object) });
    }

    pub(super) fn delete_service(&mut self, name: &str) {
        if let Some(mut object) = self.services.remove(name) {
            object["metadata"]["resourceVersion"] = json!(self.next_version());
            self.told.push_back(Told::ServiceGone(object));
        }
    }

    pub(super) fn put_group(&mut self, name: &str, spec: &Value) {
        let generation = self.groups.get(name).and_then(|old| old["metadata"]["generation"].as_i64()).unwrap_or(0) + 1;
        let object = json!({"metadata": {"name": name, "namespace": "purelb", "uid": format!("group-{name}"),
            "generation": generation, "resourceVersion": self.next_version()}, "spec": spec});
        self.groups.insert(name.to_owned(), object.clone());
        self.told.push_back(Told::Group(object));
    }

    pub(super) fn delete_group(&mut self, name: &str) {
        if let Some(object) = self.groups.remove(name) {
            self.told.push_back(Told::GroupGone(object));
        }
    }

    /// Sets addresses past us, as another controller or a defect would.
    pub(super) fn set_ingress(&mut self, name: &str, addresses: &[&str]) {
        let version = self.next_version();
        let Some(object) = self.services.get_mut(name) else { return };
        let ingress: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
        object["status"] = json!({"loadBalancer": {"ingress": ingress}});
        object["metadata"]["resourceVersion"] = json!(version);
        let object = object.clone();
        self.told.push_back(Told::Service(object));
    }

    /// A merge patch of a Service's status, with its preconditions.
    fn patch(&mut self, name: &str, body: &Value) -> Result<Value, u16> {
        let known = self.services.get(name).ok_or(404_u16)?;
        for precondition in ["uid", "resourceVersion"] {
            let wanted = &body["metadata"][precondition];
            if !wanted.is_null() && *wanted != known["metadata"][precondition] {
                return Err(409);
            }
        }
        let mut object = known.clone();
        merge(&mut object, &json!({"metadata": {"annotations": body["metadata"]["annotations"]}}));
        if let Some(status) = body.get("status") {
            if object.get("status").is_none() {
                object["status"] = json!({});
            }
            merge(&mut object["status"], status);
        }
        if object == *known {
            return Ok(object);
        }
        object["metadata"]["resourceVersion"] = json!(self.next_version());
        self.services.insert(name.to_owned(), object.clone());
        *self.writes.entry(name.to_owned()).or_default() += 1;
        if object["spec"]["type"] == "LoadBalancer" {
            self.told.push_back(Told::Service(object.clone()));
        }
        Ok(object)
    }

    pub(super) fn addresses(&self, name: &str) -> Vec<IpAddr> {
        self.services.get(name).map(addresses).unwrap_or_default()
    }

    pub(super) fn annotation(&self, name: &str, key: &str) -> Option<String> {
        self.services.get(name)?["metadata"]["annotations"][key].as_str().map(str::to_owned)
    }
}

pub(super) fn addresses(object: &Value) -> Vec<IpAddr> {
    let ingress = object.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    ingress.into_iter().flatten().filter_map(|entry| entry["ip"].as_str()?.parse().ok()).collect()
}

/// JSON merge patch (RFC 7386).
fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

pub(super) fn reduced(object: &Value) -> Option<Service> {
    serde_json::from_value::<Watched>(object.clone()).unwrap().reduce(true)
}

/// A replica: an index and the writes that it has under way.
pub(super) struct Replica {
    pub(super) index: Index,
    pub(super) flights: Vec<ServicePatch>,
    pub(super) events: Vec<Event>,
}

impl Replica {
    /// A new leader that has read everything.
    pub(super) fn leader(server: &mut Server, clean: bool, fence: &str) -> Self {
        let mut index = Index::new("purelb", Metrics::new(&Registry::new()).unwrap());
        server.told.clear();
        index.reset_services(server.services.values().filter_map(reduced).collect());
        let group = |object: &Value| serde_json::from_value::<WatchedGroup>(object.clone()).unwrap().reduce();
        index.reset_groups(server.groups.values().map(group).collect());
        index.lead(clean, fence);
        Self { index, flights: Vec::new(), events: Vec::new() }
    }

    /// The watch delivers its next event.
    pub(super) fn deliver(&mut self, server: &mut Server) -> bool {
        let Some(told) = server.told.pop_front() else { return false };
        let group = |object: Value| serde_json::from_value::<WatchedGroup>(object).unwrap().reduce();
        match told {
            Told::Service(object) => self.index.apply_service(reduced(&object).unwrap()),
            Told::ServiceGone(object) => {
                self.index.delete_service(&serde_json::from_value::<Watched>(object).unwrap().trace());
            }
            Told::Group(object) => self.index.apply_group(group(object)),
            Told::GroupGone(object) => {
                let object = group(object);
                self.index.delete_group(&(object.namespace, object.name));
            }
        }
        true
    }

    /// Puts the next patch under way.
    pub(super) fn send(&mut self) -> bool {
        let patch = self.index.next_patch();
        let sent = patch.is_some();
        self.flights.extend(patch);
        self.events.extend(self.index.take_events());
        sent
    }

    /// A patch under way arrives, and its answer comes back, unless it is lost: then it is sent again.
    pub(super) fn answer(&mut self, server: &mut Server, which: usize, lose: bool) -> Option<(Value, Value)> {
        if self.flights.is_empty() {
            return None;
        }
        let patch = self.flights.remove(which % self.flights.len());
        let name = patch.name.name().to_owned();
        let before = server.services.get(&name).cloned().unwrap_or_default();
        let result = server.patch(&name, &patch.body);
        let after = server.services.get(&name).cloned().unwrap_or_default();
        if lose {
            self.flights.push(patch);
            return Some((before, after));
        }
        if patch.task == Task::Clean && result == Err(409) {
            // As the edge does it: once more for the newer state, if it still needs it.
            let now =
                server.services.get(&name).map(|object| serde_json::from_value::<Watched>(object.clone()).unwrap());
            self.flights.extend(now.and_then(|now| now.leftover()).map(|leftover| clean(&leftover)));
            return Some((before, after));
        }
        let outcome = match result {
            Ok(object) => reduced(&object).map_or(Outcome::Gone, Outcome::Written),
            Err(404) => Outcome::Gone,
            Err(_) => server.services.get(&name).and_then(reduced).map_or(Outcome::Gone, Outcome::Conflict),
        };
        self.index.written(&patch, outcome);
        self.events.extend(self.index.take_events());
        Some((before, after))
    }

    /// Works until there is nothing left to do.
    pub(super) fn settle(&mut self, server: &mut Server) {
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
        panic!("never comes to rest");
    }

    /// The reasons and sentences said since the last call.
    pub(super) fn said(&mut self) -> Vec<String> {
        self.events.extend(self.index.take_events());
        self.events.drain(..).map(|event| format!("{} {}", event.reason, event.note)).collect()
    }

    pub(super) fn group_status(&mut self, name: &str) -> Value {
        self.index.status.touch_all();
        let now = BootTime::now() + std::time::Duration::from_secs(3600);
        self.index.status.forget_written();
        let patches = self.index.status_patches(now, k8s_openapi::jiff::Timestamp::UNIX_EPOCH, usize::MAX);
        patches
            .into_iter()
            .find(|patch| patch.group.1 == name)
            .map(|patch| patch.body["status"].clone())
            .unwrap_or_default()
    }

    pub(super) fn fences(&self) -> usize {
        self.flights.iter().filter(|patch| patch.task == Task::Fence).count()
    }
}
