//! What the programs' accounts may do, and what they may not.

use crate::support::{Applied, Space, installed};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_may_change_nothing_of_a_service_but_its_own_words() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let space = Space::new(&cluster, "agent-rights");
    space.service("web", &[("purelb.io/service-group", "ipv4-routed")], &[]);
    space.addresses("web", 1).await;
    let kube = cluster.kube().await.unwrap();
    // Not by kubectl, which reads before it patches, what the agents need not.
    let as_agent = async |path: &str, patch: &str| {
        let request = http::Request::patch(format!("/api/v1/namespaces/{}/services/web{path}", space.name))
            .header("Content-Type", "application/merge-patch+json")
            .header("Impersonate-User", "system:serviceaccount:purelb:lbnodeagent")
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
    let patch = |lease: &str, node: &str| {
        let claim = format!("--as-user-extra=authentication.kubernetes.io/node-name={node}");
        let arguments = [
            "--as=system:serviceaccount:purelb:lbnodeagent",
            &claim,
            "--namespace",
            "purelb",
            "patch",
            "lease",
            lease,
            "--type=merge",
            "-p",
            r#"{"metadata": {"annotations": {"test": null}}}"#,
        ];
        cluster.kubectl(&arguments).map_err(|error| error.to_string())
    };
    patch("purelb-node-node1", "node1").unwrap();
    for lease in ["purelb-node-node2", "purelb-allocator"] {
        let refusal = patch(lease, "node1").unwrap_err();
        assert!(refusal.contains("its own node"), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_allocator_may_write_status_and_nothing_else() {
    let cluster = installed().await;
    let may = |verb: &str, resource: &str| {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let subresource = format!("--subresource={subresource}");
        let account = "--as=system:serviceaccount:purelb:allocator";
        cluster.kubectl(&["auth", "can-i", account, "--namespace", "purelb", &subresource, verb, resource]).is_ok()
    };
    assert!(may("patch", "services/status") && may("patch", "servicegroups.purelb.io/status"));
    for (verb, resource) in [
        ("patch", "services"),
        ("update", "services"),
        ("delete", "services"),
        ("list", "secrets"),
        ("create", "leases"),
        ("patch", "servicegroups.purelb.io"),
        ("get", "nodes"),
        ("delete", "pods"),
    ] {
        assert!(!may(verb, resource), "the allocator may {verb} {resource}");
    }
}
