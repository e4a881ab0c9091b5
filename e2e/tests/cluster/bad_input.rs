//! Wrong input is reported where the user looks, and affects nothing else.

use e2e::testing::{Applied, EchoNamespace, installed, wait_for_event, wait_for_group_ready};

/// A v1 group with this `local` specification.
fn v1(name: &str, local: &str) -> String {
    format!(
        "{{apiVersion: purelb.io/v1, kind: ServiceGroup, metadata: {{name: {name}, namespace: purelb}}, spec: {{local: {local}}}}}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_group_says_what_is_wrong_and_the_others_go_on() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let cases = [
        (
            "inverted",
            "{pool: 198.51.100.9-198.51.100.1, subnet: 198.51.100.0/24}",
            "InvalidRange",
            "198.51.100.1 comes before 198.51.100.9",
        ),
        (
            "outside",
            "{pool: 203.0.113.1-203.0.113.9, subnet: 198.51.100.0/24}",
            "RangeOutsideSubnet",
            "not contained by network 198.51.100.0/24",
        ),
        (
            "bare-length",
            "{pool: 198.51.100.0/28, subnet: 198.51.100.0/24, aggregation: \"32\"}",
            "InvalidAggregation",
            "\"/32\"",
        ),
        ("no-pool", "{}", "NoRange", "no valid address range found"),
        ("overlap", "{pool: 172.30.200.150-172.30.200.156, subnet: 172.30.200.0/24}", "Overlap", "ipv4-routed"),
    ];
    let mut applied = Vec::new();
    for (name, local, reason, words) in cases {
        applied.push(Applied::yaml(&cluster, &v1(name, local)));
        let (found, message) = wait_for_group_ready(&cluster, name, "False").await;
        assert!(found.starts_with(reason) && message.contains(words), "{name}: {found}: {message}");
        wait_for_event(&cluster, "purelb", name, "ParseFailed", words).await;
    }
    let space = EchoNamespace::new(&cluster, "bad-groups");
    space.service("good", &[("purelb.io/service-group", "ipv4-routed")], &[]);
    space.addresses("good", 1).await;
    wait_for_group_ready(&cluster, "ipv4-routed", "True").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_refuses_what_the_schema_can_say() {
    let cluster = installed().await;
    let v2 = |spec: &str| {
        let yaml = format!(
            "{{apiVersion: purelb.io/v2, kind: ServiceGroup, metadata: {{name: refused, namespace: purelb}}, spec: {spec}}}"
        );
        cluster.apply(&yaml).unwrap_err().to_string()
    };
    let pool = "{pool: 198.51.100.0/28, subnet: 198.51.100.0/24}";
    let bare = v2("{remote: {v4pool: {pool: 198.51.100.0/28, subnet: 198.51.100.0/24, aggregation: \"32\"}}}");
    assert!(bare.contains("such as \"/32\""), "{bare}");
    let two = v2(&format!("{{local: {{v4pool: {pool}}}, remote: {{v4pool: {pool}}}}}"));
    assert!(two.contains("exactly one of local, remote, or external must be specified"), "{two}");
    let none = v2("{}");
    assert!(none.contains("exactly one of"), "{none}");
    let enforce = v2(&format!("{{enforceNamespaces: true, remote: {{v4pool: {pool}}}}}"));
    assert!(enforce.contains("enforceNamespaces requires a non-empty namespaces list"), "{enforce}");
    let both = v2(&format!("{{remote: {{multiPool: true, balancePools: true, v4pool: {pool}}}}}"));
    assert!(both.contains("mutually exclusive"), "{both}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_names_an_unknown_group_is_told_and_served_when_the_group_comes() {
    let cluster = installed().await;
    let space = EchoNamespace::new(&cluster, "unknown-group");
    space.service("web", &[("purelb.io/service-group", "late")], &[]);
    space.event("web", "AllocationFailed", "unknown pool \"late\"").await;
    let _late =
        Applied::yaml(&cluster, &v1("late", "{pool: 198.51.100.0/28, subnet: 198.51.100.0/24, aggregation: /32}"));
    let addresses = space.addresses("web", 1).await;
    assert_eq!(addresses[0].to_string(), "198.51.100.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_outside_the_install_namespace_is_told_so() {
    let cluster = installed().await;
    // Without a group in scope, the setting of the scope counts as the mistake (allocation.md 2).
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let yaml = "{apiVersion: purelb.io/v2, kind: ServiceGroup, metadata: {name: stray, namespace: default}, \
                spec: {remote: {v4pool: {pool: 198.51.100.0/28, subnet: 198.51.100.0/24}}}}";
    let _stray = Applied::yaml(&cluster, yaml);
    wait_for_event(&cluster, "default", "stray", "ServiceGroupOutOfScope", "purelb").await;
}
