//! What tests run in the cluster: the echo backend with Services, Services without backends.

use std::{fmt::Write as _, net::IpAddr};

use crate::{
    base::wait::eventually,
    cluster::{handle::Cluster, installation::checkout},
    testing::{
        objects::Applied,
        waits::{DEADLINE, wait_for_event},
    },
};

/// A namespace with the echo backend in it, on every node.
#[derive(Debug)]
pub struct EchoNamespace<'a> {
    /// Where it is.
    pub cluster: &'a Cluster,
    /// Its name.
    pub name: &'static str,
    _namespace: Applied<'a>,
}

impl<'a> EchoNamespace<'a> {
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

    /// Waits for a Kubernetes event about an object of this namespace with `words` in its message.
    pub async fn event(&self, object: &str, reason: &str, words: &str) {
        wait_for_event(self.cluster, self.name, object, reason, words).await;
    }
}

/// A dual-stack Service without backends, in the namespace `default`: all it takes to have addresses announced.
#[derive(Debug)]
pub struct BareService<'a> {
    /// Its name.
    pub name: &'a str,
    /// One of each family.
    pub addresses: Vec<IpAddr>,
    _service: Applied<'a>,
}

/// The ServiceGroups of the sample that is the seed.
pub const ROUTED_GROUPS: &str = "ipv4-routed,ipv6-routed";

impl<'a> BareService<'a> {
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
