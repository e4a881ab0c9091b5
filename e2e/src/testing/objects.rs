//! Objects of a test: read, applied, and deleted when the test ends.

use std::net::IpAddr;

use api_types::Family;
use serde_json::{Value, json};

use crate::{
    cluster::{
        handle::Cluster,
        installation::{NAMESPACE, checkout},
    },
    nodes::node::Node,
};

/// `kubectl get -o json` of one object.
#[must_use]
pub fn object(cluster: &Cluster, arguments: &[&str]) -> Value {
    let text = cluster.kubectl(&[&["get", "-o", "json"], arguments].concat()).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Objects that go when this does, also after a failure.
#[derive(Debug)]
pub struct Applied<'a> {
    cluster: &'a Cluster,
    delete: Vec<String>,
    input: String,
}

impl<'a> Applied<'a> {
    /// A directory of the manifests.
    #[must_use]
    pub fn kustomization(cluster: &'a Cluster, directory: &str) -> Self {
        let path = checkout(directory).to_string_lossy().into_owned();
        let applied = Self { cluster, delete: vec!["-k".to_owned(), path], input: String::new() };
        cluster.apply_kustomization(directory).unwrap();
        applied
    }

    /// YAML documents.
    #[must_use]
    pub fn yaml(cluster: &'a Cluster, yaml: &str) -> Self {
        let applied = Self { cluster, delete: Vec::new(), input: yaml.to_owned() };
        cluster.apply(yaml).unwrap();
        applied
    }
}

impl Drop for Applied<'_> {
    fn drop(&mut self) {
        let deleted = if self.delete.is_empty() {
            self.cluster.delete(&self.input)
        } else {
            let mut arguments = vec!["delete", "--ignore-not-found", "--timeout=60s"];
            arguments.extend(self.delete.iter().map(String::as_str));
            self.cluster.kubectl(&arguments)
        };
        if let Err(error) = deleted {
            eprintln!("clean-up: {error}");
        }
    }
}

/// An LBNodeAgent for this node, or for all, with these lines under `local`.
pub fn node_agent_yaml(node: Option<&Node>, local: &str) -> String {
    let selector = node.map(|node| format!("matchLabels: {{kubernetes.io/hostname: {}}}", node.name()));
    format!(
        "{{apiVersion: purelb.io/v2, kind: LBNodeAgent, metadata: {{name: e2e, namespace: {NAMESPACE}}}, \
         spec: {{nodeSelector: {{{}}}, local: {{{local}}}}}}}",
        selector.unwrap_or_default()
    )
}

/// A ServiceGroup of version v2 of this kind, `local` or `remote`, with these ranges, each with its subnet.
pub fn group_object(name: &str, kind: &str, pools: &[(&str, &str)]) -> Value {
    let of = |four: bool| -> Vec<Value> {
        let some = pools.iter().filter(|(_, subnet)| subnet.contains(':') != four);
        some.map(|(pool, subnet)| json!({"pool": pool, "subnet": subnet})).collect()
    };
    json!({
        "apiVersion": "purelb.io/v2", "kind": "ServiceGroup", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {kind: {"v4pools": of(true), "v6pools": of(false)}},
    })
}

/// A `remote` ServiceGroup with these ranges, each address of which is a route of its own.
pub fn host_routes_object(name: &str, pools: &[(&str, &str)]) -> Value {
    let mut group = group_object(name, "remote", pools);
    for (field, aggregation) in [("v4pools", "/32"), ("v6pools", "/128")] {
        for pool in group["spec"]["remote"][field].as_array_mut().into_iter().flatten() {
            pool["aggregation"] = json!(aggregation);
        }
    }
    group
}

/// The EndpointSlice of a Service in the namespace `default`, without pods: a ready endpoint for each of these nodes,
/// and for each `None` one that names no node.
pub fn endpoint_slice(service: &str, family: Family, nodes: &[Option<&Node>]) -> Value {
    let endpoint = |(place, node): (usize, Option<&Node>)| {
        let place = u8::try_from(place).unwrap() + 1;
        let nowhere = match family {
            Family::V4 => IpAddr::from([192, 0, 2, place]),
            Family::V6 => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(place)]),
        };
        let address = node.map_or(nowhere, |node| node.id().address(family));
        json!({"addresses": [address], "nodeName": node.map(|node| node.name()), "conditions": {"ready": true}})
    };
    let endpoints: Vec<Value> = nodes.iter().copied().enumerate().map(endpoint).collect();
    let name = format!("{service}-{}", family.to_string().to_lowercase());
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family.to_string(),
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"name": "http", "port": 80}], "endpoints": endpoints,
    })
}

/// Overwrites the addresses in a Service's status in the name of another program.
pub fn overwrite_status(cluster: &Cluster, namespace: &str, service: &str, manager: &str, addresses: &[IpAddr]) {
    let ingress: Vec<Value> = addresses.iter().map(|address| json!({"ip": address, "ipMode": "VIP"})).collect();
    let patch = json!({"status": {"loadBalancer": {"ingress": ingress}}}).to_string();
    let manager = format!("--field-manager={manager}");
    let arguments = ["patch", "service", service, "--namespace", namespace, "--subresource=status", "--type=merge"];
    cluster.kubectl(&[&arguments[..], &[&manager, "--patch", &patch]].concat()).unwrap();
}

/// Deletes the Kubernetes events about the objects of this name: they outlive the objects.
pub fn delete_events(cluster: &Cluster, namespace: &str, object: &str) {
    let selector = format!("involvedObject.name={object}");
    cluster.kubectl(&["delete", "events", "--namespace", namespace, "--field-selector", &selector]).unwrap();
}
