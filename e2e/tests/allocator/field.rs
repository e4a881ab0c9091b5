//! A namespace and some ServiceGroups for one test.

use std::{net::IpAddr, path::Path};

use api_types::service::ingress_addresses;
use e2e::{
    Cluster, NAMESPACE,
    audit::GroupRanges,
    eventually,
    testing::{DEADLINE, event},
};
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Event, Namespace, Pod, Service},
};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

/// What belongs to one test. Its Services and groups go when it does, also after a failure.
pub(crate) struct Field<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) client: Client,
    /// The namespace of its Services; its groups begin with this name.
    pub(crate) space: String,
    /// More namespaces.
    others: Vec<String>,
    groups: Vec<(String, String)>,
}

impl Drop for Field<'_> {
    fn drop(&mut self) {
        for space in self.others.iter().chain([&self.space]) {
            let all = ["delete", "services", "--all", "--timeout=60s", "--namespace", space];
            let namespace = ["delete", "namespace", "--wait=false", "--ignore-not-found", space];
            for arguments in [&all[..], &namespace[..]] {
                if let Err(error) = self.cluster.kubectl(arguments) {
                    eprintln!("clean-up: {error}");
                }
            }
        }
        for (namespace, name) in &self.groups {
            let group = ["delete", "servicegroup", "--ignore-not-found", "--namespace", namespace, name];
            if let Err(error) = self.cluster.kubectl(&group) {
                eprintln!("clean-up: {error}");
            }
        }
    }
}

/// The words of an annotation of ours.
pub(crate) fn group(name: &str) -> (&'static str, &str) {
    ("service-group", name)
}

/// A range of a group.
pub(crate) fn pool(pool: &str, subnet: &str) -> Value {
    json!({"pool": pool, "subnet": subnet})
}

impl<'a> Field<'a> {
    pub(crate) async fn new(cluster: &'a Cluster, name: &str) -> Self {
        let client = cluster.kube().await.unwrap();
        // A namespace of an earlier run may not be gone yet.
        let space = format!("{name}-{}", std::process::id());
        let field = Self { cluster, client, space: space.clone(), others: Vec::new(), groups: Vec::new() };
        field.make_namespace(&space).await;
        field
    }

