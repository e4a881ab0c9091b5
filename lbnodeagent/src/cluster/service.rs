//! The part of a Service that matters here.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use api_types::names::annotation;
use api_types::range::names_a_host;
use api_types::service::{self, ingress_addresses, is_allocated_by_us, is_ours};
use api_types::{Announce, Family};
use k8s_openapi::api::core::v1::Service;
use sha2::{Digest, Sha256};

/// The namespace and name of a Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl ServiceName {
    /// From the two parts.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The part of a Service that decides about its addresses: a few hundred bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceView {
    /// Namespace and name.
    pub name: ServiceName,
    /// Its UID, which distinguishes it from an earlier Service of the same name.
    pub uid: Box<str>,
    /// The version that was read, as the precondition of our writes.
    pub resource_version: Box<str>,
    /// The addresses in its status; empty if the Service is not ours to announce.
    pub addresses: Vec<IpAddr>,
    /// The kind of its group when the addresses were allocated.
    pub pool_type: Option<Announce>,
    /// `externalTrafficPolicy: Local`.
    pub traffic_local: bool,
    /// The annotation `node-affinity: service-endpoints`, which has no effect on shared addresses.
    pub node_affinity: bool,
    /// A hash of the annotation `rebalance`, the same on all nodes; 0 without the annotation.
    pub rebalance: u64,
    /// The group says `skipIPv6DAD`: IPv6 addresses are used without a probe.
    pub skip_dad: bool,
    /// The announcing annotations, IPv4 and IPv6.
    pub announcing: [Option<Box<str>>; 2],
}

impl ServiceView {
    /// Reads a Service; `default_announcer` says whether those without a class are ours.
    #[must_use]
    pub fn new(object: &Service, default_announcer: bool) -> Self {
        let metadata = &object.metadata;
        let announced = is_ours(object, default_announcer) && is_allocated_by_us(object);
        let mut addresses = if announced { ingress_addresses(object) } else { Vec::new() };
        // Many users may write the status of a Service. No harmful address may reach the kernel.
        addresses.retain(|address| names_a_host(*address));
        let text = |value: Option<&str>| value.map(Box::from);
        let spec = object.spec.as_ref();
        Self {
            name: ServiceName::new(
                metadata.namespace.as_deref().unwrap_or_default(),
                metadata.name.as_deref().unwrap_or_default(),
            ),
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            resource_version: metadata.resource_version.as_deref().unwrap_or_default().into(),
            addresses,
            pool_type: service::annotation(object, annotation::POOL_TYPE).and_then(Announce::from_pool_type),
            traffic_local: spec.and_then(|spec| spec.external_traffic_policy.as_deref()) == Some("Local"),
            node_affinity: service::annotation(object, annotation::NODE_AFFINITY) == Some("service-endpoints")
                && service::sharing_key(object).is_none(),
            rebalance: service::annotation(object, annotation::REBALANCE).map_or(0, rebalance),
            skip_dad: service::annotation(object, annotation::SKIP_IPV6_DAD) == Some("true"),
            announcing: [annotation::ANNOUNCING_IPV4, annotation::ANNOUNCING_IPV6]
                .map(|key| text(service::annotation(object, key))),
        }
    }

    /// The announcing annotation of a family.
    #[must_use]
    pub fn announcing(&self, family: Family) -> Option<&str> {
        let [v4, v6] = &self.announcing;
        match family {
            Family::V4 => v4.as_deref(),
            Family::V6 => v6.as_deref(),
        }
    }

    /// Whether its endpoints matter.
    #[must_use]
    pub const fn needs_endpoints(&self) -> bool {
        self.traffic_local || self.node_affinity
    }
}

/// The first bytes of a SHA-256, because agents of different builds must agree. Never 0, which means that there is
/// no annotation.
fn rebalance(value: &str) -> u64 {
    let hash: [u8; 32] = Sha256::digest(value).into();
    hash.first_chunk::<8>().map_or(1, |first| u64::from_be_bytes(*first).max(1))
}

#[cfg(test)]
pub(crate) mod testing {
    //! Services for tests.

    use serde_json::json;

    use super::*;

    /// A Service `shop/NAME` with these addresses.
    pub fn view(name: &str, addresses: &[&str], pool_type: Option<&str>) -> ServiceView {
        let ingress: Vec<_> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
        let object = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "1",
                "annotations": {"purelb.io/allocated-by": "PureLB", "purelb.io/pool-type": pool_type.unwrap_or("none")}},
            "spec": {"type": "LoadBalancer"},
            "status": {"loadBalancer": {"ingress": ingress}}
        }));
        ServiceView::new(&object.unwrap(), true)
    }

    /// The Service `shop/a` with the address 192.0.2.1 and this annotation.
    pub fn annotated(key: &str, value: &str) -> ServiceView {
        let object = serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "shop", "uid": "a", "resourceVersion": "1",
                "annotations": {"purelb.io/allocated-by": "PureLB", key: value}},
            "spec": {"type": "LoadBalancer"},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
        }));
        ServiceView::new(&object.unwrap(), true)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{annotated, view};
    use super::*;

    #[test]
    fn a_service_that_nobody_allocated_has_no_addresses() {
        let object = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "a", "namespace": "shop"}, "spec": {"type": "LoadBalancer"},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
        }));
        assert!(ServiceView::new(&object.unwrap(), true).addresses.is_empty());
    }

    #[test]
    fn harmful_addresses_are_left_out() {
        let view = view("a", &["127.0.0.1", "0.0.0.0", "fe80::1", "224.0.0.1", "::ffff:192.0.2.1", "192.0.2.1"], None);
        assert_eq!(view.addresses, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn annotations_of_the_link() {
        assert_eq!((annotated("none", "").rebalance, annotated("none", "").skip_dad), (0, false));
        // As sha256sum says of "now"; all nodes must agree, whatever they were built from.
        assert_eq!(annotated("purelb.io/rebalance", "now").rebalance, 0xed5e_b9a3_7e2d_8231);
        assert_ne!(annotated("purelb.io/rebalance", "").rebalance, 0);
        assert!(annotated("purelb.io/skip-ipv6-dad", "true").skip_dad);
        assert!(!annotated("purelb.io/skip-ipv6-dad", "false").skip_dad);
    }
}
