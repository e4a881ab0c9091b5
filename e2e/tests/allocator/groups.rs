//! Which group serves a Service: annotation, namespaces, the group `default`, class, scope.

use e2e::{
    eventually,
    testing::{DEADLINE, Replica, installed, wait_for_event},
};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, api::PostParams};
use serde_json::json;

use crate::support::{
    fixture::{Fixture, NETWORK, group, pool},
    replicas::{WithoutAllocator, cluster_kubeconfig},
};

fn one(address: &str) -> serde_json::Value {
    json!({"v4pool": pool(address, NETWORK)})
}

#[tokio::test(flavor = "multi_thread")]
async fn group_by_annotation_also_a_list_of_groups() {
    let cluster = installed().await;
    let mut fixture = Fixture::new(&cluster, "choice").await;
    fixture.group("choice-four", json!({"remote": one("203.0.113.0/28")})).await;
    fixture.group("choice-six", json!({"remote": {"v6pool": pool("2001:db8:1::/124", "2001:db8:1::/64")}})).await;
    fixture.allocate("one", "choice-four", "203.0.113.0").await;
    assert_eq!(fixture.annotation("one", "allocated-by").await.as_deref(), Some("PureLB"));
    assert_eq!(fixture.annotation("one", "allocated-from").await.as_deref(), Some("choice-four"));
    assert_eq!(fixture.annotation("one", "pool-type").await.as_deref(), Some("remote"));
    fixture.event("one", "AddressAssigned", "choice-four").await;

    fixture.create("both", &[group("choice-four,choice-six")], json!({"ipFamilyPolicy": "RequireDualStack"})).await;
    fixture.has("both", &["203.0.113.1", "2001:db8:1::"]).await;
    fixture.allocation_fails("unknown", "choice-none", "unknown pool \"choice-none\"").await;
    fixture.allocation_fails("empty", "", "unknown pool \"\"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn group_default_serves_who_names_none() {
    let cluster = installed().await;
    let mut fixture = Fixture::new(&cluster, "by-default").await;
    fixture.create("web", &[], json!({})).await;
    fixture.fails("web", "unknown pool \"default\"").await;
    fixture.group("default", json!({"remote": one("203.0.113.16/28")})).await;
    fixture.has("web", &["203.0.113.16"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn group_by_namespace_binding_and_its_precedence() {
    let cluster = installed().await;
    let mut fixture = Fixture::new(&cluster, "bound").await;
    let space = fixture.namespace.clone();
    fixture.group("default", json!({"remote": one("203.0.113.0/28")})).await;
    fixture.group("bound-a", json!({"remote": one("203.0.113.16/28"), "namespaces": [space]})).await;
    // Groups and Services are watched apart: one that comes before its group gets what there is then.
    fixture.condition("bound-a", "Ready", "True", "").await;
    // The only group of the namespace is its default.
    fixture.create("only", &[], json!({})).await;
    fixture.has("only", &["203.0.113.16"]).await;
    // The annotation comes first: the namespace does not enforce.
    fixture.allocate("named", "default", "203.0.113.0").await;
    // Two, and neither is the default: `default` it is, with a warning.
    fixture.group("bound-b", json!({"remote": one("203.0.113.32/28"), "namespaces": [space]})).await;
    fixture.condition("bound-b", "Ready", "True", "").await;
    fixture.create("ambiguous", &[], json!({})).await;
    fixture.has("ambiguous", &["203.0.113.1"]).await;
    fixture.event("ambiguous", "ConfigurationWarning", "none sets namespaceDefault").await;
    // One of two is the default.
    let default = json!({"remote": one("203.0.113.32/28"), "namespaces": [space], "namespaceDefault": true});
    fixture.group("bound-b", default).await;
    eventually(DEADLINE, "the default group", async || {
        let bound = fixture.group_object("bound-b").await;
        let observed = &bound["status"]["conditions"][0]["observedGeneration"];
        if *observed == bound["metadata"]["generation"] { Ok(()) } else { Err(bound["status"].to_string()) }
    })
    .await
    .unwrap();
    fixture.create("default", &[], json!({})).await;
    fixture.has("default", &["203.0.113.32"]).await;
    // What was given stays.
    fixture.has("only", &["203.0.113.16"]).await;
    fixture.has("ambiguous", &["203.0.113.1"]).await;
    // Both are marked as the default: neither is.
    let both = json!({"remote": one("203.0.113.16/28"), "namespaces": [space], "namespaceDefault": true, "enforceNamespaces": true});
    fixture.group("bound-a", both).await;
    fixture.condition("bound-a", "Ready", "True", "").await;
    fixture.create("refused", &[], json!({})).await;
    fixture.fails("refused", "all set namespaceDefault").await;
    fixture
        .metric_is(
            "purelb_address_pool_allocation_rejected_total{pool=\"<none>\",reason=\"ambiguous_namespace_default\"}",
            1.0,
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn group_enforced_namespaces_refuse() {
    let cluster = installed().await;
    let mut fixture = Fixture::new(&cluster, "enforce").await;
    let friend = fixture.another_namespace("friend").await;
    fixture.group("enforce-open", json!({"remote": one("203.0.113.0/28")})).await;
    let closed = json!({"remote": one("203.0.113.16/28"), "namespaces": [friend], "enforceNamespaces": true});
    fixture.group("enforce-closed", closed).await;
    fixture.condition("enforce-closed", "Ready", "True", "").await;
    // A stranger may not use the closed group, by no way.
    fixture.allocation_fails("stranger", "enforce-closed", "namespace denied").await;
    fixture.create("pinned", &[("addresses", "203.0.113.20")], json!({})).await;
    fixture.fails("pinned", "namespace denied").await;
    // The namespace may use nothing else.
    fixture.create_in(&friend, "out", &[group("enforce-open")], json!({})).await;
    fixture.fails_in(&friend, "out", "namespace denied").await;
    fixture.create_in(&friend, "in", &[], json!({})).await;
    fixture.has_in(&friend, "in", &["203.0.113.16"]).await;
    let rejected = "purelb_address_pool_allocation_rejected_total{pool=\"enforce-closed\",reason=\"namespace_denied\"}";
    assert!(fixture.metric(rejected).await >= 1.0);
    // Served as soon as the rule goes.
    fixture.group("enforce-closed", json!({"remote": one("203.0.113.16/28")})).await;
    fixture.has("stranger", &["203.0.113.17"]).await;
    fixture.has("pinned", &["203.0.113.20"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn classes_both_of_ours_and_none_but_no_other() {
    let cluster = installed().await;
    let mut fixture = Fixture::new(&cluster, "classes").await;
    fixture.group("classes", json!({"remote": one("203.0.113.0/28")})).await;
    for (name, class, address) in [
        ("v1", Some("purelb.io/purelb"), "203.0.113.0"),
        ("v2", Some("purelb.io/purelbv2"), "203.0.113.1"),
        ("none", None, "203.0.113.2"),
    ] {
        let spec = class.map_or(json!({}), |class| json!({"loadBalancerClass": class}));
        fixture.create(name, &[group("classes")], spec).await;
        fixture.has(name, &[address]).await;
    }
    fixture.create("other", &[group("classes")], json!({"loadBalancerClass": "example.com/other"})).await;
    // Whoever comes later is served, and the other one is not.
    fixture.allocate("later", "classes", "203.0.113.3").await;
    fixture.has("other", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scope_groups_outside_the_install_namespace_are_told_and_not_used() {
    let cluster = installed().await;
    let mut fixture = Fixture::new(&cluster, "scope").await;
    let space = fixture.namespace.clone();
    // If no group were in the right namespace, the setting would be taken for wrong and all of them be used.
    fixture.group("scope-in", json!({"remote": one("203.0.113.16/28")})).await;
    fixture.condition("scope-in", "Ready", "True", "").await;
    fixture.group_in(&space, "scope-out", json!({"remote": one("203.0.113.0/28")})).await;
    wait_for_event(&cluster, &space, "scope-out", "ServiceGroupOutOfScope", "namespace").await;
    let series =
        format!("purelb_servicegroups_out_of_scope{{name=\"scope-out\",namespace=\"{space}\",type=\"remote\"}}");
    fixture.metric_is(&series, 1.0).await;
    fixture.allocation_fails("web", "scope-out", "unknown pool").await;
    let gone = ["delete", "servicegroup", "--namespace", &space, "scope-out"];
    cluster.kubectl(&gone).unwrap();
    eventually(DEADLINE, "no gauge any more", async || {
        let metrics = fixture.metrics().await;
        if metrics.contains(&series) { Err(series.clone()) } else { Ok(()) }
    })
    .await
    .unwrap();
}

/// An install namespace without any ServiceGroup is taken for a wrong setting: all groups serve.
#[tokio::test(flavor = "multi_thread")]
async fn scope_unknown_install_namespace_uses_all_groups() {
    let cluster = installed().await;
    let mut fixture = Fixture::new(&cluster, "nowhere").await;
    fixture.group("nowhere", json!({"remote": one("203.0.113.0/28")})).await;
    let lease = json!({"metadata": {"name": "purelb-allocator", "namespace": fixture.namespace}});
    let leases: Api<Lease> = Api::namespaced(fixture.client.clone(), &fixture.namespace);
    leases.create(&PostParams::default(), &serde_json::from_value(lease).unwrap()).await.unwrap();
    let _without = WithoutAllocator::new(&cluster).await;
    let replica = Replica::start_in(&cluster, "lost", &cluster_kubeconfig(&cluster), &fixture.namespace).unwrap();
    replica.leading(DEADLINE).await.unwrap();
    fixture.allocate("web", "nowhere", "203.0.113.0").await;
    fixture.condition("nowhere", "Ready", "True", "").await;
    assert!(!replica.metrics().unwrap().contains("purelb_servicegroups_out_of_scope{"));
}

#[tokio::test(flavor = "multi_thread")]
async fn classes_none_is_ignored_by_who_is_not_the_default_announcer() {
    let cluster = installed().await;
    let mut fixture = Fixture::new(&cluster, "not-default").await;
    fixture.group("not-default", json!({"remote": one("203.0.113.0/28")})).await;
    let _without = WithoutAllocator::new(&cluster).await;
    let replica = Replica::start_as(&cluster, "modest", &cluster_kubeconfig(&cluster), "Somebody").unwrap();
    replica.leading(DEADLINE).await.unwrap();
    fixture.create("none", &[group("not-default")], json!({})).await;
    fixture.create("ours", &[group("not-default")], json!({"loadBalancerClass": "purelb.io/purelb"})).await;
    fixture.has("ours", &["203.0.113.0"]).await;
    fixture.has("none", &[]).await;
    assert_eq!(fixture.annotation("none", "allocated-by").await, None);
}
