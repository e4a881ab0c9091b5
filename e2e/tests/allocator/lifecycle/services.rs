//! Services that change type, class or address, and writes of others to them.

use api_types::service::ingress_addresses;
use e2e::{
    eventually,
    testing::{DEADLINE, installed},
};
use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::support::{
    fixture::{Fixture, annotation, group, remote, write_status},
    replicas::WithoutAllocator,
};

#[tokio::test(flavor = "multi_thread")]
async fn re_evaluate_keeps_a_right_address_and_moves_from_a_wrong_one() {
    let cluster = installed().await;
    let mut fixture = Fixture::new(&cluster, "again").await;
    fixture.group("again-a", remote("203.0.113.0/28")).await;
    fixture.group("again-b", remote("203.0.113.16/28")).await;
    fixture.allocate("first", "again-a", "203.0.113.0").await;
    fixture.allocate("web", "again-a", "203.0.113.1").await;
    fixture.delete("first").await;
    fixture.annotate("web", "re-evaluate", Some("true")).await;
    let is_removed = async || {
        eventually(DEADLINE, "no annotation re-evaluate", async || {
            match fixture.annotation("web", "re-evaluate").await {
                None => Ok(()),
                Some(value) => Err(value),
            }
        })
        .await
        .unwrap();
    };
    is_removed().await;
    fixture.has("web", &["203.0.113.1"]).await;
    // Another group alone moves no address; re-evaluate does.
    fixture.annotate("web", "service-group", Some("again-b")).await;
    fixture.allocate("other", "again-b", "203.0.113.16").await;
    fixture.has("web", &["203.0.113.1"]).await;
    fixture.annotate("web", "re-evaluate", Some("true")).await;
    is_removed().await;
    fixture.has("web", &["203.0.113.17"]).await;
    assert_eq!(fixture.annotation("web", "allocated-from").await.as_deref(), Some("again-b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn type_change_releases_and_back_allocates() {
    let cluster = installed().await;
    let fixture = Fixture::with_group(&cluster, "kind", "203.0.113.0-203.0.113.0").await;
    fixture.allocate("web", "kind", "203.0.113.0").await;
    fixture.allocation_fails("waits", "kind", "exhausted").await;
    fixture.edit("web", json!({"spec": {"type": "ClusterIP", "allocateLoadBalancerNodePorts": null}})).await;
    fixture.has("web", &[]).await;
    fixture.has_no_annotations("web").await;
    fixture.has("waits", &["203.0.113.0"]).await;
    fixture.edit("web", json!({"spec": {"type": "LoadBalancer"}})).await;
    fixture.fails("web", "exhausted").await;
    fixture.delete("waits").await;
    fixture.has("web", &["203.0.113.0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn class_change_releases() {
    let cluster = installed().await;
    let fixture = Fixture::with_group(&cluster, "klass", "203.0.113.0-203.0.113.0").await;
    fixture.allocate("web", "klass", "203.0.113.0").await;
    // The API lets the class change only together with the type.
    fixture.edit("web", json!({"spec": {"type": "ClusterIP", "allocateLoadBalancerNodePorts": null}})).await;
    fixture.edit("web", json!({"spec": {"type": "LoadBalancer", "loadBalancerClass": "example.com/other"}})).await;
    fixture.has_no_annotations("web").await;
    fixture.allocate("next", "klass", "203.0.113.0").await;
    fixture.has("web", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicate_found_the_older_service_keeps_the_address() {
    let cluster = installed().await;
    let fixture = Fixture::with_group(&cluster, "twice", "203.0.113.0/28").await;
    fixture.allocate("old", "twice", "203.0.113.0").await;
    // Their times of creation are in seconds.
    let created = async |name: &str| fixture.service(name).await.metadata.creation_timestamp;
    eventually(DEADLINE, "a younger Service", async || {
        fixture.create("young", &[group("twice")], json!({})).await;
        if created("young").await > created("old").await {
            return Ok(());
        }
        fixture.delete("young").await;
        Err("as old")
    })
    .await
    .unwrap();
    fixture.has("young", &["203.0.113.1"]).await;
    write_status(&fixture, "young", &["203.0.113.0"]).await;
    fixture.event("young", "DuplicateAddress", "203.0.113.0").await;
    fixture.event("old", "DuplicateAddress", "203.0.113.0").await;
    fixture.has("young", &["203.0.113.1"]).await;
    fixture.has("old", &["203.0.113.0"]).await;
    fixture.metric_is("purelb_allocator_duplicate_addresses_total", 1.0).await;

    // The same, found at the start.
    let without = WithoutAllocator::new(&cluster).await;
    write_status(&fixture, "young", &["203.0.113.0"]).await;
    drop(without);
    cluster.installation_ready().unwrap();
    fixture.has("young", &["203.0.113.1"]).await;
    fixture.has("old", &["203.0.113.0"]).await;
}

/// What another controller wrote without an address is no address, and stays beside ours.
#[tokio::test(flavor = "multi_thread")]
async fn ingress_with_a_host_name_only_is_kept_beside_the_address() {
    let cluster = installed().await;
    let mut fixture = Fixture::new(&cluster, "hostname").await;
    fixture.allocation_fails("web", "hostname", "unknown pool").await;
    let host = json!({"hostname": "web.example.com"});
    let status = Patch::Merge(json!({"status": {"loadBalancer": {"ingress": [host]}}}));
    fixture.services().patch_status("web", &PatchParams::default(), &status).await.unwrap();
    fixture.group("hostname", remote("203.0.113.0/28")).await;
    fixture.has("web", &["203.0.113.0"]).await;
    let ingress =
        |service: Service| serde_json::to_value(service).unwrap()["status"]["loadBalancer"]["ingress"].clone();
    assert_eq!(ingress(fixture.service("web").await), json!([host, {"ip": "203.0.113.0", "ipMode": "VIP"}]));
    // Released, it goes alone.
    fixture.edit("web", json!({"spec": {"type": "ClusterIP"}})).await;
    fixture.edit("web", json!({"spec": {"type": "LoadBalancer"}})).await;
    fixture.has("web", &["203.0.113.0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_wiped_by_hand_is_given_back() {
    let cluster = installed().await;
    let fixture = Fixture::with_group(&cluster, "wiped", "203.0.113.0/28").await;
    fixture.allocate("web", "wiped", "203.0.113.0").await;
    let before = fixture.service("web").await.metadata.resource_version;
    write_status(&fixture, "web", &[]).await;
    eventually(DEADLINE, "the address again", async || {
        let service = fixture.service("web").await;
        let found = ingress_addresses(&service);
        let mark = annotation(&service, "allocated-by");
        let is_back = found.len() == 1 && mark.is_some() && service.metadata.resource_version != before;
        if is_back { Ok(()) } else { Err(format!("{found:?} {mark:?}")) }
    })
    .await
    .unwrap();
    // An annotation that is removed comes back, too: without it the agents would withdraw the address.
    fixture.annotate("web", "allocated-by", None).await;
    eventually(DEADLINE, "the mark again", async || match fixture.annotation("web", "allocated-by").await {
        Some(_) => Ok(()),
        None => Err("none"),
    })
    .await
    .unwrap();
    fixture.has("web", &["203.0.113.0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn type_changed_while_no_allocator_ran_is_cleaned_at_the_start() {
    let cluster = installed().await;
    let fixture = Fixture::with_group(&cluster, "absent", "203.0.113.0-203.0.113.1").await;
    for (name, address) in [("keeps", "203.0.113.0"), ("leaves", "203.0.113.1")] {
        fixture.allocate(name, "absent", address).await;
    }
    let version = fixture.service("keeps").await.metadata.resource_version;
    let without = WithoutAllocator::new(&cluster).await;
    fixture.edit("leaves", json!({"spec": {"type": "ClusterIP", "allocateLoadBalancerNodePorts": null}})).await;
    fixture.create("comes", &[group("absent")], json!({})).await;
    drop(without);
    fixture.has_no_annotations("leaves").await;
    fixture.has("comes", &["203.0.113.1"]).await;
    assert_eq!(
        fixture.service("keeps").await.metadata.resource_version,
        version,
        "a Service that was all right was written to"
    );
}
