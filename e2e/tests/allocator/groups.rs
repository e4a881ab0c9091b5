//! Which group serves a Service: annotation, namespaces, the group `default`, class, scope.

use e2e::{
    Replica, eventually,
    testing::{DEADLINE, event, installed},
};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, api::PostParams};
use serde_json::json;

use crate::field::{Field, NoPods, group, pool, straight};

const NETWORK: &str = "203.0.113.0/24";

fn one(address: &str) -> serde_json::Value {
    json!({"v4pool": pool(address, NETWORK)})
}

#[tokio::test(flavor = "multi_thread")]
async fn group_by_annotation_also_a_list_of_groups() {
    let cluster = installed().await;
    let mut field = Field::new(&cluster, "choice").await;
    field.group("choice-four", json!({"remote": one("203.0.113.0/28")})).await;
    field.group("choice-six", json!({"remote": {"v6pool": pool("2001:db8:1::/124", "2001:db8:1::/64")}})).await;
    field.create("one", &[group("choice-four")], json!({})).await;
    field.has("one", &["203.0.113.0"]).await;
    assert_eq!(field.annotation("one", "allocated-by").await.as_deref(), Some("PureLB"));
    assert_eq!(field.annotation("one", "allocated-from").await.as_deref(), Some("choice-four"));
    assert_eq!(field.annotation("one", "pool-type").await.as_deref(), Some("remote"));
    field.event("one", "AddressAssigned", "choice-four").await;

    field.create("both", &[group("choice-four,choice-six")], json!({"ipFamilyPolicy": "RequireDualStack"})).await;
    field.has("both", &["203.0.113.1", "2001:db8:1::"]).await;
    field.create("unknown", &[group("choice-none")], json!({})).await;
    field.fails("unknown", "unknown pool \"choice-none\"").await;
    field.create("empty", &[group("")], json!({})).await;
    field.fails("empty", "unknown pool \"\"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn group_default_serves_who_names_none() {
    let cluster = installed().await;
    let mut field = Field::new(&cluster, "by-default").await;
    field.create("web", &[], json!({})).await;
    field.fails("web", "unknown pool \"default\"").await;
    field.group("default", json!({"remote": one("203.0.113.16/28")})).await;
    field.has("web", &["203.0.113.16"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn group_by_namespace_binding_and_its_precedence() {
    let cluster = installed().await;
    let mut field = Field::new(&cluster, "bound").await;
    let space = field.space.clone();
    field.group("default", json!({"remote": one("203.0.113.0/28")})).await;
    field.group("bound-a", json!({"remote": one("203.0.113.16/28"), "namespaces": [space]})).await;
    // Groups and Services are watched apart: one that comes before its group gets what there is then.
    field.condition("bound-a", "Ready", "True", "").await;
    // The only group of the namespace is its default.
    field.create("only", &[], json!({})).await;
    field.has("only", &["203.0.113.16"]).await;
    // The annotation comes first: the namespace does not enforce.
    field.create("named", &[group("default")], json!({})).await;
    field.has("named", &["203.0.113.0"]).await;
    // Two, and neither is the default: `default` it is, with a warning.
    field.group("bound-b", json!({"remote": one("203.0.113.32/28"), "namespaces": [space]})).await;
    field.condition("bound-b", "Ready", "True", "").await;
    field.create("ambiguous", &[], json!({})).await;
    field.has("ambiguous", &["203.0.113.1"]).await;
    field.event("ambiguous", "ConfigurationWarning", "none sets namespaceDefault").await;
    // One of two is the default.
    let default = json!({"remote": one("203.0.113.32/28"), "namespaces": [space], "namespaceDefault": true});
    field.group("bound-b", default).await;
    eventually(DEADLINE, "the default group", async || {
        let bound = field.group_object("bound-b").await;
        let observed = &bound["status"]["conditions"][0]["observedGeneration"];
        if *observed == bound["metadata"]["generation"] { Ok(()) } else { Err(bound["status"].to_string()) }
    })
    .await
    .unwrap();
    field.create("default", &[], json!({})).await;
    field.has("default", &["203.0.113.32"]).await;
    // What was given stays.
    field.has("only", &["203.0.113.16"]).await;
    field.has("ambiguous", &["203.0.113.1"]).await;
    // Both say so: nobody is.
    let both = json!({"remote": one("203.0.113.16/28"), "namespaces": [space], "namespaceDefault": true, "enforceNamespaces": true});
    field.group("bound-a", both).await;
    field.condition("bound-a", "Ready", "True", "").await;
    field.create("refused", &[], json!({})).await;
    field.fails("refused", "all set namespaceDefault").await;
    field
        .metric_is(
            "purelb_address_pool_allocation_rejected_total{pool=\"<none>\",reason=\"ambiguous_namespace_default\"}",
            1.0,
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn group_enforced_namespaces_refuse() {
    let cluster = installed().await;
    let mut field = Field::new(&cluster, "enforce").await;
    let friend = field.another_namespace("friend").await;
    field.group("enforce-open", json!({"remote": one("203.0.113.0/28")})).await;
    let closed = json!({"remote": one("203.0.113.16/28"), "namespaces": [friend], "enforceNamespaces": true});
    field.group("enforce-closed", closed).await;
    field.condition("enforce-closed", "Ready", "True", "").await;
    // A stranger may not use the closed group, by no way.
    field.create("stranger", &[group("enforce-closed")], json!({})).await;
    field.fails("stranger", "namespace denied").await;
    field.create("pinned", &[("addresses", "203.0.113.20")], json!({})).await;
    field.fails("pinned", "namespace denied").await;
    // The namespace may use nothing else.
    field.create_in(&friend, "out", &[group("enforce-open")], json!({})).await;
    field.fails_in(&friend, "out", "namespace denied").await;
    field.create_in(&friend, "in", &[], json!({})).await;
    field.has_in(&friend, "in", &["203.0.113.16"]).await;
    let rejected = "purelb_address_pool_allocation_rejected_total{pool=\"enforce-closed\",reason=\"namespace_denied\"}";
    assert!(field.metric(rejected).await >= 1.0);
    // Served as soon as the rule goes.
    field.group("enforce-closed", json!({"remote": one("203.0.113.16/28")})).await;
    field.has("stranger", &["203.0.113.17"]).await;
    field.has("pinned", &["203.0.113.20"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn classes_both_of_ours_and_none_but_no_other() {
    let cluster = installed().await;
    let mut field = Field::new(&cluster, "classes").await;
    field.group("classes", json!({"remote": one("203.0.113.0/28")})).await;
    for (name, class, address) in [
        ("v1", Some("purelb.io/purelb"), "203.0.113.0"),
        ("v2", Some("purelb.io/purelbv2"), "203.0.113.1"),
        ("none", None, "203.0.113.2"),
    ] {
        let spec = class.map_or(json!({}), |class| json!({"loadBalancerClass": class}));
        field.create(name, &[group("classes")], spec).await;
        field.has(name, &[address]).await;
    }
    field.create("other", &[group("classes")], json!({"loadBalancerClass": "example.com/other"})).await;
    // Whoever comes later is served, and the other one is not.
    field.create("later", &[group("classes")], json!({})).await;
    field.has("later", &["203.0.113.3"]).await;
    field.has("other", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scope_groups_outside_the_install_namespace_are_told_and_not_used() {
    let cluster = installed().await;
    let mut field = Field::new(&cluster, "scope").await;
    let space = field.space.clone();
    // If no group were in the right namespace, the setting would be taken for wrong and all of them be used.
    field.group("scope-in", json!({"remote": one("203.0.113.16/28")})).await;
    field.condition("scope-in", "Ready", "True", "").await;
    field.group_in(&space, "scope-out", json!({"remote": one("203.0.113.0/28")})).await;
    event(&cluster, &space, "scope-out", "ServiceGroupOutOfScope", "namespace").await;
    let series =
        format!("purelb_servicegroups_out_of_scope{{name=\"scope-out\",namespace=\"{space}\",type=\"remote\"}}");
    field.metric_is(&series, 1.0).await;
    field.create("web", &[group("scope-out")], json!({})).await;
    field.fails("web", "unknown pool").await;
    let gone = ["delete", "servicegroup", "--namespace", &space, "scope-out"];
    cluster.kubectl(&gone).unwrap();
    eventually(DEADLINE, "no gauge any more", async || {
        let metrics = field.metrics().await;
        if metrics.contains(&series) { Err(series.clone()) } else { Ok(()) }
    })
    .await
    .unwrap();
}

/// An install namespace without any ServiceGroup is taken for a wrong setting: all groups serve.
#[tokio::test(flavor = "multi_thread")]
async fn scope_unknown_install_namespace_uses_all_groups() {
    let cluster = installed().await;
    let mut field = Field::new(&cluster, "nowhere").await;
    field.group("nowhere", json!({"remote": one("203.0.113.0/28")})).await;
    let lease = json!({"metadata": {"name": "purelb-allocator", "namespace": field.space}});
    let leases: Api<Lease> = Api::namespaced(field.client.clone(), &field.space);
    leases.create(&PostParams::default(), &serde_json::from_value(lease).unwrap()).await.unwrap();
    let _without = NoPods::new(&cluster).await;
    let replica = Replica::start_in(&cluster, "lost", &straight(&cluster), &field.space).unwrap();
    replica.leading(DEADLINE).await.unwrap();
    field.create("web", &[group("nowhere")], json!({})).await;
    field.has("web", &["203.0.113.0"]).await;
    field.condition("nowhere", "Ready", "True", "").await;
    assert!(!replica.metrics().unwrap().contains("purelb_servicegroups_out_of_scope{"));
}

#[tokio::test(flavor = "multi_thread")]
async fn classes_none_is_ignored_by_who_is_not_the_default_announcer() {
    let cluster = installed().await;
    let mut field = Field::new(&cluster, "not-default").await;
    field.group("not-default", json!({"remote": one("203.0.113.0/28")})).await;
    let _without = NoPods::new(&cluster).await;
    let replica = Replica::start_as(&cluster, "modest", &straight(&cluster), "Somebody").unwrap();
    replica.leading(DEADLINE).await.unwrap();
    field.create("none", &[group("not-default")], json!({})).await;
    field.create("ours", &[group("not-default")], json!({"loadBalancerClass": "purelb.io/purelb"})).await;
    field.has("ours", &["203.0.113.0"]).await;
    field.has("none", &[]).await;
    assert_eq!(field.annotation("none", "allocated-by").await, None);
}
