//! Decoding of a Service from the API server. Parts that the allocator does not use are dropped at once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use api_types::names::{RESERVED_SERVICES, annotation};
use api_types::provenance::Provenance;
use api_types::service::Class;
use api_types::{Announce, Family, SharingKey};
use k8s_openapi::api::core::v1::Service as Full;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::managed_fields::{Entry, Writers};
use super::service::{
    FamilyPolicy, Leftover, Requested, Scope, Service, ServiceName, WrittenAnnotations, external_ips, is_our_condition,
    without_our_conditions,
};
use super::sharing::{Port, Protocol, Sharing};

/// A Service from the API server, without labels and selectors; of the managed fields only who wrote last.
#[derive(Debug, Clone, Deserialize)]
pub struct WatchedService {
    metadata: Metadata,
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
    session_affinity: Option<String>,
    #[serde(rename = "loadBalancerIP")]
    load_balancer_ip: Option<String>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    ip_families: Option<Vec<String>>,
    ip_family_policy: Option<String>,
    external_traffic_policy: Option<String>,
    ports: Option<Vec<SpecPort>>,
    #[serde(rename = "externalIPs")]
    external_ips: Option<Vec<String>>,
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
pub(super) fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    Metadata::deserialize(deserializer).map(|metadata| metadata.object)
}

/// The metadata that is used.
#[derive(Debug, Clone, Default)]
struct Metadata {
    object: ObjectMeta,
    writers: Writers,
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Slim {
            name: Option<String>,
            namespace: Option<String>,
            uid: Option<String>,
            resource_version: Option<String>,
            creation_timestamp: Option<Time>,
            deletion_timestamp: Option<Time>,
            annotations: Option<BTreeMap<String, String>>,
            managed_fields: Option<Vec<Entry>>,
        }
        let slim = Slim::deserialize(deserializer)?;
        let annotations = slim.annotations.map(|mut annotations| {
            annotations.retain(|key, _| key.starts_with("purelb.io/"));
            annotations
        });
        let object = ObjectMeta {
            name: slim.name,
            namespace: slim.namespace,
            uid: slim.uid,
            resource_version: slim.resource_version,
            creation_timestamp: slim.creation_timestamp,
            deletion_timestamp: slim.deletion_timestamp,
            annotations,
            ..ObjectMeta::default()
        };
        Ok(Self { object, writers: Writers::of(slim.managed_fields.as_deref().unwrap_or_default()) })
    }
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
        &self.metadata.object
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata.object
    }
}

