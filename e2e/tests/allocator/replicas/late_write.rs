//! A write of a leader that arrives when its successor has acted already: the API server refuses it.

use std::time::{Duration, Instant};

use e2e::{
    Signal,
    testing::{DEADLINE, installed},
};
use serde_json::json;

use crate::support::{
    fixture::{Fixture, NETWORK, group, pool, write_status},
    invariants::InvariantWatch,
    replicas::{Pair, WithoutAllocator, release_too_late},
};

/// How long the first late write is held, in seconds, unless `PURELB_LATE_SECONDS` says otherwise. One test does so: it
/// costs as much time.
const HELD: u64 = 60;

/// A write of the first leader leaves when the second one has given the address to another Service. The Service that it
/// is for has not been touched by anybody meanwhile but by the fence.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_late_write_of_a_paused_leader() {
    let cluster = installed().await;
    let _without = WithoutAllocator::new(&cluster).await;
    let mut fixture = Fixture::with_group(&cluster, "late", "203.0.113.7-203.0.113.7").await;
    let friend = fixture.another_namespace("friend").await;
    let invariants = InvariantWatch::start(fixture.client.clone());
    let (Pair { first, second }, proxy) = Pair::with_proxy(&cluster, "late").await;

    // Without a successor a late write is as good as any: it is not the proxy that refuses.
    let mut held = proxy.hold("PATCH", "/services/control/status");
    fixture.create("control", &[group("late")], json!({})).await;
    held.caught(DEADLINE).await.unwrap();
    assert_eq!(held.release().await.unwrap(), 200);
    fixture.has("control", &["203.0.113.7"]).await;
    fixture.delete("control").await;

    let mut held = proxy.hold("PATCH", "/services/wanted/status");
    fixture.create("wanted", &[group("late")], json!({})).await;
    held.caught(DEADLINE).await.unwrap();
    let caught = Instant::now();
    first.signal(Signal::SIGSTOP).unwrap();
    // From now on it may not have the address, so that the next leader does not write to it for this reason.
    let closed = json!({
        "remote": {"v4pool": pool("203.0.113.7-203.0.113.7", NETWORK)}, "namespaces": [friend], "enforceNamespaces": true,
    });
    fixture.group("late", closed).await;
    second.leading(DEADLINE).await.unwrap();
    fixture.create_in(&friend, "winner", &[group("late")], json!({})).await;
    fixture.has_in(&friend, "winner", &["203.0.113.7"]).await;

    let seconds = std::env::var("PURELB_LATE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(HELD);
    tokio::time::sleep(Duration::from_secs(seconds).saturating_sub(caught.elapsed())).await;
    release_too_late(held).await;
    first.signal(Signal::SIGCONT).unwrap();
    fixture.fails("wanted", "namespace denied").await;
    fixture.has_in(&friend, "winner", &["203.0.113.7"]).await;
    fixture.has("wanted", &[]).await;
    invariants.assert_held();
}

/// The same for a Service that has an address and waits for a second one.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_late_write_that_adds_a_family() {
    let cluster = installed().await;
    let _without = WithoutAllocator::new(&cluster).await;
    let mut fixture = Fixture::new(&cluster, "late-six").await;
    let ranges = json!({"v4pool": pool("203.0.113.16/28", NETWORK), "v6pool": pool("2001:db8:113::7-2001:db8:113::7", "2001:db8:113::/64")});
    fixture.group("late-six", json!({"remote": ranges})).await;
    let friend = fixture.another_namespace("friend").await;
    let invariants = InvariantWatch::start(fixture.client.clone());
    let (Pair { first, second }, proxy) = Pair::with_proxy(&cluster, "late-six").await;

    fixture.allocate("wanted", "late-six", "203.0.113.16").await;
    let mut held = proxy.hold("PATCH", "/services/wanted/status");
    let both = json!({"spec": {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"]}});
    fixture.edit("wanted", both).await;
    held.caught(DEADLINE).await.unwrap();
    first.signal(Signal::SIGSTOP).unwrap();
    fixture.group("late-six", json!({"remote": ranges, "namespaces": [friend], "enforceNamespaces": true})).await;
    second.leading(DEADLINE).await.unwrap();
    fixture
        .create_in(
            &friend,
            "winner",
            &[group("late-six")],
            json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]}),
        )
        .await;
    fixture.has_in(&friend, "winner", &["2001:db8:113::7"]).await;

    release_too_late(held).await;
    fixture.has("wanted", &["203.0.113.16"]).await;
    invariants.assert_held();
}

