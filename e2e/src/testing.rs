//! What the tests on the real cluster need again and again. All of it panics when it cannot go on: then the test has
//! failed.
#![allow(
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::{Cluster, Family, NAMESPACE, Node, checkout, eventually};

/// Long enough for a machine that does other things too; a test that meets it has failed.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// What would come late has come within this time.
pub const AFTERWARDS: Duration = Duration::from_secs(3);

/// The shared cluster with the load balancer installed.
#[must_use]
pub async fn installed() -> Cluster {
    let cluster = Cluster::shared().await.unwrap();
    cluster.install().unwrap();
    cluster
}

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

/// A namespace with the echo backend in it, on every node.
#[derive(Debug)]
pub struct Space<'a> {
    /// Where it is.
    pub cluster: &'a Cluster,
    /// Its name.
    pub name: &'static str,
    _namespace: Applied<'a>,
}

impl<'a> Space<'a> {
    /// Makes it, and waits until the backend runs.
    #[must_use]
    pub fn new(cluster: &'a Cluster, name: &'static str) -> Self {
        let namespace = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}");
        let space = Self { cluster, name, _namespace: Applied::yaml(cluster, &namespace) };
        let echo = checkout("e2e/fixtures/echo.yaml");
        space.kubectl(&["apply", "-f", &echo.to_string_lossy()]);
        space.kubectl(&["rollout", "status", "--timeout=60s", "deployment/echo"]);
        space
    }

    /// `kubectl` in this namespace.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl(&[&["--namespace", self.name], arguments].concat()).unwrap()
    }

    /// A Service of the echo backend on port 80; `spec` and `annotations` are lines of YAML.
    pub fn service(&self, name: &str, annotations: &[(&str, &str)], spec: &[(&str, &str)]) {
        let mut yaml =
            format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: {}\n", self.name);
        if !annotations.is_empty() {
            yaml.push_str("  annotations:\n");
        }
        for (key, value) in annotations {
            writeln!(yaml, "    {key}: {value:?}").unwrap();
        }
        yaml.push_str("spec:\n  type: LoadBalancer\n  selector: {app: echo}\n");
        yaml.push_str("  ports: [{name: http, port: 80, targetPort: 8080}]\n");
        for (key, value) in spec {
            writeln!(yaml, "  {key}: {value}").unwrap();
        }
        self.cluster.apply(&yaml).unwrap();
    }

    /// Waits until a Service has this many addresses.
    pub async fn addresses(&self, service: &str, count: usize) -> Vec<IpAddr> {
        self.cluster.service_addresses(self.name, service, count).await.unwrap()
    }

    /// Waits until a pod answers at this address as seen from the client.
    pub async fn answers(&self, address: IpAddr) -> String {
        eventually(DEADLINE, format!("an answer from {address}"), async || {
            let body = self.cluster.client().http_get(address, 80).map_err(|error| error.to_string())?;
            if body.contains("pod=echo-") { Ok(body) } else { Err(body) }
        })
        .await
        .unwrap()
    }

    /// Waits for an event about an object of this namespace whose text contains these words.
    pub async fn event(&self, object: &str, reason: &str, words: &str) {
        event(self.cluster, self.name, object, reason, words).await;
    }
}

/// A dual-stack Service without backends, in the namespace `default`: all it takes to have addresses announced.
#[derive(Debug)]
pub struct Bare<'a> {
    /// Its name.
    pub name: &'a str,
    /// One of each family.
    pub addresses: Vec<IpAddr>,
    _service: Applied<'a>,
}

/// The ServiceGroups of the sample that is the seed.
pub const ROUTED: &str = "ipv4-routed,ipv6-routed";

impl<'a> Bare<'a> {
    /// Creates it, and waits until it has addresses of this group or these groups.
    pub async fn new(cluster: &'a Cluster, name: &'a str, group: &str) -> Self {
        let yaml = format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: default, \
             annotations: {{purelb.io/service-group: \"{group}\"}}}}, \
             spec: {{type: LoadBalancer, ipFamilyPolicy: RequireDualStack, ports: [{{port: 80}}]}}}}"
        );
        let service = Applied::yaml(cluster, &yaml);
        let addresses = cluster.service_addresses("default", name, 2).await.unwrap();
        Self { name, addresses, _service: service }
    }
}

/// An LBNodeAgent for this node, or for all, with these lines under `local`.
pub fn node_agent(node: Option<&Node>, local: &str) -> String {
    let selector = node.map(|node| format!("matchLabels: {{kubernetes.io/hostname: {}}}", node.name()));
    format!(
        "{{apiVersion: purelb.io/v2, kind: LBNodeAgent, metadata: {{name: e2e, namespace: {NAMESPACE}}}, \
         spec: {{nodeSelector: {{{}}}, local: {{{local}}}}}}}",
        selector.unwrap_or_default()
    )
}

/// Forgets what was said about the objects of this name: events outlive them.
pub fn forget_events(cluster: &Cluster, namespace: &str, object: &str) {
    let selector = format!("involvedObject.name={object}");
    cluster.kubectl(&["delete", "events", "--namespace", namespace, "--field-selector", &selector]).unwrap();
}

/// A cluster without agents until this is dropped: their `DaemonSet` chooses nodes that do not exist.
#[derive(Debug)]
#[must_use = "the agents come back when this is dropped"]
pub struct WithoutAgents<'a>(&'a Cluster);