impl WatchedService {
    /// Namespace and name.
    #[must_use]
    pub fn name(&self) -> ServiceName {
        ServiceName::new(
            self.metadata.object.namespace.as_deref().unwrap_or_default(),
            self.metadata.object.name.as_deref().unwrap_or_default(),
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
        let (mut other_ingress, mut detailed_ingress) = (Vec::new(), Vec::new());
        for entry in ingress {
            match entry.get("ip").and_then(Value::as_str).and_then(|text| text.parse::<IpAddr>().ok()) {
                Some(address) if !addresses.contains(&address) => {
                    addresses.push(address);
                    if has_details(entry) {
                        detailed_ingress.push((address, entry.clone()));
                    }
                }
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
            uid: self.metadata.object.uid.as_deref().unwrap_or_default().into(),
            version: self.metadata.object.resource_version.as_deref().unwrap_or_default().into(),
            created: self.metadata.object.creation_timestamp.as_ref().map_or(i64::MAX, |time| time.0.as_second()),
            scope: self.scope(default_announcer),
            deleting: self.metadata.object.deletion_timestamp.is_some(),
            has_cluster_ip: self.spec.cluster_ip.as_deref().is_some_and(|text| text.parse::<IpAddr>().is_ok()),
            families,
            policy,
            sharing: self.sharing(),
            requested: self.requested(),
            written: self.written(),
            announced: self.announced(),
            local_policy: self.spec.external_traffic_policy.as_deref() == Some("Local"),
            provenance: self.provenance(),
            writers: self.metadata.writers.clone(),
            addresses,
            external_ips: external_ips(self.spec.external_ips.as_deref().unwrap_or_default()),
            detailed_ingress,
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
            uid: self.metadata.object.uid.as_deref().unwrap_or_default().into(),
            version: self.metadata.object.resource_version.as_deref().unwrap_or_default().into(),
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
        self.metadata.object.annotations.as_ref()?.get(key).map(String::as_str)
    }

    fn is_released(&self) -> bool {
        self.annotation(annotation::RELEASE) == Some("true")
    }

    fn scope(&self, default_announcer: bool) -> Scope {
        let (namespace, name) = (
            self.metadata.object.namespace.as_deref().unwrap_or_default(),
            self.metadata.object.name.as_deref().unwrap_or_default(),
        );
        let class = self.spec.load_balancer_class.as_deref();
        match Class::of(namespace, name, class, default_announcer, self.is_released()) {
            Class::Ours => Scope::Ours,
            Class::Released => Scope::Released,
            Class::Other => Scope::OtherClass,
            Class::Unassigned
                if self.spec.load_balancer_class.is_none() && !RESERVED_SERVICES.contains(&(namespace, name)) =>
            {
                Scope::NoClass
            }
            Class::Unassigned => Scope::Ignored,
        }
    }

    fn provenance(&self) -> Provenance {
        let class = self.spec.load_balancer_class.as_deref();
        Provenance::read(self.metadata.object.uid.as_deref(), class, |key| self.annotation(key))
    }

    /// What the agents say they announce: entries `node,interface,address`, separated by blanks.
    fn announced(&self) -> Vec<(IpAddr, Box<str>)> {
        let texts = [annotation::ANNOUNCING_IPV4, annotation::ANNOUNCING_IPV6].into_iter();
        let entries = texts.filter_map(|key| self.annotation(key)).flat_map(str::split_whitespace);
        let parse = |entry: &str| {
            let (rest, address) = entry.rsplit_once(',')?;
            let (node, _) = rest.split_once(',')?;
            Some((address.parse().ok()?, node.into()))
        };
        entries.filter_map(parse).collect()
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
            release: self.is_released(),
            session_affinity: self.spec.session_affinity.as_deref() == Some("ClientIP"),
        }
    }

    fn written(&self) -> WrittenAnnotations {
        WrittenAnnotations {
            by_us: self.annotation(annotation::ALLOCATED_BY) == Some(annotation::ALLOCATED_BY_US),
            groups: self.annotation(annotation::ALLOCATED_FROM).map(Into::into),
            pool_type: self.annotation(annotation::POOL_TYPE).and_then(Announce::from_pool_type),
            list: [annotation::ALLOCATED_ADDRESSES, annotation::ALLOCATED_TO]
                .iter()
                .any(|key| self.annotation(key).is_some()),
            skip_ipv6_dad: self.annotation(annotation::SKIP_IPV6_DAD).is_some(),
            any: annotation::WRITTEN.iter().any(|key| self.annotation(key).is_some()),
            leader_fence: self.annotation(annotation::LEADER_FENCE).is_some(),
        }
    }
}

/// Whether an ingress entry has more than the address and the mode that we write.
fn has_details(entry: &Value) -> bool {
    entry
        .as_object()
        .is_some_and(|fields| fields.iter().any(|(key, value)| key != "ip" && !(key == "ipMode" && value == "VIP")))
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
        assert!(service.detailed_ingress.is_empty());
        assert_eq!(service.sharing.ports.len(), 2);
        assert!(service.written.by_us && service.written.any && service.written.groups.is_none());
        assert_eq!(service.written.pool_type, Some(Announce::Local));
        assert_eq!(service.requested.groups.as_deref(), Some("a,b"));
        assert_eq!(service.scope, Scope::Ours);
        assert_eq!(watched.metadata.object.annotations.unwrap().len(), 4);
        assert!(!service.deleting && service.provenance.list.is_none());
        assert_eq!(service.writers.other.as_deref(), Some("x"));
    }

    #[test]
    fn our_list_and_the_form_of_the_entries() {
        let value = json!({
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {"purelb.io/allocated-addresses": "192.0.2.1,192.0.2.2", "purelb.io/allocated-to": "u"}
            },
            "spec": {"type": "LoadBalancer"},
            "status": {"loadBalancer": {"ingress": [
                {"ip": "192.0.2.1", "ipMode": "VIP", "ports": [{"port": 80, "protocol": "TCP"}]}, {"ip": "192.0.2.2", "ipMode": "Proxy"}
            ]}}
        });
        let mut service = watched(value).keep(true).unwrap();
        let [one, two]: [IpAddr; 2] = service.addresses.clone().try_into().unwrap();
        assert!(service.deleting && service.shows(one) && !service.shows(two));
        assert_eq!(service.detailed_ingress.len(), 2);
        assert_eq!(service.claimed(), [one, two]);
        service.addresses = vec!["192.0.2.9".parse().unwrap()];
        assert_eq!(service.claimed(), [one, two]);
        service.writers.status_by_us = true;
        assert_eq!(service.claimed(), service.addresses);
    }

    #[test]
    fn what_agents_say_they_announce() {
        let value = json!({
            "metadata": {"annotations": {"purelb.io/announcing-IPv4": "n1,eth0,192.0.2.1 n2,eth,0,192.0.2.2 nonsense"}},
            "spec": {"type": "LoadBalancer"}
        });
        let announced = watched(value).keep(true).unwrap().announced;
        let nodes: Vec<&str> = announced.iter().map(|(_, node)| &**node).collect();
        assert_eq!(nodes, ["n1", "n2"]);
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
        assert_eq!(scope(None, "x", false), Scope::NoClass);
        assert_eq!(scope(None, "kubernetes", true), Scope::Ignored);
    }
}
