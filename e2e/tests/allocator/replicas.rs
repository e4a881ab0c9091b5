//! Two replicas: whatever happens to the leader, the other one goes on, and no address is ever held twice.
//!
//! The replicas run outside the cluster here, where they can be paused and misdirected without the kubelet's help; only
//! the first tests use those of the manifests.

use std::time::{Duration, Instant};

use e2e::{
    Cluster, Proxy, Replica, Signal, eventually,
    testing::{DEADLINE, installed},
};
use serde_json::json;

use crate::{
    field::{Field, NoPods, forge, group, pool, straight},
    vigil::Vigil,
};

/// From the leader's death to the next address (issue 4).
const TAKEOVER: Duration = Duration::from_secs(15);
/// The same when the leader says good-bye.
const POLITE: Duration = Duration::from_secs(5);

/// How long the first late write is held, in seconds, unless `PURELB_LATE_SECONDS` says otherwise. One test does so: it
/// costs as much time.
const HELD: u64 = 60;

const NETWORK: &str = "203.0.113.0/24";

/// A group and one Service that is served, so that everything is warm.
async fn warm<'a>(cluster: &'a Cluster, name: &str, range: &str) -> Field<'a> {
    let mut field = Field::new(cluster, name).await;
    field.group(name, json!({"remote": {"v4pool": pool(range, NETWORK)}})).await;
    field
}

