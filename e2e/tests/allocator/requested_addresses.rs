//! Addresses that the user names.

use e2e::testing::installed;
use serde_json::json;

use crate::support::fixture::{Fixture, group, pool, remote};

async fn with_groups<'a>(cluster: &'a e2e::Cluster, name: &str) -> Fixture<'a> {
    let mut fixture = Fixture::new(cluster, name).await;
    let (four, six) = (pool("203.0.113.0/28", "203.0.113.0/24"), pool("2001:db8:6::/124", "2001:db8:6::/64"));
    fixture.group(&format!("{name}-a"), json!({"remote": {"v4pool": four, "v6pool": six}})).await;
    fixture.group(&format!("{name}-b"), remote("203.0.113.16/28")).await;
    fixture
}

#[tokio::test(flavor = "multi_thread")]
async fn pinned_by_annotation_several_of_any_family_and_group() {
    let cluster = installed().await;
    let fixture = with_groups(&cluster, "pins").await;
    let pins = "203.0.113.5,2001:db8:6::7,203.0.113.20";
    let dual = json!({"ipFamilyPolicy": "RequireDualStack"});
    fixture.create("web", &[("addresses", pins), group("pins-b")], dual).await;
    fixture.has("web", &["203.0.113.5", "2001:db8:6::7", "203.0.113.20"]).await;
    assert_eq!(fixture.annotation("web", "allocated-from").await.as_deref(), Some("pins-a, pins-a, pins-b"));
    fixture.event("web", "ConfigurationWarning", "service-group").await;
    fixture.create("stray", &[("addresses", "198.51.100.99")], json!({})).await;
    fixture.fails("stray", "does not belong to any group").await;
    fixture.create("wrong", &[("addresses", "203.0.113.6 203.0.113.7")], json!({})).await;
    fixture.fails("wrong", "invalid user-specified address").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pinned_by_load_balancer_ip() {
    let cluster = installed().await;
    let fixture = with_groups(&cluster, "lbip").await;
    fixture.create("web", &[], json!({"loadBalancerIP": "203.0.113.9"})).await;
    fixture.has("web", &["203.0.113.9"]).await;
    fixture.event("web", "DeprecationWarning", "purelb.io/addresses").await;
    // The annotation wins.
    fixture.create("both", &[("addresses", "203.0.113.11")], json!({"loadBalancerIP": "203.0.113.10"})).await;
    fixture.has("both", &["203.0.113.11"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pinned_all_or_nothing_and_retried_when_freed() {
    let cluster = installed().await;
    let fixture = with_groups(&cluster, "retry").await;
    fixture.create("holder", &[("addresses", "203.0.113.3")], json!({})).await;
    fixture.has("holder", &["203.0.113.3"]).await;
    fixture.create("wants", &[("addresses", "203.0.113.2,203.0.113.3")], json!({})).await;
    fixture.fails("wants", "already in use").await;
    // Not even the one that was free is taken.
    fixture.create("other", &[("addresses", "203.0.113.2")], json!({})).await;
    fixture.has("other", &["203.0.113.2"]).await;
    fixture.delete("other").await;
    fixture.delete("holder").await;
    fixture.has("wants", &["203.0.113.2", "203.0.113.3"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pinned_list_does_not_grow() {
    let cluster = installed().await;
    let fixture = with_groups(&cluster, "grow").await;
    // One address for two families, one of a family that the Service does not have, one twice.
    let dual = json!({"ipFamilyPolicy": "RequireDualStack"});
    fixture.create("half", &[("addresses", "203.0.113.1,203.0.113.1")], dual).await;
    fixture.create("alien", &[("addresses", "203.0.113.4,2001:db8:6::4")], json!({"ipFamilies": ["IPv4"]})).await;
    fixture.has("half", &["203.0.113.1"]).await;
    fixture.fails("alien", "\"2001:db8:6::4\" cannot be given: the Service has IPv4 only").await;
    let versions = async || {
        let of = async |name: &str| fixture.service(name).await.metadata.resource_version;
        [of("half").await, of("alien").await]
    };
    let before = versions().await;
    // Whatever makes everybody be looked at again changes nothing.
    for number in 0..3 {
        let name = format!("other-{number}");
        fixture.create(&name, &[group("grow-b")], json!({})).await;
        fixture.cluster.service_addresses(&fixture.namespace, &name, 1).await.unwrap();
        fixture.delete(&name).await;
    }
    assert_eq!(versions().await, before);
}
