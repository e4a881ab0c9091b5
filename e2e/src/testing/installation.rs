//! The load balancer in the shared cluster, with its agents or without.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::json;

use crate::{
    base::{error::Result, wait::eventually},
    cluster::{handle::Cluster, installation::NAMESPACE},
    testing::waits::{DEADLINE, SETTLE_TIME},
};

/// The shared cluster with the load balancer installed.
#[must_use]
pub async fn installed() -> Cluster {
    let cluster = Cluster::shared().await.unwrap();
    cluster.install().unwrap();
    cluster
}

/// Replaces all agents one after the other, then kills all of them, and returns when they run again and have done what
/// agents do after their start. The pods are new when their agents are killed, so the kubelet restarts them at once.
pub async fn restart_agents(cluster: &Cluster) {
    cluster.kubectl(&["rollout", "restart", "--namespace", NAMESPACE, "daemonset/lbnodeagent"]).unwrap();
    cluster.installation_ready().unwrap();
    for node in cluster.nodes() {
        node.crash_agent().unwrap();
    }
    cluster.agents_ready(DEADLINE).await.unwrap();
    tokio::time::sleep(SETTLE_TIME).await;
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

    fn choose(&self, value: Option<&str>) -> Result<String> {
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

/// A cluster without pods of the allocator until this is dropped, for a test that brings its own or has none.
#[derive(Debug)]
#[must_use = "the allocator comes back when this is dropped"]
pub struct WithoutAllocator<'a>(&'a Cluster);

impl<'a> WithoutAllocator<'a> {
    /// Stops them as an administrator would, and waits until they have ended.
    pub async fn new(cluster: &'a Cluster) -> Self {
        let without = Self(cluster);
        without.scale(0).unwrap();
        let pods: Api<Pod> = Api::namespaced(cluster.kube().await.unwrap(), NAMESPACE);
        eventually(DEADLINE, "no pods of the allocator", async || {
            let selector = ListParams::default().labels("component=allocator");
            let left = pods.list(&selector).await.map_err(|error| error.to_string())?.items.len();
            if left == 0 { Ok(()) } else { Err(format!("{left} pods")) }
        })
        .await
        .unwrap();
        without
    }

    fn scale(&self, replicas: u8) -> Result<String> {
        let replicas = format!("--replicas={replicas}");
        self.0.kubectl(&["scale", "--namespace", NAMESPACE, &replicas, "deployment/allocator"])
    }
}

impl Drop for WithoutAllocator<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.scale(2) {
            eprintln!("clean-up: {error}");
        }
    }
}
