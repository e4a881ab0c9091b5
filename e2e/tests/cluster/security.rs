//! The rights of the programs' service accounts, and their limits.

use e2e::testing::{Applied, EchoNamespace, installed};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_may_change_nothing_of_a_service_but_its_own_words() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let space = EchoNamespace::new(&cluster, "agent-rights");
    space.service("web", &[("purelb.io/service-group", "ipv4-routed")], &[]);
    space.addresses("web", 1).await;
    let kube = cluster.kube().await.unwrap();
    // Not by kubectl, which reads before it patches, what the agents need not.
    let as_agent = async |path: &str, patch: &str| {
        let request = http::Request::patch(format!("/api/v1/namespaces/{}/services/web{path}", space.name))
            .header("Content-Type", "application/merge-patch+json")
            .header("Impersonate-User", "system:serviceaccount:purelb:purelb-lbnodeagent")
            .body(patch.as_bytes().to_vec())
            .unwrap();
        kube.request_text(request).await.map_err(|error| error.to_string())
    };
    let own = r#"{"metadata": {"annotations": {"purelb.io/announcing-IPv4": "node1,eth0,192.0.2.1"}}}"#;
    as_agent("/status", own).await.unwrap();
    for (path, patch, words) in [
        ("/status", r#"{"metadata": {"annotations": {"purelb.io/allocated-by": "me"}}}"#, "announcing"),
        ("/status", r#"{"metadata": {"annotations": {"purelb.io/allocated-by": null}}}"#, "announcing"),
        ("/status", r#"{"metadata": {"labels": {"a": "b"}}}"#, "only change the annotations"),
        (
            "/status",
            r#"{"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.66"}]}}}"#,
            "only change the annotations",
        ),
        ("", r#"{"spec": {"externalTrafficPolicy": "Local"}}"#, "cannot patch"),
    ] {
        let refusal = as_agent(path, patch).await.unwrap_err();
        assert!(refusal.contains(words), "{patch}: {refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_may_write_its_own_nodes_lease_only() {
    let cluster = installed().await;
    let kube = cluster.kube().await.unwrap();
    // As above: kubectl would read the Lease first, what the agents need not.
    let patch = async |lease: &str, node: &str| {
        let request = http::Request::patch(format!("/apis/coordination.k8s.io/v1/namespaces/purelb/leases/{lease}"))
            .header("Content-Type", "application/merge-patch+json")
            .header("Impersonate-User", "system:serviceaccount:purelb:purelb-lbnodeagent")
            .header("Impersonate-Extra-Authentication.kubernetes.io%2Fnode-Name", node)
            .body(br#"{"metadata": {"annotations": {"test": null}}}"#.to_vec())
            .unwrap();
        kube.request_text(request).await.map_err(|error| error.to_string())
    };
    patch("purelb-node-node1", "node1").await.unwrap();
    for lease in ["purelb-node-node2", "purelb-allocator"] {
        let refusal = patch(lease, "node1").await.unwrap_err();
        assert!(refusal.contains("its own node"), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_may_read_the_gossip_key_and_no_other_secret() {
    let cluster = installed().await;
    let kube = cluster.kube().await.unwrap();
    let as_agent = async |method: &str, path: &str| {
        let body = if method == "GET" { Vec::new() } else { br#"{"metadata": {"name": "mine"}}"#.to_vec() };
        let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = http::Request::builder()
            .method(method)
            .uri(format!("/api/v1/{path}"))
            .header("Content-Type", content)
            .header("Impersonate-User", "system:serviceaccount:purelb:purelb-lbnodeagent")
            .body(body)
            .unwrap();
        kube.request_text(request).await.map_err(|error| error.to_string())
    };
    let own = "namespaces/purelb/secrets";
    // What its watch asks for: one object, by name.
    let one = format!("{own}?fieldSelector=metadata.name%3Dpurelb-gossip");
    assert!(as_agent("GET", &format!("{own}/purelb-gossip")).await.unwrap().contains("\"current\""));
    assert!(as_agent("GET", &one).await.unwrap().contains("\"current\""));
    as_agent("GET", &format!("{one}&watch=true&timeoutSeconds=1")).await.unwrap();
    for (method, path) in [
        ("GET", own.to_owned()),
        ("GET", format!("{own}?watch=true&timeoutSeconds=1")),
        ("GET", format!("{own}?fieldSelector=metadata.name%3Danother")),
        ("GET", format!("{own}/another")),
        ("GET", "secrets".to_owned()),
        ("GET", "secrets?fieldSelector=metadata.name%3Dpurelb-gossip".to_owned()),
        ("GET", "namespaces/kube-system/secrets/purelb-gossip".to_owned()),
        ("PATCH", format!("{own}/purelb-gossip")),
        ("DELETE", format!("{own}/purelb-gossip")),
        ("POST", own.to_owned()),
    ] {
        let refusal = as_agent(method, &path).await.expect_err(&format!("{method} {path}"));
        assert!(refusal.contains("forbidden"), "{method} {path}: {refusal}");
    }
}

/// Whether an account of ours may do this in our namespace.
fn may(cluster: &e2e::Cluster, account: &str, verb: &str, resource: &str) -> bool {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let account = format!("--as=system:serviceaccount:purelb:{account}");
    let subresource = format!("--subresource={subresource}");
    let arguments = ["auth", "can-i", &account, "--namespace", "purelb", &subresource, verb, resource];
    let output = cluster.kubectl_command().unwrap().args(arguments).output().unwrap();
    match String::from_utf8_lossy(&output.stdout).trim() {
        "yes" => true,
        "no" => false,
        other => panic!("neither yes nor no: {other:?} {}", String::from_utf8_lossy(&output.stderr)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_programs_may_write_status_and_little_else() {
    let cluster = installed().await;
    for (account, verb, resource) in
        [("purelb-lbnodeagent", "patch", "services/status"), ("purelb-lbnodeagent", "create", "leases")]
    {
        assert!(may(&cluster, account, verb, resource), "{account} may not {verb} {resource}");
    }
    for account in ["allocator", "purelb-lbnodeagent"] {
        for (verb, resource) in [
            ("patch", "services"),
            ("update", "services"),
            ("delete", "services"),
            ("list", "secrets"),
            ("watch", "secrets"),
            ("create", "secrets"),
            ("patch", "nodes"),
            ("patch", "servicegroups.purelb.io"),
            ("delete", "pods"),
        ] {
            assert!(!may(&cluster, account, verb, resource), "{account} may {verb} {resource}");
        }
    }
    assert!(!may(&cluster, "purelb-lbnodeagent", "patch", "servicegroups.purelb.io/status"));
}

/// What the manifests grant to the allocator, and what for.
const ALLOCATOR: [(&str, &[&str], &str); 14] = [
    ("services", READ, "what it serves, and the external IPs that it avoids"),
    ("services/status", &["patch"], "addresses, annotations and conditions"),
    ("nodes", READ, "addresses that no Service may have, and the label that keeps a node from announcing"),
    ("endpointslices.discovery.k8s.io", &["list", "watch"], "why nobody announces an address under the policy Local"),
    ("servicecidrs.networking.k8s.io", READ, "networks that no group may use"),
    ("servicegroups.purelb.io", READ, "the addresses that it gives"),
    ("servicegroups.purelb.io/status", &["patch"], "their use and conditions"),
    ("leases", READ, "the subnets of the agents, and what they refuse; it writes its own by name"),
    ("events", &["create", "patch"], "what users should know"),
    ("validatingwebhookconfigurations.admissionregistration.k8s.io", &["get", "list"], WEBHOOKS),
    ("mutatingwebhookconfigurations.admissionregistration.k8s.io", &["get", "list"], WEBHOOKS),
    ("secrets", &[], "the gossip key, by name only"),
    ("pods", &[], "nothing"),
    ("lbnodeagents.purelb.io", &[], "nothing: the agents' Leases say what follows from them"),
];
const READ: &[&str] = &["get", "list", "watch"];
const WEBHOOKS: &str = "the names of webhooks for which the API server waits";

#[tokio::test(flavor = "multi_thread")]
async fn the_allocator_may_do_what_it_needs_and_nothing_else() {
    let cluster = installed().await;
    for (resource, granted, purpose) in ALLOCATOR {
        for verb in ["get", "list", "watch", "create", "update", "patch", "delete"] {
            let (may, needs) = (may(&cluster, "allocator", verb, resource), granted.contains(&verb));
            assert_eq!(may, needs, "{verb} {resource}, for: {purpose}");
        }
    }
}
