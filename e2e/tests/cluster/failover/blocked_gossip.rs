//! A network that drops the agents' datagrams.

use std::time::Instant;

use e2e::{
    eventually,
    testing::{DEADLINE, SETTLE_TIME, installed, wait_for_event},
};

use crate::failover::local_service::{LocalService, SOON};

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_cannot_talk_say_so_and_a_node_that_is_gone_is_replaced_all_the_same() {
    let cluster = installed().await;
    let local = LocalService::new(&cluster, "blocked").await;
    let owner = local.owner();
    let from = Instant::now();
    let blocked: Vec<_> = cluster.nodes().map(|node| node.drop_gossip().unwrap()).collect();
    for node in cluster.nodes() {
        wait_for_event(&cluster, "default", &node.name(), "GossipSilent", "no other agent answers on UDP port 7475")
            .await;
        eventually(DEADLINE, "the metric", async || {
            let page = node.agent_page("/metrics").map_err(|error| error.to_string())?;
            if page.contains("purelb_gossip_silent 1") { Ok(()) } else { Err("no purelb_gossip_silent 1".to_owned()) }
        })
        .await
        .unwrap();
    }
    local.assert_undisturbed(from);

    let from = local.answers().await;
    owner.isolate().unwrap();
    local.answered_by(|macs| !macs.contains(&owner.mac())).await;
    local.assert_moved_once(from, SOON);
    for fault in blocked {
        fault.end().unwrap();
    }
    owner.rejoin().unwrap();
    tokio::time::sleep(SETTLE_TIME).await;
    local.answered_by(|macs| !macs.contains(&owner.mac())).await;
}