/// The same for a multi-pool Service that has all it needs and was to get one more.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_late_write_that_adds_a_range() {
    let cluster = installed().await;
    let _without = WithoutAllocator::new(&cluster).await;
    let mut fixture = Fixture::new(&cluster, "late-multi").await;
    let (first_range, second_range) = (pool("203.0.113.32/28", NETWORK), pool("203.0.113.200-203.0.113.200", NETWORK));
    fixture.group("late-multi", json!({"remote": {"v4pools": [first_range], "multiPool": true}})).await;
    let invariants = InvariantWatch::start(fixture.client.clone());
    let (Pair { first, second }, proxy) = Pair::with_proxy(&cluster, "late-multi").await;

    fixture.allocate("wide", "late-multi", "203.0.113.32").await;
    // The first write announces that it will get one more.
    let mut held = proxy.hold_after(1, "PATCH", "/services/wide/status");
    fixture.group("late-multi", json!({"remote": {"v4pools": [first_range, second_range], "multiPool": true}})).await;
    held.caught(DEADLINE).await.unwrap();
    first.signal(Signal::SIGSTOP).unwrap();
    // The range goes to another group before the next leader has looked.
    fixture.group("late-multi", json!({"remote": {"v4pools": [first_range], "multiPool": true}})).await;
    fixture.group("late-multi-heir", json!({"remote": {"v4pool": second_range}})).await;
    second.leading(DEADLINE).await.unwrap();
    fixture.allocate("winner", "late-multi-heir", "203.0.113.200").await;

    release_too_late(held).await;
    fixture.has("winner", &["203.0.113.200"]).await;
    fixture.has("wide", &["203.0.113.32"]).await;
    invariants.assert_held();
}

/// The same for a Service that was to give way to an older one, which is gone when the next leader looks.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_late_write_that_repairs_a_duplicate() {
    let cluster = installed().await;
    let _without = WithoutAllocator::new(&cluster).await;
    let fixture = Fixture::with_group(&cluster, "late-twice", "203.0.113.0-203.0.113.1").await;
    let (Pair { first, second }, proxy) = Pair::with_proxy(&cluster, "late-twice").await;
    fixture.allocate("a-old", "late-twice", "203.0.113.0").await;
    // Ages are in seconds, and of one age the UID decides, which is random.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    fixture.allocate("b-young", "late-twice", "203.0.113.1").await;
    // The first write announces that it will move.
    let mut held = proxy.hold_after(1, "PATCH", "/services/b-young/status");
    write_status(&fixture, "b-young", &["203.0.113.0"]).await;
    held.caught(DEADLINE).await.unwrap();
    first.signal(Signal::SIGSTOP).unwrap();
    fixture.delete("a-old").await;
    let invariants = InvariantWatch::start(fixture.client.clone());
    second.leading(DEADLINE).await.unwrap();
    fixture.allocate("winner", "late-twice", "203.0.113.1").await;

    release_too_late(held).await;
    fixture.has("winner", &["203.0.113.1"]).await;
    invariants.assert_held();
}

/// A leader that leaves politely while it does not know what became of a write.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_late_write_of_a_leader_that_left_politely() {
    let cluster = installed().await;
    let _without = WithoutAllocator::new(&cluster).await;
    let mut fixture = Fixture::with_group(&cluster, "adieu", "203.0.113.7-203.0.113.7").await;
    let friend = fixture.another_namespace("friend").await;
    let invariants = InvariantWatch::start(fixture.client.clone());
    let (Pair { first, second }, proxy) = Pair::with_proxy(&cluster, "adieu").await;

    let mut held = proxy.hold("PATCH", "/services/wanted/status");
    fixture.create("wanted", &[group("adieu")], json!({})).await;
    held.caught(DEADLINE).await.unwrap();
    first.signal(Signal::SIGTERM).unwrap();
    let closed = json!({
        "remote": {"v4pool": pool("203.0.113.7-203.0.113.7", NETWORK)}, "namespaces": [friend], "enforceNamespaces": true,
    });
    fixture.group("adieu", closed).await;
    second.leading(DEADLINE).await.unwrap();
    fixture.create_in(&friend, "winner", &[group("adieu")], json!({})).await;
    fixture.has_in(&friend, "winner", &["203.0.113.7"]).await;

    release_too_late(held).await;
    fixture.has("wanted", &[]).await;
    invariants.assert_held();
}
