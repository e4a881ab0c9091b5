//! What people and tools are told: conditions, columns, counters, metrics, events.

use e2e::testing::installed;
use serde_json::json;

use crate::field::{Field, group, pool};

#[tokio::test(flavor = "multi_thread")]
async fn group_status_conditions_columns_and_counters() {
    let cluster = installed().await;
    let mut field = Field::new(&cluster, "status").await;
    let space = field.space.clone();
    let (four, six) = (pool("203.0.113.0/29", "203.0.113.0/24"), pool("2001:db8:8::/124", "2001:db8:8::/64"));
    field.group("status", json!({"remote": {"v4pool": four, "v6pool": six}, "namespaces": [space]})).await;
    field.condition("status", "Ready", "True", "").await;
    field.create("web", &[group("status")], json!({"ipFamilyPolicy": "RequireDualStack"})).await;
    let counts = json!({
        "announce": "Remote", "ipam": "Cluster", "addresses": ["203.0.113.0/29", "2001:db8:8::/124"],
        "allocatedIPv4": 1, "allocatedIPv6": 1, "availableIPv4": 7, "availableIPv6": 15, "boundNamespaces": [space],
    });
    field.group_status("status", &counts).await;
    field.metric_is("purelb_address_pool_size{pool=\"status\"}", 24.0).await;
    field.metric_is("purelb_address_pool_addresses_in_use{pool=\"status\"}", 2.0).await;
    let shown = cluster.kubectl(&["get", "sg", "status", "--namespace", e2e::NAMESPACE, "-o", "wide"]).unwrap();
    let head = shown.lines().next().unwrap();
    for column in [
        "ANNOUNCE",
        "IPAM",
        "ALLOCATED-V4",
        "ALLOCATED-V6",
        "READY",
        "ADDRESSES",
        "AVAILABLE-V4",
        "AVAILABLE-V6",
        "NAMESPACES",
        "ENFORCED",
        "BOUND",
        "AGE",
    ] {
        assert!(head.contains(column), "no column {column}: {head}");
    }
    assert!(shown.contains("True"), "{shown}");
    field.delete("web").await;
    field.group_status("status", &json!({"allocatedIPv4": 0, "allocatedIPv6": 0, "availableIPv4": 8})).await;
    // Of a huge range the counts are true as far as a number goes.
    field.group("status-huge", json!({"remote": {"v6pool": pool("2001:db8:9::/64", "2001:db8:9::/64")}})).await;
    field.group_status("status-huge", &json!({"availableIPv6": i64::MAX, "availableIPv4": 0})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_the_names_of_the_contract() {
    let cluster = installed().await;
    let mut field = Field::new(&cluster, "names").await;
    field.group("names", json!({"remote": {"v4pool": pool("203.0.113.0/29", "203.0.113.0/24")}})).await;
    field.create("web", &[group("names")], json!({})).await;
    field.has("web", &["203.0.113.0"]).await;
    field.metric_is("purelb_address_pool_addresses_in_use{pool=\"names\"}", 1.0).await;
    let metrics = field.metrics().await;
    for series in [
        "purelb_address_pool_size{pool=\"names\"} 8",
        "purelb_allocator_sg_status_writes_total{outcome=\"success\"} ",
        "purelb_k8s_client_updates_total ",
        "purelb_k8s_client_update_errors_total ",
        "purelb_k8s_client_config_loaded_bool 1",
        "purelb_election_lease_healthy 1",
        "purelb_allocator_leader 1",
        "process_resident_memory_bytes ",
        "process_cpu_seconds_total ",
    ] {
        assert!(metrics.lines().any(|line| line.starts_with(series)), "no {series}:\n{metrics}");
    }
    field.delete_group("names").await;
    e2e::eventually(e2e::testing::DEADLINE, "no gauges of the group", async || {
        let metrics = field.metrics().await;
        if metrics.contains("pool_size{pool=\"names\"}") { Err("they are there") } else { Ok(()) }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn allocation_failed_is_repeated_sparingly() {
    let cluster = installed().await;
    let mut field = Field::new(&cluster, "sparing").await;
    field.group("sparing", json!({"remote": {"v4pool": pool("203.0.113.0-203.0.113.0", "203.0.113.0/24")}})).await;
    field.create("holder", &[group("sparing")], json!({})).await;
    field.has("holder", &["203.0.113.0"]).await;
    for number in 0..10 {
        field.create(&format!("waits-{number}"), &[group("sparing")], json!({})).await;
    }
    for number in 0..10 {
        field.fails(&format!("waits-{number}"), "exhausted").await;
    }
    // Much happens that makes them be looked at again, and none of it helps.
    let other = json!({"remote": {"v4pool": pool("203.0.113.64/28", "203.0.113.0/24")}});
    field.group("sparing-other", other).await;
    for number in 0..10 {
        let name = format!("churn-{number}");
        field.create(&name, &[group("sparing-other")], json!({})).await;
        field.cluster.service_addresses(&field.space, &name, 1).await.unwrap();
        field.delete(&name).await;
    }
    let space = field.space.clone();
    for number in 0..10 {
        let events = field.events(&space, &format!("waits-{number}"), "AllocationFailed").await;
        assert_eq!(events.len(), 1, "{:?}", events.iter().map(|event| &event.message).collect::<Vec<_>>());
        assert!(events[0].count.unwrap_or(1) <= 3, "{:?}", events[0].count);
    }
    // Nor are they written to.
    let writes = field.service("waits-3").await.metadata.managed_fields.unwrap_or_default();
    assert!(writes.iter().all(|entry| entry.manager.as_deref() != Some("purelb-allocator")), "{writes:?}");
}
