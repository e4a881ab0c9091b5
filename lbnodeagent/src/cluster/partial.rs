//! Objects of which only the needed fields are read from the API server.
//!
//! Most fields are of no use here, the managed fields above all. As values in memory they are many times as large
//! as what is kept of an object, and a page of a list has hundreds of objects. Fields that are skipped while
//! reading cost no memory.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec, ServiceStatus};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

/// An object with only the needed fields.
#[derive(Debug, Clone)]
pub struct Partial<K>(pub K);

/// A kind of objects of which only some fields are read.
pub trait ReadInPart: Resource<DynamicType = ()> {
    /// The fields that are read.
    type Fields: DeserializeOwned;

    /// An object with only these fields.
    fn from_fields(fields: Self::Fields) -> Self;
}

impl<'de, K: ReadInPart> Deserialize<'de> for Partial<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        K::Fields::deserialize(deserializer).map(|fields| Self(K::from_fields(fields)))
    }
}

impl<K: ReadInPart> Resource for Partial<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
}

impl From<Metadata> for ObjectMeta {
    fn from(metadata: Metadata) -> Self {
        let Metadata { namespace, name, uid, resource_version, deletion_timestamp, labels, annotations } = metadata;
        Self { namespace, name, uid, resource_version, deletion_timestamp, labels, annotations, ..Self::default() }
    }
}

/// The fields that are read of a Service.
#[derive(Deserialize)]
pub struct ServiceFields {
    #[serde(default)]
    metadata: Metadata,
    spec: Option<Spec>,
    status: Option<ServiceStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(rename = "type")]
    type_: Option<String>,
    load_balancer_class: Option<String>,
    external_traffic_policy: Option<String>,
    ports: Option<Vec<ServicePort>>,
}

impl ReadInPart for Service {
    type Fields = ServiceFields;

    fn from_fields(ServiceFields { metadata, spec, status }: ServiceFields) -> Self {
        let spec = spec.map(|Spec { type_, load_balancer_class, external_traffic_policy, ports }| ServiceSpec {
            type_,
            load_balancer_class,
            external_traffic_policy,
            ports,
            ..ServiceSpec::default()
        });
        Self { metadata: metadata.into(), spec, status }
    }
}

/// The fields that are read of an `EndpointSlice`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SliceFields {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    address_type: String,
    endpoints: Option<Vec<EndpointFields>>,
    ports: Option<Vec<PortFields>>,
}

#[derive(Deserialize)]
struct PortFields {
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EndpointFields {
    conditions: Option<EndpointConditions>,
    node_name: Option<String>,
}

impl ReadInPart for EndpointSlice {
    type Fields = SliceFields;

    fn from_fields(SliceFields { metadata, address_type, endpoints, ports }: SliceFields) -> Self {
        let endpoint =
            |EndpointFields { conditions, node_name }| Endpoint { conditions, node_name, ..Endpoint::default() };
        let endpoints = endpoints.into_iter().flatten().map(endpoint).collect();
        let port = |PortFields { name }| EndpointPort { name, ..EndpointPort::default() };
        let ports = ports.map(|ports| ports.into_iter().map(port).collect());
        Self { metadata: metadata.into(), address_type, endpoints, ports }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::endpoints::SliceView;
    use crate::cluster::service::ServiceView;

    fn metadata(extra: &Value) -> Value {
        let mut metadata = json!({
            "namespace": "shop", "name": "web", "uid": "u", "resourceVersion": "7", "creationTimestamp": null,
            "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {"f:type": {}}}}]
        });
        for (key, value) in extra.as_object().unwrap() {
            metadata[key] = value.clone();
        }
        metadata
    }

    #[test]
    fn nothing_is_missed_that_decides_about_a_service() {
        let annotations = json!({"annotations": {
            "purelb.io/allocated-by": "PureLB", "purelb.io/pool-type": "remote", "purelb.io/rebalance": "1",
            "purelb.io/node-affinity": "service-endpoints", "purelb.io/skip-ipv6-dad": "true",
            "purelb.io/allocated-addresses": "192.0.2.1,2001:db8::1", "purelb.io/allocated-to": "u",
            "purelb.io/allocated-from": "default", "purelb.io/vip-ports": "192.0.2.1,tcp,80", "purelb.io/announcing-IPv4": "n1,eth0,192.0.2.1", "purelb.io/announcing-IPv6": "n1,eth0,2001:db8::1"
        }});
        let object = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata(&annotations),
            "spec": {
                "type": "LoadBalancer", "loadBalancerClass": "purelb.io/purelb", "externalTrafficPolicy": "Local",
                "ports": [{"port": 80, "protocol": "TCP", "targetPort": "http"}]
            },
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1", "ipMode": "VIP"}]}}
        });
        let whole: Service = serde_json::from_value(object.clone()).unwrap();
        let Partial(partial): Partial<Service> = serde_json::from_str(&object.to_string()).unwrap();
        assert_eq!(ServiceView::new(&partial, false), ServiceView::new(&whole, false));
        assert_eq!(ServiceView::new(&partial, false).addresses.len(), 2);
        assert_eq!(partial.metadata.managed_fields, None);
        let mut terminating = object;
        terminating["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let Partial(partial): Partial<Service> = serde_json::from_str(&terminating.to_string()).unwrap();
        assert!(ServiceView::new(&partial, false).addresses.is_empty());
    }

    #[test]
    fn nothing_is_missed_that_decides_about_a_slice() {
        let object = json!({
            "addressType": "IPv4", "metadata": metadata(&json!({"labels": {"kubernetes.io/service-name": "web"}})),
            "endpoints": [
                {"addresses": ["10.0.0.1"], "nodeName": "a", "targetRef": {"kind": "Pod", "name": "web-1"}},
                {"addresses": ["10.0.0.2"], "nodeName": "b", "conditions": {"ready": false, "serving": true}}
            ],
            "ports": [{"port": 80, "name": "http", "protocol": "TCP"}, {"port": 81}]
        });
        let whole: EndpointSlice = serde_json::from_value(object.clone()).unwrap();
        let Partial(partial): Partial<EndpointSlice> = serde_json::from_str(&object.to_string()).unwrap();
        assert!(SliceView::new(&partial).is_some());
        assert_eq!(SliceView::new(&partial), SliceView::new(&whole));
    }

    #[test]
    fn an_object_with_hardly_anything_is_read_from_the_same_place() {
        let Partial(service): Partial<Service> = serde_json::from_str("{}").unwrap();
        assert!(ServiceView::new(&service, true).addresses.is_empty());
        let Partial(slice): Partial<EndpointSlice> = serde_json::from_str(r#"{"endpoints": null}"#).unwrap();
        assert_eq!(SliceView::new(&slice), None);
        assert_eq!(Partial::<Service>::url_path(&(), None), Service::url_path(&(), None));
    }
}
