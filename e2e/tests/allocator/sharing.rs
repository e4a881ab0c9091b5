//! Several Services on one address.

use e2e::testing::installed;
use serde_json::{Value, json};

use crate::field::{Field, group, pool};

fn port(protocol: &str, number: u16) -> Value {
    json!({"ports": [{"name": "p", "protocol": protocol, "port": number}]})
}

async fn with_group<'a>(cluster: &'a e2e::Cluster, name: &str) -> Field<'a> {
    let mut field = Field::new(cluster, name).await;
    let (four, six) = (pool("203.0.113.0/28", "203.0.113.0/24"), pool("2001:db8:7::/124", "2001:db8:7::/64"));
    field.group(name, json!({"remote": {"v4pool": four, "v6pool": six}})).await;
    field
}

#[tokio::test(flavor = "multi_thread")]
async fn sharing_same_key_and_other_ports() {
    let cluster = installed().await;
    let mut field = with_group(&cluster, "share").await;
    let friend = field.another_namespace("friend").await;
    let key = ("allow-shared-ip", "front");
    field.create("web", &[group("share"), key], port("TCP", 80)).await;
    field.has("web", &["203.0.113.0"]).await;
    field.create("dns", &[group("share"), key], port("UDP", 80)).await;
    field.has("dns", &["203.0.113.0"]).await;
    // Keys are not per namespace.
    field.create_in(&friend, "tls", &[group("share"), key], port("TCP", 443)).await;
    field.has_in(&friend, "tls", &["203.0.113.0"]).await;
    // Another key, and none.
    field.create("other", &[group("share"), ("allow-shared-ip", "back")], port("TCP", 8080)).await;
    field.has("other", &["203.0.113.1"]).await;
    field.create("alone", &[group("share")], port("TCP", 8081)).await;
    field.has("alone", &["203.0.113.2"]).await;
    // Per family: the sixes of the key are together too.
    field.create("six", &[group("share"), key], json!({"ipFamilies": ["IPv6"]})).await;
    field.has("six", &["2001:db8:7::"]).await;
    field.group_status("share", &json!({"allocatedIPv4": 3, "allocatedIPv6": 1})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sharing_conflict_waits_and_is_served_when_the_port_is_free() {
    let cluster = installed().await;
    let field = with_group(&cluster, "conflict").await;
    let key = ("allow-shared-ip", "front");
    field.create("web", &[group("conflict"), key], port("TCP", 80)).await;
    field.has("web", &["203.0.113.0"]).await;
    field.create("rest", &[group("conflict"), key], port("TCP", 81)).await;
    field.has("rest", &["203.0.113.0"]).await;
    field.create("same", &[group("conflict"), key], port("TCP", 80)).await;
    field.fails("same", "already in use").await;
    assert!(
        field.metric("purelb_address_pool_allocation_rejected_total{pool=\"conflict\",reason=\"port_conflict\"}").await
            >= 1.0
    );
    field.create("pinned", &[("addresses", "203.0.113.0")], port("TCP", 82)).await;
    field.fails("pinned", "already in use").await;
    field.delete("web").await;
    field.has("same", &["203.0.113.0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sharing_later_edits_are_said_and_move_nobody() {
    let cluster = installed().await;
    let field = with_group(&cluster, "edits").await;
    let key = ("allow-shared-ip", "front");
    for (name, number) in [("one", 80), ("two", 81), ("three", 82)] {
        field.create(name, &[group("edits"), key], port("TCP", number)).await;
        field.has(name, &["203.0.113.0"]).await;
    }
    field
        .edit("two", port("TCP", 80)["ports"].as_array().map(|ports| json!({"spec": {"ports": ports}})).unwrap())
        .await;
    field.event("two", "SharingConflict", "TCP/80").await;
    field.event("one", "SharingConflict", "TCP/80").await;
    field.annotate("three", "allow-shared-ip", None).await;
    field.event("three", "SharingConflict", "allow-shared-ip").await;
    for name in ["one", "two", "three"] {
        field.has(name, &["203.0.113.0"]).await;
    }
    // It stands on all of them, as long as it lasts.
    field.service_condition("two", "purelb.io/SharingConflict", Some("TCP/80")).await;
    field.service_condition("one", "purelb.io/SharingConflict", Some("/two: both want port TCP/80")).await;
    field.service_condition("three", "purelb.io/SharingConflict", Some("allow-shared-ip")).await;
    // Closed for newcomers.
    field.create("late", &[group("edits"), key], port("TCP", 83)).await;
    field.fails("late", "already in use").await;
    // A key that comes later opens an address.
    field.create("alone", &[group("edits")], port("TCP", 90)).await;
    field.has("alone", &["203.0.113.1"]).await;
    field.annotate("alone", "allow-shared-ip", Some("late-key")).await;
    field.create("joins", &[group("edits"), ("allow-shared-ip", "late-key")], port("TCP", 91)).await;
    field.has("joins", &["203.0.113.1"]).await;
    // Mended.
    field.annotate("three", "allow-shared-ip", Some("front")).await;
    field.edit("two", json!({"spec": {"ports": port("TCP", 81)["ports"]}})).await;
    for name in ["one", "two", "three"] {
        field.service_condition(name, "purelb.io/SharingConflict", None).await;
    }
}
