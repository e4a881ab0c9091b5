//! The load balancer in the shared cluster, with its agents or without.

use serde_json::json;

use crate::{
    base::{error::Result, wait::eventually},
    cluster::{handle::Cluster, installation::NAMESPACE},
    testing::waits::DEADLINE,
};

/// The shared cluster with the load balancer installed.
#[must_use]
pub async fn installed() -> Cluster {
    let cluster = Cluster::shared().await.unwrap();
    cluster.install().unwrap();
    cluster
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
