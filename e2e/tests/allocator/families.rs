//! One address per family.

use e2e::testing::installed;
use serde_json::json;

use crate::field::{Field, group, pool};

async fn with_groups<'a>(cluster: &'a e2e::Cluster, name: &str) -> Field<'a> {
    let mut field = Field::new(cluster, name).await;
    let (four, six) = (pool("203.0.113.0/28", "203.0.113.0/24"), pool("2001:db8:2::/124", "2001:db8:2::/64"));
    field.group(&format!("{name}-both"), json!({"remote": {"v4pool": four, "v6pool": six}})).await;
    let four = pool("203.0.113.16/28", "203.0.113.0/24");
    field.group(&format!("{name}-four"), json!({"remote": {"v4pool": four}})).await;
    field
}

#[tokio::test(flavor = "multi_thread")]
async fn families_single_stack_of_either() {
    let cluster = installed().await;
    let field = with_groups(&cluster, "single").await;
    field
        .create("four", &[group("single-both")], json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}))
        .await;
    field.has("four", &["203.0.113.0"]).await;
    field
        .create("six", &[group("single-both")], json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]}))
        .await;
    field.has("six", &["2001:db8:2::"]).await;
    field
        .create("none", &[group("single-four")], json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]}))
        .await;
    field.fails("none", "no available addresses").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn families_prefer_dual_stack_takes_what_there_is() {
    let cluster = installed().await;
    let mut field = with_groups(&cluster, "prefer").await;
    field
        .create(
            "both",
            &[group("prefer-both")],
            json!({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6", "IPv4"]}),
        )
        .await;
    field.has("both", &["2001:db8:2::", "203.0.113.0"]).await;
    field.create("part", &[group("prefer-four")], json!({"ipFamilyPolicy": "PreferDualStack"})).await;
    field.has("part", &["203.0.113.16"]).await;
    field.event("part", "FamilyUnavailable", "IPv6").await;
    // The other family comes later.
    let (four, six) = (pool("203.0.113.16/28", "203.0.113.0/24"), pool("2001:db8:3::/124", "2001:db8:3::/64"));
    field.group("prefer-four", json!({"remote": {"v4pool": four, "v6pool": six}})).await;
    field.has("part", &["203.0.113.16", "2001:db8:3::"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn families_require_dual_stack_is_all_or_nothing() {
    let cluster = installed().await;
    let field = with_groups(&cluster, "require").await;
    field.create("both", &[group("require-both")], json!({"ipFamilyPolicy": "RequireDualStack"})).await;
    field.has("both", &["203.0.113.0", "2001:db8:2::"]).await;
    field.create("part", &[group("require-four")], json!({"ipFamilyPolicy": "RequireDualStack"})).await;
    field.fails("part", "no available addresses").await;
    // Nothing is reserved for it either.
    field.create("next", &[group("require-four")], json!({})).await;
    field.has("next", &["203.0.113.16"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn families_change_on_a_living_service() {
    let cluster = installed().await;
    let field = with_groups(&cluster, "change").await;
    field
        .create("web", &[group("change-both")], json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}))
        .await;
    field.has("web", &["203.0.113.0"]).await;
    field.edit("web", json!({"spec": {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"]}})).await;
    field.has("web", &["203.0.113.0", "2001:db8:2::"]).await;
    field.edit("web", json!({"spec": {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}})).await;
    field.has("web", &["203.0.113.0"]).await;
    field.event("web", "AddressReleased", "2001:db8:2::").await;
    // What it had is free again.
    field
        .create("next", &[group("change-both")], json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]}))
        .await;
    field.has("next", &["2001:db8:2::"]).await;
}
