//! What users and their tools see: conditions, columns, counters, metrics, events.

use e2e::testing::installed;
use serde_json::json;

use crate::support::fixture::{Fixture, group, pool, remote};

#[tokio::test(flavor = "multi_thread")]
async fn group_status_conditions_columns_and_counters() {
    let cluster = installed().await;
    let mut fixture = Fixture::new(&cluster, "status").await;
    let space = fixture.namespace.clone();
    let (four, six) = (pool("203.0.113.0/29", "203.0.113.0/24"), pool("2001:db8:8::/124", "2001:db8:8::/64"));
    fixture.group("status", json!({"remote": {"v4pool": four, "v6pool": six}, "namespaces": [space]})).await;
    fixture.condition("status", "Ready", "True", "").await;
    fixture.create("web", &[group("status")], json!({"ipFamilyPolicy": "RequireDualStack"})).await;
    let counts = json!({
        "announce": "Remote", "ipam": "Cluster", "addresses": ["203.0.113.0/29", "2001:db8:8::/124"],
        "allocatedIPv4": 1, "allocatedIPv6": 1, "availableIPv4": 7, "availableIPv6": 15, "boundNamespaces": [space],
    });
    fixture.group_status("status", &counts).await;
    fixture.metric_is("purelb_address_pool_size{pool=\"status\"}", 24.0).await;
    fixture.metric_is("purelb_address_pool_addresses_in_use{pool=\"status\"}", 2.0).await;
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
    fixture.delete("web").await;
    fixture.group_status("status", &json!({"allocatedIPv4": 0, "allocatedIPv6": 0, "availableIPv4": 8})).await;
    // Of a huge range the counts are true as far as a number goes.
    fixture.group("status-huge", json!({"remote": {"v6pool": pool("2001:db8:9::/64", "2001:db8:9::/64")}})).await;
    fixture.group_status("status-huge", &json!({"availableIPv6": i64::MAX, "availableIPv4": 0})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_the_names_of_the_contract() {
    let cluster = installed().await;
    let fixture = Fixture::with_group(&cluster, "names", "203.0.113.0/29").await;
    fixture.allocate("web", "names", "203.0.113.0").await;
    fixture.metric_is("purelb_address_pool_addresses_in_use{pool=\"names\"}", 1.0).await;
    let metrics = fixture.metrics().await;
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
    fixture.delete_group("names").await;
    fixture.has_no_gauges("names").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn allocation_failed_is_repeated_sparingly() {
    let cluster = installed().await;
    let mut fixture = Fixture::with_group(&cluster, "sparing", "203.0.113.0-203.0.113.0").await;
    fixture.allocate("holder", "sparing", "203.0.113.0").await;
    for number in 0..10 {
        fixture.create(&format!("waits-{number}"), &[group("sparing")], json!({})).await;
    }
    for number in 0..10 {
        fixture.fails(&format!("waits-{number}"), "exhausted").await;
    }
    // Much happens that makes them be looked at again, and none of it helps.
    let other = remote("203.0.113.64/28");
    fixture.group("sparing-other", other).await;
    for number in 0..10 {
        let name = format!("churn-{number}");
        fixture.create(&name, &[group("sparing-other")], json!({})).await;
        fixture.cluster.service_addresses(&fixture.namespace, &name, 1).await.unwrap();
        fixture.delete(&name).await;
    }
    let space = fixture.namespace.clone();
    for number in 0..10 {
        let events = fixture.events(&space, &format!("waits-{number}"), "AllocationFailed").await;
        assert_eq!(events.len(), 1, "{:?}", events.iter().map(|event| &event.message).collect::<Vec<_>>());
        assert!(events[0].count.unwrap_or(1) <= 3, "{:?}", events[0].count);
    }
    // Nor are they written to.
    let writes = fixture.service("waits-3").await.metadata.managed_fields.unwrap_or_default();
    assert!(writes.iter().all(|entry| entry.manager.as_deref() != Some("purelb-allocator")), "{writes:?}");
}
