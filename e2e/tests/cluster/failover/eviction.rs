//! Agents that are evicted from their node.

use std::time::{Duration, Instant};

use e2e::{
    Cluster, Node,
    testing::{Applied, BareService, DEADLINE, ROUTED_GROUPS, SETTLE_TIME, Undo, installed, wait_for_next_hops},
};

use crate::failover::local_service::LocalService;

const TAINT: &str = "e2e.purelb.io/maintenance:NoExecute";

/// A node that evicts its pods, until this is dropped.
fn tainted<'a>(cluster: &'a Cluster, node: &Node) -> Undo<'a> {
    let (name, removal) = (node.name(), format!("{TAINT}-"));
    Undo::kubectl(cluster, &["taint", "node", &name, TAINT], &["taint", "node", &name, &removal])
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
    let tainted = tainted(&cluster, &owner);
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
