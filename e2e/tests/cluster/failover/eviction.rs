//! Agents that are evicted from their node.

use std::time::{Duration, Instant};

use e2e::{Cluster, Node};

use crate::failover::local_service::LocalService;
use e2e::testing::{Applied, BareService, DEADLINE, ROUTED_GROUPS, SETTLE_TIME, installed, wait_for_next_hops};

const TAINT: &str = "e2e.purelb.io/maintenance:NoExecute";

/// A node that evicts its pods, until this is dropped.
struct Tainted<'a>(&'a Cluster, &'a Node);

impl<'a> Tainted<'a> {
    fn new(cluster: &'a Cluster, node: &'a Node) -> Self {
        let tainted = Self(cluster, node);
        cluster.kubectl(&["taint", "node", &node.name(), TAINT]).unwrap();
        tainted
    }
}

impl Drop for Tainted<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.kubectl(&["taint", "node", &self.1.name(), &format!("{TAINT}-")]) {
            eprintln!("clean-up: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evicted_agent_hands_local_addresses_over_and_withdraws_remote_ones() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let remote = BareService::new(&cluster, "evicted-remote", ROUTED_GROUPS).await;
    let routed = remote.addresses[0];
    let local = LocalService::new(&cluster, "evicted").await;
    let owner = local.owner();
    wait_for_next_hops(&cluster, routed, cluster.nodes()).await;

    let from = local.answers().await;
    let tainted = Tainted::new(&cluster, &owner);
    local.answered_by(|macs| !macs.contains(&owner.mac())).await;
    local.assert_moved_once(from, Duration::from_millis(500));
    wait_for_next_hops(&cluster, routed, cluster.nodes().filter(|node| node.id() != owner.id())).await;

    let back = Instant::now();
    drop(tainted);
    cluster.agents_ready(DEADLINE).await.unwrap();
    wait_for_next_hops(&cluster, routed, cluster.nodes()).await;
    tokio::time::sleep(SETTLE_TIME).await;
    local.assert_undisturbed(back);
}