/// Creates a Service and returns how long it took from `since` until it has an address.
async fn served(field: &Field<'_>, name: &str, of: &str, since: Instant) -> Duration {
    field.create(name, &[group(of)], json!({})).await;
    field.cluster.service_addresses(&field.space, name, 1).await.unwrap();
    since.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_kill_9_of_the_leader_in_its_pod() {
    let cluster = installed().await;
    let field = warm(&cluster, "kill-pod", "203.0.113.0/28").await;
    let vigil = Vigil::keep(field.client.clone());
    served(&field, "before", "kill-pod", Instant::now()).await;
    let host = field.leader().await.spec.and_then(|spec| spec.node_name).unwrap();
    let node = cluster.nodes().find(|node| node.name() == host).unwrap();
    for pid in node.processes("allocator").unwrap() {
        node.kill(pid, Signal::SIGKILL).unwrap();
    }
    let took = served(&field, "after", "kill-pod", Instant::now()).await;
    assert!(took < TAKEOVER, "{took:?}");
    field.has("before", &["203.0.113.0"]).await;
    vigil.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_leader_leaves_politely() {
    let cluster = installed().await;
    let field = warm(&cluster, "polite", "203.0.113.0/28").await;
    served(&field, "before", "polite", Instant::now()).await;
    let leader = field.leader().await.metadata.name.unwrap();
    let begin = Instant::now();
    field.cluster.kubectl(&["delete", "pod", "--wait=false", "--namespace", e2e::NAMESPACE, &leader]).unwrap();
    let took = served(&field, "after", "polite", begin).await;
    assert!(took < POLITE, "{took:?}");
    field.has("before", &["203.0.113.0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_kill_9_of_the_leader() {
    let cluster = installed().await;
    let _without = NoPods::new(&cluster).await;
    let field = warm(&cluster, "kill", "203.0.113.0/28").await;
    let vigil = Vigil::keep(field.client.clone());
    let first = Replica::start(&cluster, "first", &straight(&cluster)).unwrap();
    first.leading(DEADLINE).await.unwrap();
    let second = Replica::start(&cluster, "second", &straight(&cluster)).unwrap();
    served(&field, "before", "kill", Instant::now()).await;
    first.signal(Signal::SIGKILL).unwrap();
    let took = served(&field, "after", "kill", Instant::now()).await;
    assert!(took < TAKEOVER, "{took:?}");
    assert!(second.leads());
    field.has("after", &["203.0.113.1"]).await;
    vigil.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_pause_of_the_leader_beyond_its_lease() {
    let cluster = installed().await;
    let _without = NoPods::new(&cluster).await;
    let field = warm(&cluster, "pause", "203.0.113.0/24").await;
    let vigil = Vigil::keep(field.client.clone());
    let first = Replica::start(&cluster, "first", &straight(&cluster)).unwrap();
    first.leading(DEADLINE).await.unwrap();
    let second = Replica::start(&cluster, "second", &straight(&cluster)).unwrap();
    served(&field, "before", "pause", Instant::now()).await;
    // Stopped in the middle of a burst, so that writes are under way.
    for number in 0..20 {
        field.create(&format!("burst-{number}"), &[group("pause")], json!({})).await;
        if number == 10 {
            first.signal(Signal::SIGSTOP).unwrap();
        }
    }
    let took = served(&field, "after", "pause", Instant::now()).await;
    assert!(took < TAKEOVER, "{took:?}");
    second.leading(DEADLINE).await.unwrap();
    for number in 0..20 {
        cluster.service_addresses(&field.space, &format!("burst-{number}"), 1).await.unwrap();
    }
    first.signal(Signal::SIGCONT).unwrap();
    for number in 0..20 {
        served(&field, &format!("later-{number}"), "pause", Instant::now()).await;
    }
    assert!(!first.leads() && second.leads());
    vigil.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_partition_of_the_leader_from_the_api() {
    let cluster = installed().await;
    let _without = NoPods::new(&cluster).await;
    let field = warm(&cluster, "partition", "203.0.113.0/24").await;
    let vigil = Vigil::keep(field.client.clone());
    let proxy = Proxy::start(&cluster, "partition").await.unwrap();
    let first = Replica::start(&cluster, "first", proxy.kubeconfig()).unwrap();
    first.leading(DEADLINE).await.unwrap();
    let second = Replica::start(&cluster, "second", &straight(&cluster)).unwrap();
    served(&field, "before", "partition", Instant::now()).await;
    for number in 0..20 {
        field.create(&format!("burst-{number}"), &[group("partition")], json!({})).await;
        if number == 10 {
            proxy.freeze();
        }
    }
    let took = served(&field, "after", "partition", Instant::now()).await;
    assert!(took < TAKEOVER, "{took:?}");
    assert!(second.leads());
    // Nobody can tell it; it must know by its own clock.
    eventually(Duration::from_secs(5), "the end of the first one's term", async || {
        if first.leads() { Err("it goes on") } else { Ok(()) }
    })
    .await
    .unwrap();
    // What was on its way arrives now.
    proxy.thaw();
    for number in 0..20 {
        cluster.service_addresses(&field.space, &format!("burst-{number}"), 1).await.unwrap();
        served(&field, &format!("later-{number}"), "partition", Instant::now()).await;
    }
    assert!(!first.leads() && second.leads());
    vigil.end();
}

/// A write of the first leader leaves when the second one has given the address to another Service. The Service that it
/// is for has not been touched by anybody meanwhile but by the fence.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_late_write_of_a_paused_leader() {
    let cluster = installed().await;
    let _without = NoPods::new(&cluster).await;
    let mut field = warm(&cluster, "late", "203.0.113.7-203.0.113.7").await;
    let friend = field.another_namespace("friend").await;
    let vigil = Vigil::keep(field.client.clone());
    let proxy = Proxy::start(&cluster, "late").await.unwrap();
    let first = Replica::start(&cluster, "first", proxy.kubeconfig()).unwrap();
    first.leading(DEADLINE).await.unwrap();
    let second = Replica::start(&cluster, "second", &straight(&cluster)).unwrap();

    // Without a successor a late write is as good as any: it is not the proxy that refuses.
    let mut held = proxy.hold("PATCH", "/services/control/status");
    field.create("control", &[group("late")], json!({})).await;
    held.caught(DEADLINE).await.unwrap();
    assert_eq!(held.release().await.unwrap(), 200);
    field.has("control", &["203.0.113.7"]).await;
    field.delete("control").await;

    let mut held = proxy.hold("PATCH", "/services/wanted/status");
    field.create("wanted", &[group("late")], json!({})).await;
    held.caught(DEADLINE).await.unwrap();
    let caught = Instant::now();
    first.signal(Signal::SIGSTOP).unwrap();
    // From now on it may not have the address, so that the next leader does not write to it for this reason.
    let closed = json!({
        "remote": {"v4pool": pool("203.0.113.7-203.0.113.7", NETWORK)}, "namespaces": [friend], "enforceNamespaces": true,
    });
    field.group("late", closed).await;
    second.leading(DEADLINE).await.unwrap();
    field.create_in(&friend, "winner", &[group("late")], json!({})).await;
    field.has_in(&friend, "winner", &["203.0.113.7"]).await;

    let seconds = std::env::var("PURELB_LATE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(HELD);
    tokio::time::sleep(Duration::from_secs(seconds).saturating_sub(caught.elapsed())).await;
    let status = held.release().await.unwrap();
    assert_eq!(status, 409, "the late write was not refused");
    first.signal(Signal::SIGCONT).unwrap();
    field.fails("wanted", "namespace denied").await;
    field.has_in(&friend, "winner", &["203.0.113.7"]).await;
    field.has("wanted", &[]).await;
    vigil.end();
}

/// The same for a Service that has an address and waits for a second one.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_late_write_that_adds_a_family() {
    let cluster = installed().await;
    let _without = NoPods::new(&cluster).await;
    let mut field = Field::new(&cluster, "late-six").await;
    let ranges = json!({"v4pool": pool("203.0.113.16/28", NETWORK), "v6pool": pool("2001:db8:113::7-2001:db8:113::7", "2001:db8:113::/64")});
    field.group("late-six", json!({"remote": ranges})).await;
    let friend = field.another_namespace("friend").await;
    let vigil = Vigil::keep(field.client.clone());
    let proxy = Proxy::start(&cluster, "late-six").await.unwrap();
    let first = Replica::start(&cluster, "first", proxy.kubeconfig()).unwrap();
    first.leading(DEADLINE).await.unwrap();
    let second = Replica::start(&cluster, "second", &straight(&cluster)).unwrap();

    field.create("wanted", &[group("late-six")], json!({})).await;
    field.has("wanted", &["203.0.113.16"]).await;
    let mut held = proxy.hold("PATCH", "/services/wanted/status");
    let both = json!({"spec": {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"]}});
    field.edit("wanted", both).await;
    held.caught(DEADLINE).await.unwrap();
    first.signal(Signal::SIGSTOP).unwrap();
    field.group("late-six", json!({"remote": ranges, "namespaces": [friend], "enforceNamespaces": true})).await;
    second.leading(DEADLINE).await.unwrap();
    field
        .create_in(
            &friend,
            "winner",
            &[group("late-six")],
            json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]}),
        )
        .await;
    field.has_in(&friend, "winner", &["2001:db8:113::7"]).await;

    let status = held.release().await.unwrap();
    assert_eq!(status, 409, "the late write was not refused");
    field.has("wanted", &["203.0.113.16"]).await;
    vigil.end();
}

/// The same for a multi-pool Service that has all it needs and was to get one more.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_late_write_that_adds_a_range() {
    let cluster = installed().await;
    let _without = NoPods::new(&cluster).await;
    let mut field = Field::new(&cluster, "late-multi").await;
    let (first_range, second_range) = (pool("203.0.113.32/28", NETWORK), pool("203.0.113.200-203.0.113.200", NETWORK));
    field.group("late-multi", json!({"remote": {"v4pools": [first_range], "multiPool": true}})).await;
    let vigil = Vigil::keep(field.client.clone());
    let proxy = Proxy::start(&cluster, "late-multi").await.unwrap();
    let first = Replica::start(&cluster, "first", proxy.kubeconfig()).unwrap();
    first.leading(DEADLINE).await.unwrap();
    let second = Replica::start(&cluster, "second", &straight(&cluster)).unwrap();

    field.create("wide", &[group("late-multi")], json!({})).await;
    field.has("wide", &["203.0.113.32"]).await;
    // First comes the mark that it is about to get one more.
    let mut held = proxy.hold_after(1, "PATCH", "/services/wide/status");
    field.group("late-multi", json!({"remote": {"v4pools": [first_range, second_range], "multiPool": true}})).await;
    held.caught(DEADLINE).await.unwrap();
    first.signal(Signal::SIGSTOP).unwrap();
    // The range goes to another group before the next leader has looked.
    field.group("late-multi", json!({"remote": {"v4pools": [first_range], "multiPool": true}})).await;
    field.group("late-multi-heir", json!({"remote": {"v4pool": second_range}})).await;
    second.leading(DEADLINE).await.unwrap();
    field.create("winner", &[group("late-multi-heir")], json!({})).await;
    field.has("winner", &["203.0.113.200"]).await;

    let status = held.release().await.unwrap();
    assert_eq!(status, 409, "the late write was not refused");
    field.has("winner", &["203.0.113.200"]).await;
    field.has("wide", &["203.0.113.32"]).await;
    vigil.end();
}

/// The same for a Service that was to give way to an older one, which is gone when the next leader looks.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_late_write_that_repairs_a_duplicate() {
    let cluster = installed().await;
    let _without = NoPods::new(&cluster).await;
    let field = warm(&cluster, "late-twice", "203.0.113.0-203.0.113.1").await;
    let proxy = Proxy::start(&cluster, "late-twice").await.unwrap();
    let first = Replica::start(&cluster, "first", proxy.kubeconfig()).unwrap();
    first.leading(DEADLINE).await.unwrap();
    let second = Replica::start(&cluster, "second", &straight(&cluster)).unwrap();
    field.create("a-old", &[group("late-twice")], json!({})).await;
    field.has("a-old", &["203.0.113.0"]).await;
    // Ages are in seconds, and of one age the UID decides, which is random.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    field.create("b-young", &[group("late-twice")], json!({})).await;
    field.has("b-young", &["203.0.113.1"]).await;
    // First comes the mark that it is about to move.
    let mut held = proxy.hold_after(1, "PATCH", "/services/b-young/status");
    forge(&field, "b-young", &["203.0.113.0"]).await;
    held.caught(DEADLINE).await.unwrap();
    first.signal(Signal::SIGSTOP).unwrap();
    field.delete("a-old").await;
    let vigil = Vigil::keep(field.client.clone());
    second.leading(DEADLINE).await.unwrap();
    field.create("winner", &[group("late-twice")], json!({})).await;
    field.has("winner", &["203.0.113.1"]).await;

    let status = held.release().await.unwrap();
    assert_eq!(status, 409, "the late write was not refused");
    field.has("winner", &["203.0.113.1"]).await;
    vigil.end();
}

/// A leader that leaves politely while it does not know what became of a write.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_late_write_of_a_leader_that_left_politely() {
    let cluster = installed().await;
    let _without = NoPods::new(&cluster).await;
    let mut field = warm(&cluster, "adieu", "203.0.113.7-203.0.113.7").await;
    let friend = field.another_namespace("friend").await;
    let vigil = Vigil::keep(field.client.clone());
    let proxy = Proxy::start(&cluster, "adieu").await.unwrap();
    let first = Replica::start(&cluster, "first", proxy.kubeconfig()).unwrap();
    first.leading(DEADLINE).await.unwrap();
    let second = Replica::start(&cluster, "second", &straight(&cluster)).unwrap();

    let mut held = proxy.hold("PATCH", "/services/wanted/status");
    field.create("wanted", &[group("adieu")], json!({})).await;
    held.caught(DEADLINE).await.unwrap();
    first.signal(Signal::SIGTERM).unwrap();
    let closed = json!({
        "remote": {"v4pool": pool("203.0.113.7-203.0.113.7", NETWORK)}, "namespaces": [friend], "enforceNamespaces": true,
    });
    field.group("adieu", closed).await;
    second.leading(DEADLINE).await.unwrap();
    field.create_in(&friend, "winner", &[group("adieu")], json!({})).await;
    field.has_in(&friend, "winner", &["203.0.113.7"]).await;

    let status = held.release().await.unwrap();
    assert_eq!(status, 409, "the late write was not refused");
    field.has("wanted", &[]).await;
    vigil.end();
}
