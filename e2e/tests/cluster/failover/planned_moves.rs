//! Moves that a user asks for.

use std::time::{Duration, Instant};

use e2e::{
    Cluster, Node,
    testing::{SETTLE_TIME, Undo, installed},
};

use crate::failover::local_service::LocalService;

const LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// A node with the label that excludes it, until this is dropped.
fn excluded<'a>(cluster: &'a Cluster, node: &Node) -> Undo<'a> {
    let (name, label, removal) = (node.name(), format!("{LABEL}="), format!("{LABEL}-"));
    Undo::kubectl(cluster, &["label", "node", &name, &label], &["label", "node", &name, &removal])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_excluded_owner_hands_over_and_gets_its_addresses_back_when_somebody_asks() {
    let cluster = installed().await;
    let local = LocalService::new(&cluster, "planned").await;
    // The first candidate, unless another node was there first.
    let [address, _] = local.addresses;
    let (owner, first) = (local.owner(), cluster.order(address).remove(0));

    let from = local.answers().await;
    let exclusion = excluded(&cluster, &owner);
    local.answered_by(|macs| !macs.contains(&owner.mac())).await;
    local.assert_moved_once(from, Duration::from_millis(500));

    // Nobody asked for a move back.
    let from = Instant::now();
    drop(exclusion);
    tokio::time::sleep(SETTLE_TIME).await;
    local.assert_undisturbed(from);

    let already = local.owner().id() == first.id();
    let from = local.answers().await;
    cluster
        .kubectl(&["annotate", "service", local.name, "--namespace", "default", "purelb.io/rebalance=once"])
        .unwrap();
    local.answered_by(|macs| macs == [first.mac(); 2]).await;
    tokio::time::sleep(SETTLE_TIME).await;
    if already {
        local.assert_undisturbed(from);
    } else {
        local.assert_moved_once(from, Duration::from_millis(500));
    }
}
