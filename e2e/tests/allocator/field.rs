//! What happened to users of such software and concerns the allocator alone. Each test has the number of its report.

use e2e::testing::{Applied, WithoutAllocator, installed};
use serde_json::json;

use crate::support::fixture::{Fixture, NETWORK, group, pool, remote, write_status};

#[tokio::test(flavor = "multi_thread")]
async fn case_06_a_pool_that_ends_at_the_broadcast_address() {
    let cluster = installed().await;
    let mut fixture = Fixture::new(&cluster, "edge").await;
    let (four, six) = (pool("203.0.113.254/31", NETWORK), pool("2001:db8:6::/127", "2001:db8:6::/64"));
    fixture.group("edge", json!({"local": {"v4pool": four, "v6pool": six}})).await;
    fixture.group_status("edge", &json!({"availableIPv4": 1, "availableIPv6": 1})).await;
    fixture.allocate("one", "edge", "203.0.113.254").await;
    fixture.allocation_fails("two", "edge", "exhausted").await;
    fixture.create("six", &[group("edge")], json!({"ipFamilies": ["IPv6"]})).await;
    fixture.has("six", &["2001:db8:6::1"]).await;
    fixture.create("pinned", &[("addresses", "203.0.113.255")], json!({})).await;
    fixture.fails("pinned", "broadcast").await;
    fixture.group_status("edge", &json!({"availableIPv4": 0, "availableIPv6": 0})).await;
    fixture.condition("edge", "ReservedAddresses", "True", "203.0.113.255").await;
    fixture.condition("edge", "ReservedAddresses", "True", "2001:db8:6::").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_06_groups_of_version_v1_and_routed_groups_use_all_addresses() {
    let cluster = installed().await;
    let mut fixture = Fixture::new(&cluster, "whole").await;
    let _v1 = Applied::yaml(
        &cluster,
        "{apiVersion: purelb.io/v1, kind: ServiceGroup, metadata: {name: whole-v1, namespace: purelb}, \
         spec: {local: {pool: 198.51.100.254/31, subnet: 198.51.100.0/24, aggregation: /32}}}",
    );
    fixture.group("whole-routed", remote("203.0.113.254/31")).await;
    for (name, of, address) in [
        ("v1-last-but-one", "whole-v1", "198.51.100.254"),
        ("v1-last", "whole-v1", "198.51.100.255"),
        ("routed-last-but-one", "whole-routed", "203.0.113.254"),
        ("routed-last", "whole-routed", "203.0.113.255"),
    ] {
        fixture.allocate(name, of, address).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_13_addresses_of_a_load_balancer_that_is_gone() {
    let cluster = installed().await;
    let fixture = Fixture::with_group(&cluster, "gone", "203.0.113.0/28").await;
    let stopped = WithoutAllocator::new(&cluster).await;
    fixture.create("web", &[group("gone")], json!({})).await;
    write_status(&fixture, "web", &["198.51.100.7"]).await;
    drop(stopped);
    cluster.installation_ready().unwrap();
    fixture.event("web", "ForeignAddress", "198.51.100.7").await;
    fixture.event("web", "ForeignAddress", "re-evaluate").await;
    fixture.has("web", &["198.51.100.7"]).await;
    assert_eq!(fixture.annotation("web", "allocated-by").await, None);
    fixture.annotate("web", "re-evaluate", Some("true")).await;
    fixture.has("web", &["203.0.113.0"]).await;
    assert_eq!(fixture.annotation("web", "re-evaluate").await, None);
    assert_eq!(fixture.annotation("web", "allocated-addresses").await.as_deref(), Some("203.0.113.0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_18_blanks_in_lists() {
    let cluster = installed().await;
    let mut fixture = Fixture::new(&cluster, "blanks").await;
    fixture.group("blanks-four", remote("203.0.113.0/28")).await;
    fixture.group("blanks-six", json!({"remote": {"v6pool": pool("2001:db8:6::/124", "2001:db8:6::/64")}})).await;
    let dual = || json!({"ipFamilyPolicy": "RequireDualStack"});
    fixture.create("pinned", &[("addresses", " 203.0.113.5 ,  2001:db8:6::7")], dual()).await;
    fixture.has("pinned", &["203.0.113.5", "2001:db8:6::7"]).await;
    fixture.create("grouped", &[group("blanks-four , blanks-six ")], dual()).await;
    fixture.has("grouped", &["203.0.113.0", "2001:db8:6::"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_19_an_edit_that_would_move_a_service() {
    let cluster = installed().await;
    let mut fixture = Fixture::with_group(&cluster, "edit", "203.0.113.0/28").await;
    fixture.group("edit-other", remote("203.0.113.16/28")).await;
    for (name, address) in
        [("group", "203.0.113.0"), ("pin", "203.0.113.1"), ("field", "203.0.113.2"), ("key", "203.0.113.3")]
    {
        fixture.allocate(name, "edit", address).await;
    }
    let shared = [group("edit"), ("allow-shared-ip", "edit")];
    fixture.create("sharer", &shared, json!({"ports": [{"port": 81}]})).await;
    fixture.has("sharer", &["203.0.113.4"]).await;

    fixture.annotate("group", "service-group", Some("edit-other")).await;
    fixture.annotate("pin", "addresses", Some("203.0.113.20")).await;
    fixture.edit("field", json!({"spec": {"loadBalancerIP": "203.0.113.21"}})).await;
    fixture.annotate("key", "allow-shared-ip", Some("edit")).await;
    for (name, address) in
        [("group", "203.0.113.0"), ("pin", "203.0.113.1"), ("field", "203.0.113.2"), ("key", "203.0.113.3")]
    {
        fixture.event(name, "ReEvaluateNeeded", "re-evaluate").await;
        fixture.has(name, &[address]).await;
    }
    for name in ["group", "pin", "field", "key"] {
        fixture.annotate(name, "re-evaluate", Some("true")).await;
    }
    fixture.has("group", &["203.0.113.16"]).await;
    fixture.has("pin", &["203.0.113.20"]).await;
    fixture.has("field", &["203.0.113.21"]).await;
    fixture.has("key", &["203.0.113.4"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_20_an_emptied_status_gets_the_same_address() {
    let cluster = installed().await;
    let fixture = Fixture::with_group(&cluster, "emptied", "203.0.113.0/28").await;
    fixture.allocate("first", "emptied", "203.0.113.0").await;
    fixture.allocate("second", "emptied", "203.0.113.1").await;
    fixture.delete("first").await;
    write_status(&fixture, "second", &[]).await;
    fixture.has("second", &["203.0.113.1"]).await;
    // Also when nobody looked: the allocator comes back and finds it so.
    let stopped = WithoutAllocator::new(&cluster).await;
    write_status(&fixture, "second", &[]).await;
    drop(stopped);
    cluster.installation_ready().unwrap();
    fixture.has_within_a_minute("second", &["203.0.113.1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_48_ranges_that_no_service_may_have() {
    let cluster = installed().await;
    let mut fixture = Fixture::new(&cluster, "unusable").await;
    for (name, family, range, what) in [
        ("unusable-link", "v4pool", "169.254.100.0/28", "link-local"),
        ("unusable-loop", "v4pool", "127.0.0.0/28", "loopback"),
        ("unusable-many", "v4pool", "239.1.2.0/28", "multicast"),
        ("unusable-link6", "v6pool", "fe80::/124", "link-local"),
        ("unusable-many6", "v6pool", "ff05::/124", "multicast"),
        ("unusable-mapped", "v6pool", "::ffff:192.0.2.0/124", "IPv4-mapped"),
        ("unusable-none", "v6pool", "::/124", "unspecified"),
    ] {
        fixture.group(name, json!({"remote": {family: pool(range, range)}})).await;
        fixture.condition(name, "Ready", "False", what).await;
    }
    fixture.create("web", &[group("unusable-link")], json!({})).await;
    fixture.fails("web", "unusable-link").await;
    fixture.create("pinned", &[("addresses", "169.254.100.1")], json!({})).await;
    fixture.fails("pinned", "169.254.100.1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_55_external_ips_of_other_services_are_taken_last() {
    let cluster = installed().await;
    let mut fixture = Fixture::with_group(&cluster, "external-ips", "203.0.113.0/31").await;
    let other = fixture.another_namespace("other").await;
    let cluster_ip = json!({
        "type": "ClusterIP", "allocateLoadBalancerNodePorts": null, "externalIPs": ["203.0.113.0"],
    });
    fixture.create("has-it", &[], cluster_ip).await;
    // A pin of another namespace is refused, and one of the same is not.
    fixture.create_in(&other, "foreign-pin", &[("addresses", "203.0.113.0")], json!({})).await;
    fixture.fails_in(&other, "foreign-pin", "external IP").await;
    cluster.kubectl(&["delete", "service", "foreign-pin", "--namespace", &other]).unwrap();
    fixture.create("own-pin", &[("addresses", "203.0.113.0")], json!({})).await;
    fixture.has("own-pin", &["203.0.113.0"]).await;
    fixture.delete("own-pin").await;
    // Choice takes it last rather than leave a Service without an address.
    fixture.create_in(&other, "first", &[group("external-ips")], json!({})).await;
    fixture.has_in(&other, "first", &["203.0.113.1"]).await;
    fixture.create_in(&other, "last", &[group("external-ips")], json!({})).await;
    fixture.has_in(&other, "last", &["203.0.113.0"]).await;
    fixture.event_in(&other, "last", "ReservedAddress", "203.0.113.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_55_external_ips_of_a_load_balancer_are_told_to_announce_nothing() {
    let cluster = installed().await;
    let fixture = Fixture::with_group(&cluster, "told-external", "203.0.113.0/28").await;
    fixture.create("web", &[group("told-external")], json!({"externalIPs": ["203.0.113.5"]})).await;
    fixture.has("web", &["203.0.113.0"]).await;
    fixture.event("web", "ConfigurationWarning", "purelb.io/addresses").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sharing_key_that_collides_says_who_holds_the_port() {
    let cluster = installed().await;
    let mut fixture = Fixture::with_group(&cluster, "collide", "203.0.113.0/32").await;
    let other = fixture.another_namespace("other").await;
    let shared = [group("collide"), ("allow-shared-ip", "collide")];
    fixture.create("holder", &shared, json!({})).await;
    fixture.has("holder", &["203.0.113.0"]).await;
    fixture.create("same", &shared, json!({})).await;
    fixture.fails("same", "holder").await;
    // The name of another tenant's Service is nobody else's business.
    fixture.create_in(&other, "elsewhere", &shared, json!({})).await;
    fixture.fails_in(&other, "elsewhere", "a Service of another namespace").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_pool_names_the_group_of_that_name_in_another_namespace() {
    let cluster = installed().await;
    let mut fixture = Fixture::with_group(&cluster, "astray", "203.0.113.0/28").await;
    let elsewhere = fixture.another_namespace("elsewhere").await;
    fixture.group_in(&elsewhere, "astray-group", remote("203.0.113.16/28")).await;
    fixture.create("web", &[group("astray-group")], json!({})).await;
    fixture.fails("web", &elsewhere).await;
}
