//! Services and groups that change, fill up, overlap and go.

use api_types::service::ingress_addresses;
use e2e::{
    eventually,
    testing::{DEADLINE, installed},
};
use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::field::{Field, NoPods, annotation, forge, group, pool};

const NETWORK: &str = "203.0.113.0/24";

fn remote(range: &str) -> Value {
    json!({"remote": {"v4pool": pool(range, NETWORK)}})
}

#[tokio::test(flavor = "multi_thread")]
async fn re_evaluate_keeps_a_right_address_and_moves_from_a_wrong_one() {
    let cluster = installed().await;
    let mut field = Field::new(&cluster, "again").await;
    field.group("again-a", remote("203.0.113.0/28")).await;
    field.group("again-b", remote("203.0.113.16/28")).await;
    field.create("first", &[group("again-a")], json!({})).await;
    field.has("first", &["203.0.113.0"]).await;
    field.create("web", &[group("again-a")], json!({})).await;
    field.has("web", &["203.0.113.1"]).await;
    field.delete("first").await;
    field.annotate("web", "re-evaluate", Some("true")).await;
    let is_removed = async || {
        eventually(DEADLINE, "no annotation re-evaluate", async || {
            match field.annotation("web", "re-evaluate").await {
                None => Ok(()),
                Some(value) => Err(value),
            }
        })
        .await
        .unwrap();
    };
    is_removed().await;
    field.has("web", &["203.0.113.1"]).await;
    // Another group alone moves nobody; re-evaluate does.
    field.annotate("web", "service-group", Some("again-b")).await;
    field.create("other", &[group("again-b")], json!({})).await;
    field.has("other", &["203.0.113.16"]).await;
    field.has("web", &["203.0.113.1"]).await;
    field.annotate("web", "re-evaluate", Some("true")).await;
    is_removed().await;
    field.has("web", &["203.0.113.17"]).await;
    assert_eq!(field.annotation("web", "allocated-from").await.as_deref(), Some("again-b"));
}

