//! Operators that know a Service as one document: one writes back what it read long ago, one applies a manifest that
//! somebody exported.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::operators::{
    operator::{Operator, PAUSE, Targets},
    random::Random,
};

/// After this many writes the operator reads its copies again.
const READ_AGAIN: usize = 100;

impl Operator {
    /// Replaces these Services by old copies, whatever has happened since.
    pub fn rewrites_from_cache(targets: Targets, seed: u64) -> Self {
        Self::start("rewrites the whole object from a cache", move |mut rounds| async move {
            let (api, mut random) = (targets.api(), Random::new(seed));
            let parameters = PostParams { field_manager: Some("old-copies".into()), ..PostParams::default() };
            let mut copies = copies(&api, &targets).await;
            let mut written = 0;
            while rounds.next(PAUSE).await {
                let Some((name, copy)) = random.one_of(targets.names()).and_then(|name| copies.get_key_value(name))
                else {
                    continue;
                };
                rounds.count(&api.replace(name, &parameters, copy).await);
                written += 1;
                if written % READ_AGAIN == 0 {
                    copies = self::copies(&api, &targets).await;
                }
            }
        })
    }

    /// Applies manifests of these Services with force. They were exported when it started, our annotations included.
    pub fn applies_with_force(targets: Targets, seed: u64) -> Self {
        Self::start("applies an exported manifest with force", move |mut rounds| async move {
            let (api, mut random) = (targets.api(), Random::new(seed));
            let parameters = PatchParams::apply("exported-manifests").force();
            let manifests: BTreeMap<String, Value> =
                copies(&api, &targets).await.iter().map(|(name, service)| (name.clone(), manifest(service))).collect();
            while rounds.next(PAUSE).await {
                let chosen = random.one_of(targets.names()).and_then(|name| manifests.get_key_value(name));
                if let Some((name, manifest)) = chosen {
                    rounds.count(&api.patch(name, &parameters, &Patch::Apply(manifest)).await);
                }
            }
        })
    }
}

/// The Services as they are, without the version that would keep an old one from being written.
async fn copies(api: &Api<Service>, targets: &Targets) -> BTreeMap<String, Service> {
    let mut copies = BTreeMap::new();
    for name in targets.names() {
        if let Ok(mut service) = api.get(name).await {
            service.metadata.resource_version = None;
            service.metadata.managed_fields = None;
            copies.insert(name.clone(), service);
        }
    }
    copies
}

/// What `kubectl get -o yaml` shows, without what the API server does not take.
fn manifest(service: &Service) -> Value {
    let (metadata, spec) = (&service.metadata, service.spec.clone().unwrap_or_default());
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": metadata.name, "namespace": metadata.namespace, "labels": metadata.labels,
            "annotations": metadata.annotations,
        },
        "spec": {
            "type": spec.type_, "ports": spec.ports, "ipFamilies": spec.ip_families,
            "ipFamilyPolicy": spec.ip_family_policy,
            "allocateLoadBalancerNodePorts": spec.allocate_load_balancer_node_ports,
        },
    })
}
