//! Objects of a test: read, applied, and deleted when the test ends.

use serde_json::Value;

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

/// Deletes the Kubernetes events about the objects of this name: they outlive the objects.
pub fn delete_events(cluster: &Cluster, namespace: &str, object: &str) {
    let selector = format!("involvedObject.name={object}");
    cluster.kubectl(&["delete", "events", "--namespace", namespace, "--field-selector", &selector]).unwrap();
}
