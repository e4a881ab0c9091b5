//! One address per family.

use e2e::testing::installed;
use serde_json::json;

use crate::support::fixture::{Fixture, group, pool};

async fn with_groups<'a>(cluster: &'a e2e::Cluster, name: &str) -> Fixture<'a> {
    let mut fixture = Fixture::new(cluster, name).await;
    let (four, six) = (pool("203.0.113.0/28", "203.0.113.0/24"), pool("2001:db8:2::/124", "2001:db8:2::/64"));
    fixture.group(&format!("{name}-both"), json!({"remote": {"v4pool": four, "v6pool": six}})).await;
    let four = pool("203.0.113.16/28", "203.0.113.0/24");
    fixture.group(&format!("{name}-four"), json!({"remote": {"v4pool": four}})).await;
    fixture
}

#[tokio::test(flavor = "multi_thread")]
async fn families_single_stack_of_either() {
    let cluster = installed().await;
    let fixture = with_groups(&cluster, "single").await;
    fixture
        .create("four", &[group("single-both")], json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}))
        .await;
    fixture.has("four", &["203.0.113.0"]).await;
    fixture
        .create("six", &[group("single-both")], json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]}))
        .await;
    fixture.has("six", &["2001:db8:2::"]).await;
    fixture
        .create("none", &[group("single-four")], json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]}))
        .await;
    fixture.fails("none", "no available addresses").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn families_prefer_dual_stack_takes_what_there_is() {
    let cluster = installed().await;
    let mut fixture = with_groups(&cluster, "prefer").await;
    fixture
        .create(
            "both",
            &[group("prefer-both")],
            json!({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6", "IPv4"]}),
        )
        .await;
    fixture.has("both", &["2001:db8:2::", "203.0.113.0"]).await;
    fixture.create("part", &[group("prefer-four")], json!({"ipFamilyPolicy": "PreferDualStack"})).await;
    fixture.has("part", &["203.0.113.16"]).await;
    fixture.event("part", "FamilyUnavailable", "IPv6").await;
    // The other family comes later.
    let (four, six) = (pool("203.0.113.16/28", "203.0.113.0/24"), pool("2001:db8:3::/124", "2001:db8:3::/64"));
    fixture.group("prefer-four", json!({"remote": {"v4pool": four, "v6pool": six}})).await;
    fixture.has("part", &["203.0.113.16", "2001:db8:3::"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn families_require_dual_stack_is_all_or_nothing() {
    let cluster = installed().await;
    let fixture = with_groups(&cluster, "require").await;
    fixture.create("both", &[group("require-both")], json!({"ipFamilyPolicy": "RequireDualStack"})).await;
    fixture.has("both", &["203.0.113.0", "2001:db8:2::"]).await;
    fixture.create("part", &[group("require-four")], json!({"ipFamilyPolicy": "RequireDualStack"})).await;
    fixture.fails("part", "no available addresses").await;
    // Nothing is reserved for it either.
    fixture.allocate("next", "require-four", "203.0.113.16").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn families_change_on_a_living_service() {
    let cluster = installed().await;
    let fixture = with_groups(&cluster, "change").await;
    fixture
        .create("web", &[group("change-both")], json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}))
        .await;
    fixture.has("web", &["203.0.113.0"]).await;
    fixture.edit("web", json!({"spec": {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"]}})).await;
    fixture.has("web", &["203.0.113.0", "2001:db8:2::"]).await;
    fixture.edit("web", json!({"spec": {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}})).await;
    fixture.has("web", &["203.0.113.0"]).await;
    fixture.event("web", "AddressReleased", "2001:db8:2::").await;
    // What it had is free again.
    fixture
        .create("next", &[group("change-both")], json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]}))
        .await;
    fixture.has("next", &["2001:db8:2::"]).await;
}