    async fn make_namespace(&self, name: &str) {
        let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        Api::<Namespace>::all(self.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    }

    /// One more namespace.
    pub(crate) async fn another_namespace(&mut self, suffix: &str) -> String {
        let name = format!("{}-{suffix}", self.space);
        self.make_namespace(&name).await;
        self.others.push(name.clone());
        name
    }

    fn group_api(&self, namespace: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("purelb.io", "v2", "ServiceGroup");
        Api::namespaced_with(self.client.clone(), namespace, &ApiResource::from_gvk_with_plural(&kind, "servicegroups"))
    }

    /// Makes or replaces a group of this very name.
    pub(crate) async fn group(&mut self, name: &str, spec: Value) {
        self.group_in(NAMESPACE, name, spec).await;
    }

    pub(crate) async fn group_in(&mut self, namespace: &str, name: &str, spec: Value) {
        let id = (namespace.to_owned(), name.to_owned());
        if !self.groups.contains(&id) {
            self.groups.push(id);
        }
        let object = json!({
            "apiVersion": "purelb.io/v2", "kind": "ServiceGroup",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec,
        });
        let parameters = PatchParams::apply("e2e").force();
        self.group_api(namespace).patch(name, &parameters, &Patch::Apply(&object)).await.unwrap();
    }

    pub(crate) async fn delete_group(&self, name: &str) {
        self.group_api(NAMESPACE).delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub(crate) async fn group_object(&self, name: &str) -> Value {
        serde_json::to_value(self.group_api(NAMESPACE).get(name).await.unwrap()).unwrap()
    }

    /// The groups of the install namespace as the audit wants them.
    pub(crate) async fn ranges(&self) -> Vec<GroupRanges> {
        let groups = self.group_api(NAMESPACE).list(&ListParams::default()).await.unwrap();
        groups.iter().map(|group| GroupRanges::read(&serde_json::to_value(group).unwrap())).collect()
    }

    /// Waits until a condition of a group has this status and a message with these words.
    pub(crate) async fn condition(&self, name: &str, kind: &str, status: &str, words: &str) {
        eventually(DEADLINE, format!("group {name} with {kind}={status} and {words:?}"), async || {
            let group = self.group_object(name).await;
            let conditions = group.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
            let found = conditions.iter().any(|condition| {
                condition["type"] == kind
                    && condition["status"] == status
                    && condition["message"].as_str().is_some_and(|message| message.contains(words))
            });
            if found { Ok(()) } else { Err(group["status"].to_string()) }
        })
        .await
        .unwrap();
    }

    /// Waits until the status of a group has these fields.
    pub(crate) async fn group_status(&self, name: &str, fields: &Value) {
        eventually(DEADLINE, format!("group {name} with {fields}"), async || {
            let status = self.group_object(name).await["status"].clone();
            let same = fields.as_object().unwrap().iter().all(|(field, value)| status[field] == *value);
            if same { Ok(()) } else { Err(status.to_string()) }
        })
        .await
        .unwrap();
    }

    /// Waits until a Service has a condition of this type that is true and says these words, or has none of this type.
    pub(crate) async fn service_condition(&self, name: &str, kind: &str, words: Option<&str>) {
        eventually(DEADLINE, format!("Service {name} with {kind} that says {words:?}"), async || {
            let conditions = self.service(name).await.status.and_then(|status| status.conditions).unwrap_or_default();
            let found = conditions.iter().find(|condition| condition.type_ == kind);
            let said = found.filter(|condition| condition.status == "True").map(|condition| condition.message.as_str());
            match (said, words) {
                (None, None) if found.is_none() => Ok(()),
                (Some(said), Some(words)) if said.contains(words) => Ok(()),
                _ => Err(format!("{conditions:?}")),
            }
        })
        .await
        .unwrap();
    }

    pub(crate) fn services(&self) -> Api<Service> {
        Api::namespaced(self.client.clone(), &self.space)
    }

    /// Creates a Service; annotations without their prefix.
    pub(crate) async fn create(&self, name: &str, annotations: &[(&str, &str)], spec: Value) {
        self.create_in(&self.space, name, annotations, spec).await;
    }

    pub(crate) async fn create_in(&self, space: &str, name: &str, annotations: &[(&str, &str)], spec: Value) {
        let service = serde_json::from_value(service(name, annotations, &spec)).unwrap();
        let api: Api<Service> = Api::namespaced(self.client.clone(), space);
        api.create(&PostParams::default(), &service).await.unwrap();
    }

    /// A merge patch of a Service.
    pub(crate) async fn edit(&self, name: &str, patch: Value) {
        self.services().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    /// Sets or, without a value, removes an annotation of ours.
    pub(crate) async fn annotate(&self, name: &str, key: &str, value: Option<&str>) {
        let mut annotations = serde_json::Map::new();
        annotations.insert(format!("purelb.io/{key}"), json!(value));
        self.edit(name, json!({"metadata": {"annotations": annotations}})).await;
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.services().delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub(crate) async fn service(&self, name: &str) -> Service {
        self.services().get(name).await.unwrap()
    }

    pub(crate) async fn annotation(&self, name: &str, key: &str) -> Option<String> {
        annotation(&self.service(name).await, key)
    }

    /// Waits until a Service has these very addresses in this order; `[]` waits until it has none.
    pub(crate) async fn has(&self, name: &str, addresses: &[&str]) {
        self.has_in(&self.space, name, addresses).await;
    }

    pub(crate) async fn has_in(&self, space: &str, name: &str, addresses: &[&str]) {
        let api: Api<Service> = Api::namespaced(self.client.clone(), space);
        let wanted: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        eventually(DEADLINE, format!("Service {space}/{name} with {addresses:?}"), async || {
            let service = api.get(name).await.map_err(|error| error.to_string())?;
            let found = ingress_addresses(&service);
            if found == wanted { Ok(()) } else { Err(format!("{found:?} {:?}", service.metadata.annotations)) }
        })
        .await
        .unwrap();
    }

    /// Waits until an allocation has failed with these words; nothing has been given then.
    pub(crate) async fn fails(&self, name: &str, words: &str) {
        self.fails_in(&self.space, name, words).await;
    }

    pub(crate) async fn fails_in(&self, space: &str, name: &str, words: &str) {
        self.event_in(space, name, "AllocationFailed", words).await;
        let service = Api::<Service>::namespaced(self.client.clone(), space).get(name).await.unwrap();
        assert!(ingress_addresses(&service).is_empty(), "{name} has failed and has addresses");
        assert_eq!(annotation(&service, "allocated-by"), None, "{name} has failed and is marked");
    }

    pub(crate) async fn event(&self, name: &str, reason: &str, words: &str) {
        self.event_in(&self.space, name, reason, words).await;
    }

    pub(crate) async fn event_in(&self, space: &str, name: &str, reason: &str, words: &str) {
        event(self.cluster, space, name, reason, words).await;
    }

    pub(crate) async fn events(&self, space: &str, name: &str, reason: &str) -> Vec<Event> {
        let selector = format!("involvedObject.name={name},reason={reason}");
        let api: Api<Event> = Api::namespaced(self.client.clone(), space);
        api.list(&ListParams::default().fields(&selector)).await.map(|list| list.items).unwrap_or_default()
    }

    /// The pod that leads.
    pub(crate) async fn leader(&self) -> Pod {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), NAMESPACE);
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        eventually(DEADLINE, "a pod that leads", async || {
            let lease = leases.get("purelb-allocator").await.map_err(|error| error.to_string())?;
            let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
            let name = holder.split('_').next().unwrap_or_default();
            pods.get(name).await.map_err(|error| format!("holder {holder:?}: {error}"))
        })
        .await
        .unwrap()
    }

    /// What the leader's metrics say of a series, labels and all; 0 when it is not there.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let metrics = self.metrics().await;
        let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_default()
    }

    /// All metrics of the leader.
    pub(crate) async fn metrics(&self) -> String {
        let leader = self.leader().await.metadata.name.unwrap();
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{leader}:7472/proxy/metrics");
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        self.client.request_text(request).await.unwrap()
    }

    /// Waits until a series has this value.
    pub(crate) async fn metric_is(&self, series: &str, value: f64) {
        eventually(DEADLINE, format!("{series} {value}"), async || {
            let found = self.metric(series).await;
            if (found - value).abs() < 0.5 { Ok(()) } else { Err(found.to_string()) }
        })
        .await
        .unwrap();
    }

    /// An agent's Lease for a node that is not there, valid for an hour.
    pub(crate) async fn pretend_node(&self, name: &str, subnets: &str) -> Pretended<'a> {
        let name = format!("purelb-node-{name}");
        let now = k8s_openapi::jiff::Timestamp::now().to_string();
        let lease = json!({
            "metadata": {"name": name, "annotations": {"purelb.io/subnets": subnets}},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 3600, "renewTime": with_microseconds(&now)},
        });
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), NAMESPACE);
        leases.create(&PostParams::default(), &serde_json::from_value(lease).unwrap()).await.unwrap();
        Pretended { cluster: self.cluster, name }
    }
}

