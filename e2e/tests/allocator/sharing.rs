//! Several Services on one address.

use e2e::testing::installed;
use serde_json::{Value, json};

use crate::support::fixture::{Fixture, group, pool};

fn port(protocol: &str, number: u16) -> Value {
    json!({"ports": [{"name": "p", "protocol": protocol, "port": number}]})
}

async fn with_group<'a>(cluster: &'a e2e::Cluster, name: &str) -> Fixture<'a> {
    let mut fixture = Fixture::new(cluster, name).await;
    let (four, six) = (pool("203.0.113.0/28", "203.0.113.0/24"), pool("2001:db8:7::/124", "2001:db8:7::/64"));
    fixture.group(name, json!({"remote": {"v4pool": four, "v6pool": six}})).await;
    fixture
}

#[tokio::test(flavor = "multi_thread")]
async fn sharing_same_key_and_other_ports() {
    let cluster = installed().await;
    let mut fixture = with_group(&cluster, "share").await;
    let friend = fixture.another_namespace("friend").await;
    let key = ("allow-shared-ip", "front");
    fixture.create("web", &[group("share"), key], port("TCP", 80)).await;
    fixture.has("web", &["203.0.113.0"]).await;
    fixture.create("dns", &[group("share"), key], port("UDP", 80)).await;
    fixture.has("dns", &["203.0.113.0"]).await;
    // Keys are not per namespace.
    fixture.create_in(&friend, "tls", &[group("share"), key], port("TCP", 443)).await;
    fixture.has_in(&friend, "tls", &["203.0.113.0"]).await;
    // Another key, and none.
    fixture.create("other", &[group("share"), ("allow-shared-ip", "back")], port("TCP", 8080)).await;
    fixture.has("other", &["203.0.113.1"]).await;
    fixture.create("alone", &[group("share")], port("TCP", 8081)).await;
    fixture.has("alone", &["203.0.113.2"]).await;
    // Per family: the sixes of the key are together too.
    fixture.create("six", &[group("share"), key], json!({"ipFamilies": ["IPv6"]})).await;
    fixture.has("six", &["2001:db8:7::"]).await;
    fixture.group_status("share", &json!({"allocatedIPv4": 3, "allocatedIPv6": 1})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sharing_conflict_waits_and_is_served_when_the_port_is_free() {
    let cluster = installed().await;
    let fixture = with_group(&cluster, "conflict").await;
    let key = ("allow-shared-ip", "front");
    fixture.create("web", &[group("conflict"), key], port("TCP", 80)).await;
    fixture.has("web", &["203.0.113.0"]).await;
    fixture.create("rest", &[group("conflict"), key], port("TCP", 81)).await;
    fixture.has("rest", &["203.0.113.0"]).await;
    fixture.create("same", &[group("conflict"), key], port("TCP", 80)).await;
    fixture.fails("same", "already in use").await;
    assert!(
        fixture
            .metric("purelb_address_pool_allocation_rejected_total{pool=\"conflict\",reason=\"port_conflict\"}")
            .await
            >= 1.0
    );
    fixture.create("pinned", &[("addresses", "203.0.113.0")], port("TCP", 82)).await;
    fixture.fails("pinned", "already in use").await;
    fixture.delete("web").await;
    fixture.has("same", &["203.0.113.0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sharing_later_edits_are_said_and_move_nobody() {
    let cluster = installed().await;
    let fixture = with_group(&cluster, "edits").await;
    let key = ("allow-shared-ip", "front");
    for (name, number) in [("one", 80), ("two", 81), ("three", 82)] {
        fixture.create(name, &[group("edits"), key], port("TCP", number)).await;
        fixture.has(name, &["203.0.113.0"]).await;
    }
    fixture
        .edit("two", port("TCP", 80)["ports"].as_array().map(|ports| json!({"spec": {"ports": ports}})).unwrap())
        .await;
    fixture.event("two", "SharingConflict", "TCP/80").await;
    fixture.event("one", "SharingConflict", "TCP/80").await;
    fixture.annotate("three", "allow-shared-ip", None).await;
    fixture.event("three", "SharingConflict", "allow-shared-ip").await;
    for name in ["one", "two", "three"] {
        fixture.has(name, &["203.0.113.0"]).await;
    }
    // It stands on all of them, as long as it lasts.
    fixture.service_condition("two", "purelb.io/SharingConflict", Some("TCP/80")).await;
    fixture.service_condition("one", "purelb.io/SharingConflict", Some("/two: both want port TCP/80")).await;
    fixture.service_condition("three", "purelb.io/SharingConflict", Some("allow-shared-ip")).await;
    // Closed for newcomers.
    fixture.create("late", &[group("edits"), key], port("TCP", 83)).await;
    fixture.fails("late", "already in use").await;
    // A key that comes later opens an address.
    fixture.create("alone", &[group("edits")], port("TCP", 90)).await;
    fixture.has("alone", &["203.0.113.1"]).await;
    fixture.annotate("alone", "allow-shared-ip", Some("late-key")).await;
    fixture.create("joins", &[group("edits"), ("allow-shared-ip", "late-key")], port("TCP", 91)).await;
    fixture.has("joins", &["203.0.113.1"]).await;
    // Mended.
    fixture.annotate("three", "allow-shared-ip", Some("front")).await;
    fixture.edit("two", json!({"spec": {"ports": port("TCP", 81)["ports"]}})).await;
    for name in ["one", "two", "three"] {
        fixture.service_condition(name, "purelb.io/SharingConflict", None).await;
    }
}
