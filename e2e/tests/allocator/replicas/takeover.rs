//! The leader dies, stands still, or loses the API server: the other replica takes over.
//!
//! The first tests use the replicas of the manifests, the others replicas outside the cluster.

use std::time::{Duration, Instant};

use e2e::{
    Signal, eventually,
    testing::{DEADLINE, installed},
};
use serde_json::json;

use crate::support::{
    fixture::{Fixture, group},
    invariants::InvariantWatch,
    replicas::{Pair, WithoutAllocator, served},
};

/// From the leader's death to the next address.
const TAKEOVER: Duration = Duration::from_secs(15);
/// The same when the leader gives up its Lease.
const POLITE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn replicas_kill_9_of_the_leader_in_its_pod() {
    let cluster = installed().await;
    let fixture = Fixture::with_group(&cluster, "kill-pod", "203.0.113.0/28").await;
    let invariants = InvariantWatch::start(fixture.client.clone());
    served(&fixture, "before", "kill-pod", Instant::now()).await;
    let host = fixture.leader().await.spec.and_then(|spec| spec.node_name).unwrap();
    let node = cluster.nodes().find(|node| node.name() == host).unwrap();
    for pid in node.processes("allocator").unwrap() {
        node.kill(pid, Signal::SIGKILL).unwrap();
    }
    let took = served(&fixture, "after", "kill-pod", Instant::now()).await;
    assert!(took < TAKEOVER, "{took:?}");
    fixture.has("before", &["203.0.113.0"]).await;
    invariants.assert_held();
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_leader_leaves_politely() {
    let cluster = installed().await;
    let fixture = Fixture::with_group(&cluster, "polite", "203.0.113.0/28").await;
    served(&fixture, "before", "polite", Instant::now()).await;
    let leader = fixture.leader().await.metadata.name.unwrap();
    let begin = Instant::now();
    fixture.cluster.kubectl(&["delete", "pod", "--wait=false", "--namespace", e2e::NAMESPACE, &leader]).unwrap();
    let took = served(&fixture, "after", "polite", begin).await;
    assert!(took < POLITE, "{took:?}");
    fixture.has("before", &["203.0.113.0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_kill_9_of_the_leader() {
    let cluster = installed().await;
    let _without = WithoutAllocator::new(&cluster).await;
    let fixture = Fixture::with_group(&cluster, "kill", "203.0.113.0/28").await;
    let invariants = InvariantWatch::start(fixture.client.clone());
    let Pair { first, second } = Pair::start(&cluster).await;
    served(&fixture, "before", "kill", Instant::now()).await;
    first.signal(Signal::SIGKILL).unwrap();
    let took = served(&fixture, "after", "kill", Instant::now()).await;
    assert!(took < TAKEOVER, "{took:?}");
    assert!(second.leads());
    fixture.has("after", &["203.0.113.1"]).await;
    invariants.assert_held();
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_pause_of_the_leader_beyond_its_lease() {
    let cluster = installed().await;
    let _without = WithoutAllocator::new(&cluster).await;
    let fixture = Fixture::with_group(&cluster, "pause", "203.0.113.0/24").await;
    let invariants = InvariantWatch::start(fixture.client.clone());
    let Pair { first, second } = Pair::start(&cluster).await;
    served(&fixture, "before", "pause", Instant::now()).await;
    // Stopped in the middle of a burst, so that writes are under way.
    for number in 0..20 {
        fixture.create(&format!("burst-{number}"), &[group("pause")], json!({})).await;
        if number == 10 {
            first.signal(Signal::SIGSTOP).unwrap();
        }
    }
    let took = served(&fixture, "after", "pause", Instant::now()).await;
    assert!(took < TAKEOVER, "{took:?}");
    second.leading(DEADLINE).await.unwrap();
    for number in 0..20 {
        cluster.service_addresses(&fixture.namespace, &format!("burst-{number}"), 1).await.unwrap();
    }
    first.signal(Signal::SIGCONT).unwrap();
    for number in 0..20 {
        served(&fixture, &format!("later-{number}"), "pause", Instant::now()).await;
    }
    assert!(!first.leads() && second.leads());
    invariants.assert_held();
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_partition_of_the_leader_from_the_api() {
    let cluster = installed().await;
    let _without = WithoutAllocator::new(&cluster).await;
    let fixture = Fixture::with_group(&cluster, "partition", "203.0.113.0/24").await;
    let invariants = InvariantWatch::start(fixture.client.clone());
    let (Pair { first, second }, proxy) = Pair::with_proxy(&cluster, "partition").await;
    served(&fixture, "before", "partition", Instant::now()).await;
    for number in 0..20 {
        fixture.create(&format!("burst-{number}"), &[group("partition")], json!({})).await;
        if number == 10 {
            proxy.freeze();
        }
    }
    let took = served(&fixture, "after", "partition", Instant::now()).await;
    assert!(took < TAKEOVER, "{took:?}");
    assert!(second.leads());
    // It gets no message; it must know by its own clock.
    eventually(Duration::from_secs(5), "the end of the first one's term", async || {
        if first.leads() { Err("it goes on") } else { Ok(()) }
    })
    .await
    .unwrap();
    // What was on its way arrives now.
    proxy.thaw();
    for number in 0..20 {
        cluster.service_addresses(&fixture.namespace, &format!("burst-{number}"), 1).await.unwrap();
        served(&fixture, &format!("later-{number}"), "partition", Instant::now()).await;
    }
    assert!(!first.leads() && second.leads());
    invariants.assert_held();
}
