//! Decoding of a Service from the API server. Parts that the allocator does not use are dropped at once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use api_types::names::annotation;
use api_types::service::Class;
use api_types::{Announce, Family, SharingKey};
use k8s_openapi::api::core::v1::Service as Full;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::service::{
    FamilyPolicy, Leftover, Requested, Scope, Service, ServiceName, WrittenAnnotations, is_our_condition,
    without_our_conditions,
};
use super::sharing::{Port, Protocol, Sharing};

/// A Service from the API server, without managed fields, labels and selectors.
#[derive(Debug, Clone, Deserialize)]
pub struct WatchedService {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    r#type: Option<String>,
    load_balancer_class: Option<String>,
    #[serde(rename = "loadBalancerIP")]
    load_balancer_ip: Option<String>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    ip_families: Option<Vec<String>>,
    ip_family_policy: Option<String>,
    ports: Option<Vec<SpecPort>>,
}

#[derive(Debug, Clone, Deserialize)]
struct SpecPort {
    port: i64,
    protocol: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    load_balancer: LoadBalancer,
    conditions: Option<Vec<Value>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct LoadBalancer {
    ingress: Option<Vec<Value>>,
}

/// Reads only the metadata that is used. Managed fields are often larger than all the rest.
fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Slim {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        creation_timestamp: Option<Time>,
        #[serde(default)]
        annotations: Option<BTreeMap<String, String>>,
    }
    let slim = Slim::deserialize(deserializer)?;
    let annotations = slim.annotations.map(|mut annotations| {
        annotations.retain(|key, _| key.starts_with("purelb.io/"));
        annotations
    });
    Ok(ObjectMeta {
        name: slim.name,
        namespace: slim.namespace,
        uid: slim.uid,
        resource_version: slim.resource_version,
        creation_timestamp: slim.creation_timestamp,
        annotations,
        ..ObjectMeta::default()
    })
}

impl Resource for WatchedService {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Full::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Full::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Full::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Full::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl WatchedService {
    /// Namespace and name.
    #[must_use]
    pub fn name(&self) -> ServiceName {
        ServiceName::new(
            self.metadata.namespace.as_deref().unwrap_or_default(),
            self.metadata.name.as_deref().unwrap_or_default(),
        )
    }

    /// The Service as kept; `None` unless it is of type `LoadBalancer`.
    #[must_use]
    pub fn keep(&self, default_announcer: bool) -> Option<Service> {
        if self.spec.r#type.as_deref() != Some("LoadBalancer") {
            return None;
        }
        let ingress = self.status.load_balancer.ingress.as_deref().unwrap_or_default();
        let mut addresses = Vec::with_capacity(ingress.len());
        let mut other_ingress = Vec::new();
        for entry in ingress {
            match entry.get("ip").and_then(Value::as_str).and_then(|text| text.parse::<IpAddr>().ok()) {
                Some(address) if !addresses.contains(&address) => addresses.push(address),
                Some(_) => {}
                None => other_ingress.push(entry.clone()),
            }
        }
        let families = self.spec.ip_families.iter().flatten().filter_map(|text| Family::from_api(text)).collect();
        let policy = match self.spec.ip_family_policy.as_deref() {
            Some("PreferDualStack") => FamilyPolicy::Prefer,
            _ => FamilyPolicy::All,
        };
        Some(Service {
            name: self.name(),
            uid: self.metadata.uid.as_deref().unwrap_or_default().into(),
            version: self.metadata.resource_version.as_deref().unwrap_or_default().into(),
            created: self.metadata.creation_timestamp.as_ref().map_or(i64::MAX, |time| time.0.as_second()),
            scope: self.scope(default_announcer),
            has_cluster_ip: self.spec.cluster_ip.as_deref().is_some_and(|text| text.parse::<IpAddr>().is_ok()),
            families,
            policy,
            sharing: self.sharing(),
            requested: self.requested(),
            written: self.written(),
            addresses,
            other_ingress,
            conditions: self.conditions().to_vec(),
        })
    }

    /// What a clean-up of our annotations and conditions needs; `None` if the Service is of type `LoadBalancer` or carries
    /// nothing of ours.
    #[must_use]
    pub fn leftover(&self) -> Option<Leftover> {
        let written = self.written();
        let ours = written.any || written.leader_fence || self.conditions().iter().any(is_our_condition);
        let left = ours && self.spec.r#type.as_deref() != Some("LoadBalancer");
        left.then(|| self.as_leftover())
    }

    /// The object as a Service that is no longer served.
    #[must_use]
    pub fn as_leftover(&self) -> Leftover {
        Leftover {
            name: self.name(),
            uid: self.metadata.uid.as_deref().unwrap_or_default().into(),
            version: self.metadata.resource_version.as_deref().unwrap_or_default().into(),
            groups: self.annotation(annotation::ALLOCATED_FROM).map(Into::into),
            conditions: self
                .conditions()
                .iter()
                .any(is_our_condition)
                .then(|| without_our_conditions(self.conditions())),
        }
    }

