//! Objects of the cluster for tests.

use api_types::provenance::addresses_value;
use api_types::service::ingress_addresses;
use api_types::{LBNodeAgent, ServiceGroup, Watched};
use k8s_openapi::api::core::v1::Service;
use lbnodeagent::cluster::endpoints::SliceView;
use lbnodeagent::cluster::service::ServiceView;
use serde_json::{Value, json};

/// An LBNodeAgent that selects every node.
pub fn agent(spec: &Value) -> Box<Watched<LBNodeAgent>> {
    let agent = json!({
        "apiVersion": "purelb.io/v2", "kind": "LBNodeAgent", "metadata": {"name": "a", "namespace": "purelb"}, "spec": spec
    });
    Box::new(from(&agent))
}

/// The kind of an object.
pub fn kind(object: &Value) -> &str {
    object["kind"].as_str().expect("an object without kind")
}

/// An object of a type.
pub fn from<T: serde::de::DeserializeOwned>(object: &Value) -> T {
    serde_json::from_value(object.clone()).unwrap()
}

/// A ServiceGroup as the watch delivers it.
pub fn group(object: &Value) -> Watched<ServiceGroup> {
    from(object)
}

/// A Service as the watch delivers it. If it has the allocator's name and nothing else of it, the addresses in its status
/// are those that the allocator gave.
pub fn view(object: &Value) -> ServiceView {
    let mut service: Service = from(object);
    let given = addresses_value(&ingress_addresses(&service));
    let uid = service.metadata.uid.clone();
    if let Some(annotations) = &mut service.metadata.annotations
        && annotations.contains_key("purelb.io/allocated-by")
        && !annotations.contains_key("purelb.io/allocated-from")
        && !annotations.contains_key("purelb.io/allocated-addresses")
    {
        annotations.insert("purelb.io/allocated-addresses".to_owned(), given);
        annotations.extend(uid.map(|uid| ("purelb.io/allocated-to".to_owned(), uid)));
    }
    ServiceView::new(&service, true)
}

/// An EndpointSlice as the watch delivers it.
pub fn slice(object: &Value) -> SliceView {
    SliceView::new(&from(object)).unwrap()
}

/// A ServiceGroup: `kind` is `local` or `remote`.
pub fn service_group(name: &str, kind: &str, range: &str, subnet: &str, aggregation: &str) -> Value {
    let field = if range.contains(':') { "v6pool" } else { "v4pool" };
    json!({
        "apiVersion": "purelb.io/v2", "kind": "ServiceGroup", "metadata": {"name": name, "namespace": "purelb"},
        "spec": {kind: {field: {"pool": range, "subnet": subnet, "aggregation": aggregation}}}
    })
}

/// The two groups of the Calico sample, and a local one for each family in the node's subnet.
pub fn groups() -> Vec<Value> {
    vec![
        service_group("routed4", "remote", "172.30.200.155-172.30.200.160", "172.30.200.0/24", "/32"),
        service_group(
            "routed6",
            "remote",
            "2001:470:8bf5:2:2::1-2001:470:8bf5:2:2::ffff",
            "2001:470:8bf5:2::/64",
            "/128",
        ),
        service_group("lan4", "local", "192.168.50.200-192.168.50.210", "192.168.50.0/24", "default"),
        service_group("lan6", "local", "fd00:50::f000/116", "fd00:50::/64", "default"),
    ]
}

/// An EndpointSlice: a Service's ready IPv4 endpoints on these nodes.
pub fn endpoints(service: &str, nodes: &[&str]) -> Value {
    endpoints_of(service, "IPv4", nodes)
}

/// An EndpointSlice: a Service's ready endpoints of this type on these nodes.
pub fn endpoints_of(service: &str, address_type: &str, nodes: &[&str]) -> Value {
    let endpoints: Vec<Value> = nodes.iter().map(|node| json!({"addresses": ["10.0.0.1"], "nodeName": node})).collect();
    json!({
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{service}-{address_type}"), "namespace": "shop",
            "labels": {"kubernetes.io/service-name": service}
        },
        "addressType": address_type, "endpoints": endpoints
    })
}

/// A Service with these addresses.
pub fn service(name: &str, addresses: &[&str]) -> Value {
    let ingress: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
    json!({
        "kind": "Service",
        "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "1",
            "annotations": {"purelb.io/allocated-by": "PureLB"}},
        "spec": {"type": "LoadBalancer"},
        "status": {"loadBalancer": {"ingress": ingress}}
    })
}