impl<'a> WithoutAgents<'a> {
    /// Stops them as an administrator would, and waits until they have ended.
    pub async fn new(cluster: &'a Cluster) -> Self {
        let without = Self(cluster);
        without.choose(Some("nowhere")).unwrap();
        eventually(DEADLINE, "no agent on any node", async || {
            let left: Vec<i32> = cluster.nodes().flat_map(|node| node.processes("lbnodeagent").unwrap()).collect();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await
        .unwrap();
        without
    }

    fn choose(&self, value: Option<&str>) -> crate::Result<String> {
        let patch = json!({"spec": {"template": {"spec": {"nodeSelector": {"e2e": value}}}}}).to_string();
        self.0.kubectl(&["patch", "daemonset/lbnodeagent", "--namespace", NAMESPACE, "--patch", &patch])
    }
}

impl Drop for WithoutAgents<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.choose(None) {
            eprintln!("clean-up: {error}");
        }
    }
}

/// Waits until the router's next hops for an address are exactly these nodes.
pub async fn routed_by(cluster: &Cluster, address: IpAddr, nodes: impl IntoIterator<Item = impl Borrow<Node>>) {
    let hop = |node: &Node| match Family::of(address) {
        Family::V4 => IpAddr::from(node.id().ipv4()),
        Family::V6 => IpAddr::from(node.id().ipv6()),
    };
    let wanted: BTreeSet<IpAddr> = nodes.into_iter().map(|node| hop(node.borrow())).collect();
    eventually(DEADLINE, format!("{wanted:?} as next hops of {address}"), async || {
        let route = cluster.router().route(address).map_err(|error| error.to_string())?;
        let hops = route.map(|route| route.next_hops).unwrap_or_default();
        if hops == wanted { Ok(()) } else { Err(format!("{hops:?}")) }
    })
    .await
    .unwrap();
}

/// Waits until `interface` of each of these nodes has `address` once, or no address of that kind at all.
pub async fn eventually_on(nodes: &[Node], interface: &str, address: IpAddr, there: bool) {
    for node in nodes {
        let what = format!("{address} {} {interface} of {}", if there { "on" } else { "not on" }, node.name());
        eventually(DEADLINE, what, async || {
            let found = node.addresses(interface).map_err(|error| error.to_string())?;
            let count = found.iter().filter(|found| found.address == address).count();
            if count == usize::from(there) { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await
        .unwrap();
    }
}

/// The names of the nodes that have an address on their own interface.
pub fn holders(cluster: &Cluster, address: IpAddr) -> BTreeSet<String> {
    let holds = |node: &Node| node.addresses("eth0").unwrap().iter().any(|found| found.address == address);
    cluster.nodes().filter(holds).map(|node| node.name()).collect()
}

/// Waits for an event about an object whose text contains these words.
pub async fn event(cluster: &Cluster, namespace: &str, object: &str, reason: &str, words: &str) {
    let selector = format!("involvedObject.name={object},reason={reason}");
    let arguments = ["get", "events", "--namespace", namespace, "--field-selector", &selector, "-o"];
    eventually(DEADLINE, format!("an event {reason} about {object} with {words:?}"), async || {
        let path = "jsonpath={range .items[*]}{.message}{\"\\n\"}{end}";
        let messages = cluster.kubectl(&[&arguments[..], &[path]].concat()).map_err(|error| error.to_string())?;
        if messages.contains(words) { Ok(()) } else { Err(messages) }
    })
    .await
    .unwrap();
}

/// Waits until the condition `Ready` of a ServiceGroup has this status, and returns (reason, message).
pub async fn group_ready(cluster: &Cluster, name: &str, status: &str) -> (String, String) {
    eventually(DEADLINE, format!("ServiceGroup {name} with Ready={status}"), async || {
        let group = object(cluster, &["servicegroup", name, "--namespace", NAMESPACE]);
        let conditions = group.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready" && condition["status"] == status);
        let text = |field: &str| ready.and_then(|ready| ready[field].as_str()).unwrap_or_default().to_owned();
        if ready.is_some() { Ok((text("reason"), text("message"))) } else { Err(group["status"].to_string()) }
    })
    .await
    .unwrap()
}