/// The API takes six digits, no more.
fn with_microseconds(time: &str) -> String {
    let (seconds, fraction) = time.trim_end_matches('Z').split_once('.').unwrap_or((time.trim_end_matches('Z'), "0"));
    format!("{seconds}.{fraction:0<6.6}Z")
}

/// A Lease that goes when this does.
pub(crate) struct Pretended<'a> {
    cluster: &'a Cluster,
    name: String,
}

impl Drop for Pretended<'_> {
    fn drop(&mut self) {
        let lease = ["delete", "lease", "--ignore-not-found", "--namespace", NAMESPACE, &self.name];
        if let Err(error) = self.cluster.kubectl(&lease) {
            eprintln!("clean-up: {error}");
        }
    }
}

/// A Service without selector and node ports.
pub(crate) fn service(name: &str, annotations: &[(&str, &str)], spec: &Value) -> Value {
    let annotations: serde_json::Map<_, _> =
        annotations.iter().map(|(key, value)| (format!("purelb.io/{key}"), json!(value))).collect();
    let mut object = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "annotations": annotations},
        "spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{"name": "http", "port": 80}]},
    });
    for (field, value) in spec.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    object
}

pub(crate) fn annotation(service: &Service, key: &str) -> Option<String> {
    service.metadata.annotations.as_ref()?.get(&format!("purelb.io/{key}")).cloned()
}

/// Writes a status as nobody should.
pub(crate) async fn forge(field: &Field<'_>, name: &str, addresses: &[&str]) {
    let ingress: Vec<_> = addresses.iter().map(|address| json!({"ip": address, "ipMode": "VIP"})).collect();
    let patch = Patch::Merge(json!({"status": {"loadBalancer": {"ingress": ingress}}}));
    field.services().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}

/// Takes the pods of the allocator away for a test that brings its own, and gives them back.
pub(crate) struct NoPods<'a>(&'a Cluster);

impl<'a> NoPods<'a> {
    pub(crate) async fn new(cluster: &'a Cluster) -> Self {
        let without = Self(cluster);
        without.scale(0).unwrap();
        let pods: Api<Pod> = Api::namespaced(cluster.kube().await.unwrap(), NAMESPACE);
        eventually(DEADLINE, "no pods of the allocator", async || {
            let selector = ListParams::default().labels("component=allocator");
            let left = pods.list(&selector).await.map_err(|error| error.to_string())?.items.len();
            if left == 0 { Ok(()) } else { Err(format!("{left} pods")) }
        })
        .await
        .unwrap();
        without
    }

    fn scale(&self, replicas: u8) -> e2e::Result<String> {
        let replicas = format!("--replicas={replicas}");
        self.0.kubectl(&["scale", "--namespace", NAMESPACE, &replicas, "deployment/allocator"])
    }
}

impl Drop for NoPods<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.scale(2) {
            eprintln!("clean-up: {error}");
        }
    }
}

/// The way of whoever is not to be disturbed.
pub(crate) fn straight(cluster: &Cluster) -> std::path::PathBuf {
    Path::new(&cluster.kubeconfig()).to_owned()
}
