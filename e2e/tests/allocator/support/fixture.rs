//! A namespace and some ServiceGroups for one test, with the Services in it.

use e2e::{Cluster, NAMESPACE, testing::audit::GroupRanges};
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

/// What belongs to one test. Its Services and groups are deleted when it is dropped, also after a failure.
pub(crate) struct Fixture<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) client: Client,
    /// The namespace of its Services; its groups begin with this name.
    pub(crate) namespace: String,
    /// More namespaces.
    others: Vec<String>,
    groups: Vec<(String, String)>,
}

impl Drop for Fixture<'_> {
    fn drop(&mut self) {
        for space in self.others.iter().chain([&self.namespace]) {
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

/// The annotation that names a group, as [`Fixture::create`] takes it.
pub(crate) fn group(name: &str) -> (&'static str, &str) {
    ("service-group", name)
}

/// A pool of a group.
pub(crate) fn pool(pool: &str, subnet: &str) -> Value {
    json!({"pool": pool, "subnet": subnet})
}

/// The network of most groups in these tests.
pub(crate) const NETWORK: &str = "203.0.113.0/24";

/// The specification of a group of remote addresses with one range of [`NETWORK`].
pub(crate) fn remote(range: &str) -> Value {
    json!({"remote": {"v4pool": pool(range, NETWORK)}})
}

impl<'a> Fixture<'a> {
    pub(crate) async fn new(cluster: &'a Cluster, name: &str) -> Self {
        let client = cluster.kube().await.unwrap();
        // A namespace of an earlier run may not be gone yet.
        let space = format!("{name}-{}", std::process::id());
        let fixture = Self { cluster, client, namespace: space.clone(), others: Vec::new(), groups: Vec::new() };
        fixture.make_namespace(&space).await;
        fixture
    }

    /// With a group of the same name that has one range of [`NETWORK`].
    pub(crate) async fn with_group(cluster: &'a Cluster, name: &str, range: &str) -> Self {
        let mut fixture = Self::new(cluster, name).await;
        fixture.group(name, remote(range)).await;
        fixture
    }

    async fn make_namespace(&self, name: &str) {
        let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        Api::<Namespace>::all(self.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    }

    /// One more namespace.
    pub(crate) async fn another_namespace(&mut self, suffix: &str) -> String {
        let name = format!("{}-{suffix}", self.namespace);
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

    pub(crate) fn services(&self) -> Api<Service> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates a Service; annotations without their prefix.
    pub(crate) async fn create(&self, name: &str, annotations: &[(&str, &str)], spec: Value) {
        self.create_in(&self.namespace, name, annotations, spec).await;
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
}

/// A Service without selector and node ports.
pub(crate) fn service(name: &str, annotations: &[(&str, &str)], spec: &Value) -> Value {
    let annotations: serde_json::Map<_, _> =
        annotations.iter().map(|(key, value)| (format!("purelb.io/{key}"), json!(value))).collect();
    let mut object = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "annotations": annotations},
        "spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{"name": "http", "port": 80}]},
    });
    for (fixture, value) in spec.as_object().unwrap() {
        object["spec"][fixture] = value.clone();
    }
    object
}

pub(crate) fn annotation(service: &Service, key: &str) -> Option<String> {
    service.metadata.annotations.as_ref()?.get(&format!("purelb.io/{key}")).cloned()
}

/// Overwrites the addresses in a Service's status, which no one but the allocator should do.
pub(crate) async fn write_status(fixture: &Fixture<'_>, name: &str, addresses: &[&str]) {
    let ingress: Vec<_> = addresses.iter().map(|address| json!({"ip": address, "ipMode": "VIP"})).collect();
    let patch = Patch::Merge(json!({"status": {"loadBalancer": {"ingress": ingress}}}));
    fixture.services().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}