    fn conditions(&self) -> &[Value] {
        self.status.conditions.as_deref().unwrap_or_default()
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    fn scope(&self, default_announcer: bool) -> Scope {
        let (namespace, name) =
            (self.metadata.namespace.as_deref().unwrap_or_default(), self.metadata.name.as_deref().unwrap_or_default());
        match Class::of(namespace, name, self.spec.load_balancer_class.as_deref(), default_announcer) {
            Class::Ours => Scope::Ours,
            Class::Other => Scope::OtherClass,
            Class::Unassigned => Scope::Ignored,
        }
    }

    fn sharing(&self) -> Sharing {
        let ports = self.spec.ports.iter().flatten().filter_map(|port| {
            let number = u16::try_from(port.port).ok()?;
            Some(Port { protocol: Protocol::from_api(port.protocol.as_deref()), number })
        });
        Sharing { key: self.annotation(annotation::ALLOW_SHARED_IP).and_then(SharingKey::new), ports: ports.collect() }
    }

    fn requested(&self) -> Requested {
        Requested {
            groups: self.annotation(annotation::SERVICE_GROUP).map(Into::into),
            addresses: self.annotation(annotation::ADDRESSES).map(Into::into),
            load_balancer_ip: self.spec.load_balancer_ip.as_deref().filter(|text| !text.is_empty()).map(Into::into),
            multi_pool: self.annotation(annotation::MULTI_POOL).map(|value| value == "true"),
            re_evaluate: self.annotation(annotation::RE_EVALUATE) == Some("true"),
        }
    }

    fn written(&self) -> WrittenAnnotations {
        WrittenAnnotations {
            by_us: self.annotation(annotation::ALLOCATED_BY) == Some(annotation::ALLOCATED_BY_US),
            groups: self.annotation(annotation::ALLOCATED_FROM).map(Into::into),
            pool_type: self.annotation(annotation::POOL_TYPE).and_then(Announce::from_pool_type),
            skip_ipv6_dad: self.annotation(annotation::SKIP_IPV6_DAD).is_some(),
            any: annotation::WRITTEN.iter().any(|key| self.annotation(key).is_some()),
            leader_fence: self.annotation(annotation::LEADER_FENCE).is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn watched(value: Value) -> WatchedService {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn keeps_what_is_used() {
        let watched = watched(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7",
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "managedFields": [{"manager": "x", "fieldsV1": {"f:spec": {}}}],
                "annotations": {
                    "purelb.io/service-group": "a,b", "purelb.io/allow-shared-ip": "k", "purelb.io/allocated-by": "PureLB",
                    "purelb.io/pool-type": "local", "kubectl.kubernetes.io/last-applied-configuration": "{}"
                }
            },
            "spec": {
                "type": "LoadBalancer", "clusterIP": "10.96.0.1", "ipFamilies": ["IPv6", "IPv4"],
                "ipFamilyPolicy": "PreferDualStack", "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]
            },
            "status": {"loadBalancer": {"ingress": [{"hostname": "x"}, {"ip": "192.0.2.1"}, {"ip": "192.0.2.1"}]}}
        }));
        let service = watched.keep(true).unwrap();
        assert_eq!(service.name.to_string(), "shop/web");
        assert_eq!(service.families, [Family::V6, Family::V4]);
        assert_eq!(service.policy, FamilyPolicy::Prefer);
        assert_eq!(service.addresses, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(service.other_ingress, [json!({"hostname": "x"})]);
        assert_eq!(service.sharing.ports.len(), 2);
        assert!(service.written.by_us && service.written.any && service.written.groups.is_none());
        assert_eq!(service.written.pool_type, Some(Announce::Local));
        assert_eq!(service.requested.groups.as_deref(), Some("a,b"));
        assert_eq!(service.scope, Scope::Ours);
        assert_eq!(watched.metadata.annotations.unwrap().len(), 4);
    }

    #[test]
    fn scope_by_class() {
        let scope = |class: Option<&str>, name: &str, default| {
            let value = json!({
                "metadata": {"name": name, "namespace": "default"}, "spec": {"type": "LoadBalancer", "loadBalancerClass": class}
            });
            watched(value).keep(default).unwrap().scope
        };
        assert_eq!(scope(Some("purelb.io/purelb"), "x", false), Scope::Ours);
        assert_eq!(scope(Some("purelb.io/purelbv2"), "x", false), Scope::Ours);
        assert_eq!(scope(Some("example.com/x"), "x", true), Scope::OtherClass);
        assert_eq!(scope(None, "x", true), Scope::Ours);
        assert_eq!(scope(None, "x", false), Scope::Ignored);
        assert_eq!(scope(None, "kubernetes", true), Scope::Ignored);
    }
}
