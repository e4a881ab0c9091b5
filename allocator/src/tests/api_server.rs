//! A simulated API server.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;

use serde_json::{Value, json};

/// What a watch delivers.
#[derive(Debug, Clone)]
pub(super) enum Delivery {
    Service(Value),
    ServiceGone(Value),
    Group(Value),
    GroupGone(Value),
}

/// The API server. Objects are JSON, so that the patches themselves are tested.
#[derive(Debug)]
pub(super) struct ApiServer {
    pub(super) services: BTreeMap<String, Value>,
    pub(super) groups: BTreeMap<String, Value>,
    version: u64,
    uids: u64,
    pub(super) deliveries: VecDeque<Delivery>,
    /// Writes to each Service that changed something.
    pub(super) writes: BTreeMap<String, u32>,
    /// The record of what is owed to sidecars; `None` if its object does not exist.
    pub(super) record: Option<String>,
    /// What the leader says in its Lease.
    pub(super) lease: Rc<RefCell<Option<String>>>,
    /// The time of day, in seconds since the epoch.
    pub(super) seconds: i64,
}

impl Default for ApiServer {
    /// As the manifests leave it.
    fn default() -> Self {
        Self {
            services: BTreeMap::new(),
            groups: BTreeMap::new(),
            version: 0,
            uids: 0,
            deliveries: VecDeque::new(),
            writes: BTreeMap::new(),
            record: Some(String::new()),
            lease: Rc::default(),
            seconds: 0,
        }
    }
}

impl ApiServer {
    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    /// Creates or replaces a Service's spec and annotations, as a user does.
    #[allow(clippy::needless_pass_by_value, reason = "calls read better without the reference")]
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
        let not_ours = object["spec"]["type"] != "LoadBalancer";
        if not_ours {
            object["status"] = json!({});
        }
        self.services.insert(name.to_owned(), object.clone());
        self.deliveries.push_back(if not_ours { Delivery::ServiceGone(object) } else { Delivery::Service(object) });
    }

    pub(super) fn delete_service(&mut self, name: &str) {
        if let Some(mut object) = self.services.remove(name) {
            object["metadata"]["resourceVersion"] = json!(self.next_version());
            self.deliveries.push_back(Delivery::ServiceGone(object));
        }
    }

    pub(super) fn put_group(&mut self, name: &str, spec: &Value) {
        let version = self.next_version();
        let object = self.groups.entry(name.to_owned()).or_insert_with(|| {
            let second: u32 = version.parse().unwrap();
            json!({"metadata": {"name": name, "namespace": "purelb", "uid": format!("group-{name}-{second}"),
                "creationTimestamp": format!("2026-01-01T{:02}:{:02}:{:02}Z", second / 3600 % 24, second / 60 % 60, second % 60),
                "generation": 0}})
        });
        let generation = object["metadata"]["generation"].as_i64().unwrap();
        object["metadata"]["generation"] = json!(generation + 1);
        object["metadata"]["resourceVersion"] = json!(version);
        object["spec"] = spec.clone();
        let object = object.clone();
        self.deliveries.push_back(Delivery::Group(object));
    }

    /// The allocator writes the status of a group.
    pub(super) fn set_group_status(&mut self, name: &str, status: &Value) {
        let version = self.next_version();
        let Some(object) = self.groups.get_mut(name) else { return };
        object["status"] = status.clone();
        object["metadata"]["resourceVersion"] = json!(version);
        let object = object.clone();
        self.deliveries.push_back(Delivery::Group(object));
    }

    pub(super) fn delete_group(&mut self, name: &str) {
        if let Some(object) = self.groups.remove(name) {
            self.deliveries.push_back(Delivery::GroupGone(object));
        }
    }

    /// Sets addresses without the allocator, as another controller or a defect would.
    pub(super) fn set_ingress(&mut self, name: &str, addresses: &[&str]) {
        let ingress: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
        self.edit_service(name, "kubectl-patch", |object| {
            object["status"]["loadBalancer"] = json!({"ingress": ingress});
        });
    }

    /// Replaces the status by the hand of this field manager.
    pub(super) fn set_status(&mut self, name: &str, manager: &str, status: Value) {
        self.edit_service(name, manager, |object| object["status"] = status);
    }

    /// Replaces all annotations of ours, as `kubectl replace` does.
    #[allow(clippy::needless_pass_by_value, reason = "calls read better without the reference")]
    pub(super) fn replace_annotations(&mut self, name: &str, annotations: Value) {
        self.edit_service(name, "kubectl-replace", |object| object["metadata"]["annotations"] = annotations);
    }

    /// A user deletes the Service, and a finalizer of somebody else holds it.
    pub(super) fn begin_deletion(&mut self, name: &str) {
        self.edit_service(name, "kubectl-delete", |object| {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        });
    }

    /// Edits a Service by the hand of this field manager.
    pub(super) fn edit_service(&mut self, name: &str, manager: &str, edit: impl FnOnce(&mut Value)) {
        let version = self.next_version();
        let Some(object) = self.services.get_mut(name) else { return };
        let before = object.clone();
        edit(object);
        note_writer(&before, object, manager, self.seconds);
        object["metadata"]["resourceVersion"] = json!(version);
        let object = object.clone();
        self.deliveries.push_back(Delivery::Service(object));
    }

    /// A merge patch of a Service's status, with its preconditions, by the allocator.
    pub(super) fn patch(&mut self, name: &str, body: &Value) -> Result<Value, u16> {
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
        note_writer(known, &mut object, crate::FIELD_MANAGER, self.seconds);
        object["metadata"]["resourceVersion"] = json!(self.next_version());
        self.services.insert(name.to_owned(), object.clone());
        *self.writes.entry(name.to_owned()).or_default() += 1;
        if object["spec"]["type"] == "LoadBalancer" {
            self.deliveries.push_back(Delivery::Service(object.clone()));
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

/// Keeps the managed fields, as far as anybody looks at them: whoever sets the addresses takes them from all others, and
/// who takes them off owns nothing.
fn note_writer(before: &Value, after: &mut Value, manager: &str, seconds: i64) {
    let ingress = |object: &Value| object.pointer("/status/loadBalancer/ingress").cloned().unwrap_or(json!([]));
    let mut fields = json!({"f:metadata": {"f:annotations": {}}});
    let entries = after["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let mut others: Vec<Value> = entries.into_iter().filter(|entry| entry["manager"] != manager).collect();
    if ingress(before) != ingress(after) {
        for entry in &mut others {
            entry["fieldsV1"].as_object_mut().unwrap().remove("f:status");
        }
        if ingress(after) != json!([]) {
            fields["f:status"] = json!({"f:loadBalancer": {"f:ingress": {}}});
        }
    } else if let Some(known) = before["metadata"]["managedFields"].as_array()
        && let Some(entry) = known.iter().find(|entry| entry["manager"] == manager)
    {
        fields = entry["fieldsV1"].clone();
    }
    let time = k8s_openapi::jiff::Timestamp::from_second(seconds).unwrap().to_string();
    others.push(json!({"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields}));
    after["metadata"]["managedFields"] = json!(others);
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
