//! Objects of the cluster for tests.

use api_types::{LBNodeAgent, ServiceGroup};
use k8s_openapi::api::core::v1::Service;
use lbnodeagent::cluster::endpoints::SliceView;
use lbnodeagent::cluster::service::ServiceView;
use serde_json::{Value, json};

/// An LBNodeAgent that selects every node.
pub fn agent(spec: &Value) -> Box<LBNodeAgent> {
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
pub fn group(object: &Value) -> ServiceGroup {
    from(object)
}

/// A Service as the watch delivers it.
pub fn view(object: &Value) -> ServiceView {
    ServiceView::new(&from::<Service>(object), true)
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

/// An EndpointSlice: a Service's ready endpoints on these nodes.
pub fn endpoints(service: &str, nodes: &[&str]) -> Value {
    let endpoints: Vec<Value> = nodes.iter().map(|node| json!({"addresses": ["10.0.0.1"], "nodeName": node})).collect();
    json!({
        "kind": "EndpointSlice",
        "metadata": {"name": format!("{service}-1"), "namespace": "shop", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "endpoints": endpoints
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
