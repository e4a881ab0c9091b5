//! Nodes that die. Without BFD, the router would send them their share of all connections for three minutes.

use std::time::{Duration, Instant};

use e2e::testing::{SETTLE_TIME, installed, object, wait_for_event, wait_for_next_hops};
use e2e::{Cluster, NAMESPACE, Node, Signal, eventually};
use serde_json::Value;

use super::{Followed, INTERVAL};

/// The router notices a death within 0.9 s; the rest is for BGP, and for a machine that does other things too.
const LONGEST: Duration = Duration::from_millis(1300);

/// How long a node takes to start its pods, with room.
const START: Duration = Duration::from_secs(90);

/// A node dies by this event. Afterwards, connections reach those that live.
async fn dies(followed: &Followed<'_>, event: impl FnOnce(&Node)) {
    let (cluster, victim) = (followed.cluster, followed.cluster.node(2));
    let connectors = followed.connect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let from = Instant::now();
    event(&victim);
    for address in &followed.addresses {
        wait_for_next_hops(cluster, *address, cluster.nodes().filter(|node| node.id() != victim.id())).await;
    }
    println!("the router's routes were seen without the node after {:?}", from.elapsed());
    tokio::time::sleep(SETTLE_TIME).await;
    let to = Instant::now();
    for (address, connector) in followed.addresses.iter().zip(connectors) {
        let connections = connector.stop().unwrap();
        let last = connections.failures().into_iter().max().map(|last| last.saturating_duration_since(from));
        let (failed, tried) = (connections.failed(from, to), connections.tried(from, to));
        println!("{address}: {failed} of {tried} connections failed, the last was begun after {last:?}");
        let (late, all) = (connections.failed(from + LONGEST, to), connections.tried(from + LONGEST, to));
        assert!(late * 50 <= all, "{address}: {late} of {all} connections failed later than after {LONGEST:?}");
    }
}

/// The node is as it was.
async fn comes_back(followed: &Followed<'_>) {
    let cluster = followed.cluster;
    cluster.nodes_ready(START).await.unwrap();
    cluster.agents_ready(START).await.unwrap();
    cluster.peered(START).await.unwrap();
    followed.all_up().await;
    followed.all_used().await;
}

/// The condition of the groups, over all nodes. It follows what has been so for a while, by Leases that are written twice a
/// minute at most.
async fn groups_say_so(cluster: &Cluster) {
    let nodes: Vec<String> = cluster.nodes().map(|node| node.name()).collect();
    let words = format!("would notice the death of {} after 0.9 s", nodes.join(", "));
    for group in ["ipv4-routed", "ipv6-routed"] {
        eventually(START, format!("{group} with {words:?}"), async || {
            let group = object(cluster, &["servicegroup", group, "--namespace", NAMESPACE]);
            let conditions = group.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
            let found = conditions.iter().find(|condition| condition["type"] == "DeadNodesNoticed");
            let text = found.and_then(|found| found["message"].as_str()).unwrap_or_default();
            let both = text.matches(&words).count() == 2;
            let good = both && found.is_some_and(|found| found["status"] == "True");
            if good { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off() {
    let cluster = installed().await;
    let followed = Followed::new(&cluster, "bfd-cut", INTERVAL).await;
    for node in cluster.nodes() {
        let words = "would notice this node's death after 0.9 s";
        wait_for_event(&cluster, "default", &node.name(), "SessionUp", words).await;
        // The event is of one of the two sessions.
        eventually(START, format!("two sessions on the pages of {}", node.name()), async || {
            let page = |path| node.agent_page(path).map_err(|error| error.to_string());
            let (state, metrics) = (page("/state")?, page("/metrics")?);
            let noticed = state.matches("\"wouldNoticeAfterSeconds\":0.9").count();
            let up = metrics.lines().filter(|line| line.starts_with("purelb_bfd_peer_up") && line.ends_with(" 1"));
            if (noticed, up.count()) == (2, 2) { Ok(()) } else { Err(state) }
        })
        .await
        .unwrap();
    }
    groups_say_so(&cluster).await;
    dies(&followed, |node| node.isolate().unwrap()).await;
    cluster.node(2).rejoin().unwrap();
    comes_back(&followed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_cable_is_pulled() {
    let cluster = installed().await;
    let followed = Followed::new(&cluster, "bfd-cable", INTERVAL).await;
    dies(&followed, |node| node.cut().unwrap()).await;
    cluster.node(2).join().unwrap();
    comes_back(&followed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_loses_its_power() {
    let cluster = installed().await;
    let followed = Followed::new(&cluster, "bfd-power", INTERVAL).await;
    dies(&followed, |node| node.power_off().unwrap()).await;
    cluster.node(2).power_on().unwrap();
    comes_back(&followed).await;
}

/// As `systemctl reboot` without the kubelet's graceful shutdown: a planned end of the speaker would ask the router to
/// wait for its next process.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_shut_down() {
    let cluster = installed().await;
    let followed = Followed::new(&cluster, "bfd-shutdown", INTERVAL).await;
    dies(&followed, |node| {
        for pid in node.processes("bfd-speaker").unwrap() {
            node.kill(pid, Signal::SIGTERM).unwrap();
            node.kill(pid, Signal::SIGCONT).unwrap();
        }
        node.power_off().unwrap();
    })
    .await;
    cluster.node(2).power_on().unwrap();
    comes_back(&followed).await;
}
