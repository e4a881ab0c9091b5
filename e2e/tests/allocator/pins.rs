//! Addresses that the user names.

use e2e::testing::installed;
use serde_json::json;

use crate::field::{Field, group, pool};

async fn with_groups<'a>(cluster: &'a e2e::Cluster, name: &str) -> Field<'a> {
    let mut field = Field::new(cluster, name).await;
    let (four, six) = (pool("203.0.113.0/28", "203.0.113.0/24"), pool("2001:db8:6::/124", "2001:db8:6::/64"));
    field.group(&format!("{name}-a"), json!({"remote": {"v4pool": four, "v6pool": six}})).await;
    field.group(&format!("{name}-b"), json!({"remote": {"v4pool": pool("203.0.113.16/28", "203.0.113.0/24")}})).await;
    field
}

#[tokio::test(flavor = "multi_thread")]
async fn pinned_by_annotation_several_of_any_family_and_group() {
    let cluster = installed().await;
    let field = with_groups(&cluster, "pins").await;
    let pins = "203.0.113.5,2001:db8:6::7,203.0.113.20";
    let dual = json!({"ipFamilyPolicy": "RequireDualStack"});
    field.create("web", &[("addresses", pins), group("pins-b")], dual).await;
    field.has("web", &["203.0.113.5", "2001:db8:6::7", "203.0.113.20"]).await;
    assert_eq!(field.annotation("web", "allocated-from").await.as_deref(), Some("pins-a, pins-a, pins-b"));
    field.event("web", "ConfigurationWarning", "service-group").await;
    field.create("stray", &[("addresses", "198.51.100.99")], json!({})).await;
    field.fails("stray", "does not belong to any group").await;
    field.create("wrong", &[("addresses", "203.0.113.6, 203.0.113.7")], json!({})).await;
    field.fails("wrong", "invalid user-specified address").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pinned_by_load_balancer_ip() {
    let cluster = installed().await;
    let field = with_groups(&cluster, "lbip").await;
    field.create("web", &[], json!({"loadBalancerIP": "203.0.113.9"})).await;
    field.has("web", &["203.0.113.9"]).await;
    field.event("web", "DeprecationWarning", "purelb.io/addresses").await;
    // The annotation wins.
    field.create("both", &[("addresses", "203.0.113.11")], json!({"loadBalancerIP": "203.0.113.10"})).await;
    field.has("both", &["203.0.113.11"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pinned_all_or_nothing_and_retried_when_freed() {
    let cluster = installed().await;
    let field = with_groups(&cluster, "retry").await;
    field.create("holder", &[("addresses", "203.0.113.3")], json!({})).await;
    field.has("holder", &["203.0.113.3"]).await;
    field.create("wants", &[("addresses", "203.0.113.2,203.0.113.3")], json!({})).await;
    field.fails("wants", "already in use").await;
    // Not even the one that was free is taken.
    field.create("other", &[("addresses", "203.0.113.2")], json!({})).await;
    field.has("other", &["203.0.113.2"]).await;
    field.delete("other").await;
    field.delete("holder").await;
    field.has("wants", &["203.0.113.2", "203.0.113.3"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pinned_list_does_not_grow() {
    let cluster = installed().await;
    let field = with_groups(&cluster, "grow").await;
    // One address for two families, one of a family that is not wanted, one twice.
    let dual = json!({"ipFamilyPolicy": "RequireDualStack"});
    field.create("half", &[("addresses", "203.0.113.1,203.0.113.1")], dual).await;
    field.create("alien", &[("addresses", "203.0.113.4,2001:db8:6::4")], json!({"ipFamilies": ["IPv4"]})).await;
    field.has("half", &["203.0.113.1"]).await;
    field.has("alien", &["203.0.113.4", "2001:db8:6::4"]).await;
    let versions = async || {
        let of = async |name: &str| field.service(name).await.metadata.resource_version;
        [of("half").await, of("alien").await]
    };
    let before = versions().await;
    // Whatever makes everybody be looked at again changes nothing.
    for number in 0..3 {
        let name = format!("other-{number}");
        field.create(&name, &[group("grow-b")], json!({})).await;
        field.cluster.service_addresses(&field.space, &name, 1).await.unwrap();
        field.delete(&name).await;
    }
    assert_eq!(versions().await, before);
}
