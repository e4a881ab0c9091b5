//! Groups that fill up, come late, change, overlap, and are deleted.

use std::time::Duration;

use e2e::{
    eventually,
    testing::{DEADLINE, installed},
};
use serde_json::json;

use crate::support::fixture::{Fixture, NETWORK, pool, remote};

#[tokio::test(flavor = "multi_thread")]
async fn delete_frees_and_the_longest_waiting_is_served() {
    let cluster = installed().await;
    let mut fixture = Fixture::with_group(&cluster, "full", "203.0.113.0-203.0.113.1").await;
    for (name, address) in [("a", "203.0.113.0"), ("b", "203.0.113.1")] {
        fixture.allocate(name, "full", address).await;
    }
    fixture.allocation_fails("waits", "full", "exhausted").await;
    fixture.condition("full", "Full", "True", "Services that wait for an address: 1").await;
    assert!(
        fixture.metric("purelb_address_pool_allocation_rejected_total{pool=\"full\",reason=\"exhausted\"}").await
            >= 1.0
    );
    fixture.delete("a").await;
    fixture.has("waits", &["203.0.113.0"]).await;
    fixture.has("b", &["203.0.113.1"]).await;
    // A range that is added serves who waits, too.
    fixture.allocation_fails("more", "full", "exhausted").await;
    fixture.group("full", remote("203.0.113.0-203.0.113.31")).await;
    fixture.has("more", &["203.0.113.2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn group_created_late_serves_who_waits() {
    let cluster = installed().await;
    let mut fixture = Fixture::new(&cluster, "tardy").await;
    for name in ["one", "two"] {
        fixture.allocation_fails(name, "tardy", "unknown pool \"tardy\"").await;
    }
    fixture.group("tardy", remote("203.0.113.0/28")).await;
    fixture.cluster.service_addresses(&fixture.namespace, "one", 1).await.unwrap();
    fixture.cluster.service_addresses(&fixture.namespace, "two", 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn group_edited_address_is_kept_shown_and_not_reused() {
    let cluster = installed().await;
    let mut fixture = Fixture::with_group(&cluster, "shrink", "203.0.113.0/28").await;
    fixture.allocate("web", "shrink", "203.0.113.0").await;
    fixture.group("shrink", remote("203.0.113.16/28")).await;
    fixture.condition("shrink", "AddressesOutsidePools", "True", "203.0.113.0").await;
    fixture.has("web", &["203.0.113.0"]).await;
    assert_eq!(fixture.annotation("web", "pool-type").await.as_deref(), Some("remote"));
    fixture.allocate("next", "shrink", "203.0.113.16").await;
    // Somebody else's range does not give it away either.
    fixture.group("shrink-other", remote("203.0.113.0/28")).await;
    fixture.allocate("other", "shrink-other", "203.0.113.1").await;
    fixture.delete("web").await;
    fixture.allocate("after", "shrink-other", "203.0.113.0").await;
    eventually(DEADLINE, "no condition AddressesOutsidePools", async || {
        let status = fixture.group_object("shrink").await["status"].to_string();
        if status.contains("AddressesOutsidePools") { Err(status) } else { Ok(()) }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn group_deleted_its_addresses_stay_and_are_not_reused() {
    let cluster = installed().await;
    let mut fixture = Fixture::with_group(&cluster, "gone", "203.0.113.0/28").await;
    fixture.allocate("web", "gone", "203.0.113.0").await;
    fixture.delete_group("gone").await;
    fixture.has_no_gauges("gone").await;
    fixture.group("gone-heir", remote("203.0.113.0/28")).await;
    fixture.allocate("next", "gone-heir", "203.0.113.1").await;
    fixture.has("web", &["203.0.113.0"]).await;
    assert_eq!(fixture.annotation("web", "allocated-by").await.as_deref(), Some("PureLB"));
    // Made again it has a status again, and the address is its own.
    fixture.delete_group("gone-heir").await;
    fixture.group("gone", remote("203.0.113.0/28")).await;
    fixture.group_status("gone", &json!({"allocatedIPv4": 2})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_groups_the_later_one_is_refused_also_nested() {
    let cluster = installed().await;
    let mut fixture = Fixture::new(&cluster, "over").await;
    fixture.group("over-a", remote("203.0.113.0/26")).await;
    fixture.group("over-b", remote("203.0.113.16-203.0.113.20")).await;
    fixture.group("over-c", remote("203.0.113.60-203.0.113.70")).await;
    for name in ["over-b", "over-c"] {
        fixture.condition(name, "Ready", "False", "over-a").await;
        fixture.event_in(e2e::NAMESPACE, name, "ParseFailed", "overlap").await;
    }
    fixture.allocation_fails("web", "over-b", "unknown pool \"over-b\"").await;
    // The group in force stays, also when another one comes first by name. Ages are in seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    fixture.group("over-0", remote("203.0.113.62-203.0.113.63")).await;
    fixture.condition("over-0", "Ready", "False", "over-a").await;
    // All groups are checked again when one changes. Of two that were never in force the older one wins.
    fixture.group("over-a", remote("203.0.113.0-203.0.113.15")).await;
    fixture.condition("over-b", "Ready", "True", "").await;
    fixture.condition("over-0", "Ready", "False", "over-c").await;
    fixture.has("web", &["203.0.113.16"]).await;
    // Ranges that overlap inside one group.
    let inside = json!([pool("203.0.113.128/28", NETWORK), pool("203.0.113.130-203.0.113.131", NETWORK)]);
    fixture.group("over-self", json!({"remote": {"v4pools": inside}})).await;
    fixture.condition("over-self", "Ready", "False", "").await;
}