/// None of our annotations.
async fn unmarked(field: &Field<'_>, name: &str) {
    eventually(DEADLINE, format!("{name} without our annotations"), async || {
        let annotations = field.service(name).await.metadata.annotations.unwrap_or_default();
        let ours = ["allocated-by", "allocated-from", "pool-type"].map(|key| format!("purelb.io/{key}"));
        if ours.iter().any(|key| annotations.contains_key(key)) { Err(format!("{annotations:?}")) } else { Ok(()) }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn type_change_releases_and_back_allocates() {
    let cluster = installed().await;
    let mut field = Field::new(&cluster, "kind").await;
    field.group("kind", remote("203.0.113.0-203.0.113.0")).await;
    field.create("web", &[group("kind")], json!({})).await;
    field.has("web", &["203.0.113.0"]).await;
    field.create("waits", &[group("kind")], json!({})).await;
    field.fails("waits", "exhausted").await;
    field.edit("web", json!({"spec": {"type": "ClusterIP", "allocateLoadBalancerNodePorts": null}})).await;
    field.has("web", &[]).await;
    unmarked(&field, "web").await;
    field.has("waits", &["203.0.113.0"]).await;
    field.edit("web", json!({"spec": {"type": "LoadBalancer"}})).await;
    field.fails("web", "exhausted").await;
    field.delete("waits").await;
    field.has("web", &["203.0.113.0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn class_change_releases() {
    let cluster = installed().await;
    let mut field = Field::new(&cluster, "klass").await;
    field.group("klass", remote("203.0.113.0-203.0.113.0")).await;
    field.create("web", &[group("klass")], json!({})).await;
    field.has("web", &["203.0.113.0"]).await;
    // The API lets the class change only together with the type.
    field.edit("web", json!({"spec": {"type": "ClusterIP", "allocateLoadBalancerNodePorts": null}})).await;
    field.edit("web", json!({"spec": {"type": "LoadBalancer", "loadBalancerClass": "example.com/other"}})).await;
    unmarked(&field, "web").await;
    field.create("next", &[group("klass")], json!({})).await;
    field.has("next", &["203.0.113.0"]).await;
    field.has("web", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_frees_and_the_longest_waiting_is_served() {
    let cluster = installed().await;
    let mut field = Field::new(&cluster, "full").await;
    field.group("full", remote("203.0.113.0-203.0.113.1")).await;
    for (name, address) in [("a", "203.0.113.0"), ("b", "203.0.113.1")] {
        field.create(name, &[group("full")], json!({})).await;
        field.has(name, &[address]).await;
    }
    field.create("waits", &[group("full")], json!({})).await;
    field.fails("waits", "exhausted").await;
    field.condition("full", "NearlyFull", "True", "2 addresses in use, 0 free").await;
    assert!(
        field.metric("purelb_address_pool_allocation_rejected_total{pool=\"full\",reason=\"exhausted\"}").await >= 1.0
    );
    field.delete("a").await;
    field.has("waits", &["203.0.113.0"]).await;
    field.has("b", &["203.0.113.1"]).await;
    // A range that is added serves who waits, too.
    field.create("more", &[group("full")], json!({})).await;
    field.fails("more", "exhausted").await;
    field.group("full", remote("203.0.113.0-203.0.113.31")).await;
    field.has("more", &["203.0.113.2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn group_created_late_serves_who_waits() {
    let cluster = installed().await;
    let mut field = Field::new(&cluster, "tardy").await;
    for name in ["one", "two"] {
        field.create(name, &[group("tardy")], json!({})).await;
        field.fails(name, "unknown pool \"tardy\"").await;
    }
    field.group("tardy", remote("203.0.113.0/28")).await;
    field.cluster.service_addresses(&field.space, "one", 1).await.unwrap();
    field.cluster.service_addresses(&field.space, "two", 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn group_edited_address_is_kept_shown_and_not_reused() {
    let cluster = installed().await;
    let mut field = Field::new(&cluster, "shrink").await;
    field.group("shrink", remote("203.0.113.0/28")).await;
    field.create("web", &[group("shrink")], json!({})).await;
    field.has("web", &["203.0.113.0"]).await;
    field.group("shrink", remote("203.0.113.16/28")).await;
    field.condition("shrink", "AddressesOutsidePools", "True", "203.0.113.0").await;
    field.has("web", &["203.0.113.0"]).await;
    assert_eq!(field.annotation("web", "pool-type").await.as_deref(), Some("remote"));
    field.create("next", &[group("shrink")], json!({})).await;
    field.has("next", &["203.0.113.16"]).await;
    // Somebody else's range does not give it away either.
    field.group("shrink-other", remote("203.0.113.0/28")).await;
    field.create("other", &[group("shrink-other")], json!({})).await;
    field.has("other", &["203.0.113.1"]).await;
    field.delete("web").await;
    field.create("after", &[group("shrink-other")], json!({})).await;
    field.has("after", &["203.0.113.0"]).await;
    eventually(DEADLINE, "no condition AddressesOutsidePools", async || {
        let status = field.group_object("shrink").await["status"].to_string();
        if status.contains("AddressesOutsidePools") { Err(status) } else { Ok(()) }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn group_deleted_its_addresses_stay_and_are_not_reused() {
    let cluster = installed().await;
    let mut field = Field::new(&cluster, "gone").await;
    field.group("gone", remote("203.0.113.0/28")).await;
    field.create("web", &[group("gone")], json!({})).await;
    field.has("web", &["203.0.113.0"]).await;
    field.delete_group("gone").await;
    eventually(DEADLINE, "no gauges of the group", async || {
        let metrics = field.metrics().await;
        if metrics.contains("addresses_in_use{pool=\"gone\"}") { Err("they are there") } else { Ok(()) }
    })
    .await
    .unwrap();
    field.group("gone-heir", remote("203.0.113.0/28")).await;
    field.create("next", &[group("gone-heir")], json!({})).await;
    field.has("next", &["203.0.113.1"]).await;
    field.has("web", &["203.0.113.0"]).await;
    assert_eq!(field.annotation("web", "allocated-by").await.as_deref(), Some("PureLB"));
    // Made again it has a status again, and the address is its own.
    field.delete_group("gone-heir").await;
    field.group("gone", remote("203.0.113.0/28")).await;
    field.group_status("gone", &json!({"allocatedIPv4": 2})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_groups_the_later_one_is_refused_also_nested() {
    let cluster = installed().await;
    let mut field = Field::new(&cluster, "over").await;
    field.group("over-a", remote("203.0.113.0/26")).await;
    field.group("over-b", remote("203.0.113.16-203.0.113.20")).await;
    field.group("over-c", remote("203.0.113.60-203.0.113.70")).await;
    for name in ["over-b", "over-c"] {
        field.condition(name, "Ready", "False", "over-a").await;
        field.event_in(e2e::NAMESPACE, name, "ParseFailed", "overlap").await;
    }
    field.create("web", &[group("over-b")], json!({})).await;
    field.fails("web", "unknown pool \"over-b\"").await;
    // In order by name, not by time; and everybody is judged again when one changes.
    field.group("over-0", remote("203.0.113.62-203.0.113.63")).await;
    field.condition("over-a", "Ready", "False", "over-0").await;
    field.condition("over-b", "Ready", "True", "").await;
    field.has("web", &["203.0.113.16"]).await;
    // Ranges that overlap inside one group.
    let inside = json!([pool("203.0.113.128/28", NETWORK), pool("203.0.113.130-203.0.113.131", NETWORK)]);
    field.group("over-self", json!({"remote": {"v4pools": inside}})).await;
    field.condition("over-self", "Ready", "False", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicate_found_the_older_service_keeps_the_address() {
    let cluster = installed().await;
    let mut field = Field::new(&cluster, "twice").await;
    field.group("twice", remote("203.0.113.0/28")).await;
    field.create("old", &[group("twice")], json!({})).await;
    field.has("old", &["203.0.113.0"]).await;
    // Their times of creation are in seconds.
    let created = async |name: &str| field.service(name).await.metadata.creation_timestamp;
    eventually(DEADLINE, "a younger Service", async || {
        field.create("young", &[group("twice")], json!({})).await;
        if created("young").await > created("old").await {
            return Ok(());
        }
        field.delete("young").await;
        Err("as old")
    })
    .await
    .unwrap();
    field.has("young", &["203.0.113.1"]).await;
    forge(&field, "young", &["203.0.113.0"]).await;
    field.event("young", "DuplicateAddress", "203.0.113.0").await;
    field.event("old", "DuplicateAddress", "203.0.113.0").await;
    field.has("young", &["203.0.113.1"]).await;
    field.has("old", &["203.0.113.0"]).await;
    field.metric_is("purelb_allocator_duplicate_addresses_total", 1.0).await;

    // The same, found at the start.
    let without = NoPods::new(&cluster).await;
    forge(&field, "young", &["203.0.113.0"]).await;
    drop(without);
    cluster.installation_ready().unwrap();
    field.has("young", &["203.0.113.1"]).await;
    field.has("old", &["203.0.113.0"]).await;
}

/// What another controller wrote without an address is no address, and stays beside ours.
#[tokio::test(flavor = "multi_thread")]
async fn ingress_with_a_host_name_only_is_kept_beside_the_address() {
    let cluster = installed().await;
    let mut field = Field::new(&cluster, "hostname").await;
    field.create("web", &[group("hostname")], json!({})).await;
    field.fails("web", "unknown pool").await;
    let host = json!({"hostname": "web.example.com"});
    let status = Patch::Merge(json!({"status": {"loadBalancer": {"ingress": [host]}}}));
    field.services().patch_status("web", &PatchParams::default(), &status).await.unwrap();
    field.group("hostname", remote("203.0.113.0/28")).await;
    field.has("web", &["203.0.113.0"]).await;
    let ingress =
        |service: Service| serde_json::to_value(service).unwrap()["status"]["loadBalancer"]["ingress"].clone();
    assert_eq!(ingress(field.service("web").await), json!([host, {"ip": "203.0.113.0", "ipMode": "VIP"}]));
    // Released, it goes alone.
    field.edit("web", json!({"spec": {"type": "ClusterIP"}})).await;
    field.edit("web", json!({"spec": {"type": "LoadBalancer"}})).await;
    field.has("web", &["203.0.113.0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_wiped_by_hand_is_given_back() {
    let cluster = installed().await;
    let mut field = Field::new(&cluster, "wiped").await;
    field.group("wiped", remote("203.0.113.0/28")).await;
    field.create("web", &[group("wiped")], json!({})).await;
    field.has("web", &["203.0.113.0"]).await;
    let before = field.service("web").await.metadata.resource_version;
    forge(&field, "web", &[]).await;
    eventually(DEADLINE, "the address again", async || {
        let service = field.service("web").await;
        let found = ingress_addresses(&service);
        let mark = annotation(&service, "allocated-by");
        let is_back = found.len() == 1 && mark.is_some() && service.metadata.resource_version != before;
        if is_back { Ok(()) } else { Err(format!("{found:?} {mark:?}")) }
    })
    .await
    .unwrap();
    // A mark that somebody takes off comes back, too: without it the agents would withdraw the address.
    field.annotate("web", "allocated-by", None).await;
    eventually(DEADLINE, "the mark again", async || match field.annotation("web", "allocated-by").await {
        Some(_) => Ok(()),
        None => Err("none"),
    })
    .await
    .unwrap();
    field.has("web", &["203.0.113.0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn type_changed_while_no_allocator_ran_is_cleaned_at_the_start() {
    let cluster = installed().await;
    let mut field = Field::new(&cluster, "absent").await;
    field.group("absent", remote("203.0.113.0-203.0.113.1")).await;
    for (name, address) in [("keeps", "203.0.113.0"), ("leaves", "203.0.113.1")] {
        field.create(name, &[group("absent")], json!({})).await;
        field.has(name, &[address]).await;
    }
    let version = field.service("keeps").await.metadata.resource_version;
    let without = NoPods::new(&cluster).await;
    field.edit("leaves", json!({"spec": {"type": "ClusterIP", "allocateLoadBalancerNodePorts": null}})).await;
    field.create("comes", &[group("absent")], json!({})).await;
    drop(without);
    unmarked(&field, "leaves").await;
    field.has("comes", &["203.0.113.1"]).await;
    assert_eq!(
        field.service("keeps").await.metadata.resource_version,
        version,
        "a Service that was all right was written to"
    );
}
