//! Decoding of a Service from the API server. Parts that the allocator does not use are dropped at once.

use std::borrow::Cow;
use std::net::IpAddr;

use api_types::names::{RESERVED_SERVICES, annotation};
use api_types::provenance::Provenance;
use api_types::service::Class;
use api_types::{Announce, Family, SharingKey};
use k8s_openapi::api::core::v1::Service as Full;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::Deserialize;
use serde_json::Value;

use super::metadata::Metadata;
use super::service::{
    FamilyPolicy, Leftover, Requested, Scope, Service, ServiceName, WrittenAnnotations, external_ips, is_our_condition,
    without_our_conditions,
};
use super::sharing::{Sharing, SpecPort, ports};

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
            asked_of: self.annotation(annotation::ASKED_OF).map(Into::into),
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
        let key = self.annotation(annotation::ALLOW_SHARED_IP).and_then(SharingKey::new);
        Sharing { key, ports: ports(self.spec.ports.as_deref()) }
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
            vip_ports: self.annotation(annotation::VIP_PORTS).map(Into::into),
            any: annotation::WRITTEN.iter().any(|key| self.annotation(key).is_some()),
            leader_fence: self.annotation(annotation::LEADER_FENCE).is_some(),
            asked_of: self.annotation(annotation::ASKED_OF).map(Into::into),
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
mod tests;
