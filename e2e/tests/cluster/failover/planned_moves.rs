//! Moves that somebody asked for.

use std::time::{Duration, Instant};

use e2e::{Cluster, Node};

use crate::failover::local_service::LocalService;
use e2e::testing::{SETTLE_TIME, installed};

const LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// A node with the label that excludes it, until this is dropped.
struct Excluded<'a>(&'a Cluster, &'a Node);

impl<'a> Excluded<'a> {
    fn new(cluster: &'a Cluster, node: &'a Node) -> Self {
        let excluded = Self(cluster, node);
        cluster.kubectl(&["label", "node", &node.name(), &format!("{LABEL}=")]).unwrap();
        excluded
    }
}

impl Drop for Excluded<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.kubectl(&["label", "node", &self.1.name(), &format!("{LABEL}-")]) {
            eprintln!("clean-up: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_excluded_owner_hands_over_and_gets_its_addresses_back_when_somebody_asks() {
    let cluster = installed().await;
    let local = LocalService::new(&cluster, "planned").await;
    // The first choice, unless somebody else was there first.
    let [address, _] = local.addresses;
    let (owner, first) = (local.owner(), cluster.order(address).remove(0));

    let from = local.answers().await;
    let excluded = Excluded::new(&cluster, &owner);
    local.answered_by(|macs| !macs.contains(&owner.mac())).await;
    local.assert_moved_once(from, Duration::from_millis(500));

    // Nobody asked for a move back.
    let from = Instant::now();
    drop(excluded);
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
