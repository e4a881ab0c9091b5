//! The manifests: they render, and they say what the programs rely on.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use e2e::checkout;
use sha2::{Digest, Sha256};

#[test]
fn the_seeds_objects_are_byte_for_byte_those_of_its_document() {
    let directory = checkout("manifests/samples/calico/seed");
    for (name, digest) in [
        ("bgpconfiguration-default.yaml", "ea2e701ba0759c11f6e91b89bf932e0f80148d24811eed289858e1268f656191"),
        ("ippool-purelb-ipv4.yaml", "5336c421c46e7095ec99334202f131f6c95c68234304eea45324279ed287257b"),
        ("ippool-purelb-ipv6.yaml", "781735b60bb9fc851ce3ae4c7b2a81bb36824f52a8fc274a1cd043ce8e54bc5d"),
        ("servicegroup-ipv4-routed.yaml", "e7b0f622b6dfa9589d8a7b7fa5d55164323f4907ed00eb01f000044b20622dcd"),
        ("servicegroup-ipv6-routed.yaml", "a5f7dde664d6373c1102b76282493c0837c802caafa175003ff44b1a66b653f1"),
    ] {
        let bytes = std::fs::read(directory.join(name)).unwrap();
        let found = Sha256::digest(&bytes).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        assert_eq!(
            found, digest,
            "{name} is no longer what the document says; changes belong into the overlay above it"
        );
    }
}

/// The objects of a kustomization, as text.
fn rendered(directory: &str) -> String {
    let cache = std::env::var_os("PURELB_CACHE")
        .map_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cache/purelb"), std::path::PathBuf::from);
    let output =
        Command::new(cache.join("bin/k8s")).args(["kubectl", "kustomize"]).arg(checkout(directory)).output().unwrap();
    assert!(output.status.success(), "{directory}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_kustomization_renders() {
    for (directory, words) in [
        ("manifests", "namespace: purelb\n"),
        ("manifests/overlays/purelb-system", "namespace: purelb-system\n"),
        ("manifests/samples/calico", "name: purelb\n    value: 100:100"),
        ("manifests/samples/external-ipam", "- --socket=/var/run/purelb/ipam.sock"),
        ("e2e/tests/repository/external-ipam-volume", "claimName: purelb-ipam"),
        ("manifests/samples/local", "kind: ServiceGroup"),
        ("manifests/samples/services", "purelb.io/service-group: ipv4-routed,ipv6-routed"),
    ] {
        let text = rendered(directory);
        assert!(text.contains(words), "{directory}: {text}");
    }
}

/// The rendered object of this kind and name.
fn object(directory: &str, kind: &str, name: &str) -> serde_json::Value {
    serde_yaml_ng::Deserializer::from_str(&rendered(directory))
        .map(|document| serde::Deserialize::deserialize(document).unwrap())
        .find(|object: &serde_json::Value| object["kind"] == kind && object["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("{directory}: no {kind} {name}"))
}

#[test]
fn agents_leave_when_they_are_told_to_and_not_for_a_condition_of_the_node() {
    let daemon_set = object("manifests", "DaemonSet", "lbnodeagent");
    let spec = &daemon_set["spec"]["template"]["spec"];
    assert_eq!(spec["terminationGracePeriodSeconds"], 30);
    let tolerations = spec["tolerations"].as_array().unwrap();
    assert!(tolerations.contains(&serde_json::json!({"operator": "Exists", "effect": "NoSchedule"})));
    let keys: BTreeSet<&str> = tolerations
        .iter()
        .filter(|toleration| toleration["effect"] != "NoSchedule")
        .map(|toleration| {
            // Without a key it would be every taint, without an effect every effect of this one.
            assert!(
                toleration["effect"] == "NoExecute" && toleration.get("tolerationSeconds").is_none(),
                "{toleration}"
            );
            toleration["key"].as_str().unwrap()
        })
        .collect();
    // The well-known taints of nodes; the agent tells by the same beginning whether it is to leave.
    let known = [
        "disk-pressure",
        "memory-pressure",
        "network-unavailable",
        "not-ready",
        "out-of-service",
        "pid-pressure",
        "unreachable",
        "unschedulable",
    ];
    assert!(keys.iter().copied().eq(known.map(|name| format!("node.kubernetes.io/{name}")).iter().map(String::as_str)));
}

#[test]
fn agents_may_read_one_secret_wherever_they_are_installed() {
    for (directory, namespace) in [("manifests", "purelb"), ("manifests/overlays/purelb-system", "purelb-system")] {
        let secret = object(directory, "Secret", "purelb-gossip");
        let role = object(directory, "Role", "purelb:lbnodeagent");
        assert!(secret["metadata"]["namespace"] == namespace && role["metadata"]["namespace"] == namespace);
        let secrets: Vec<_> =
            role["rules"].as_array().unwrap().iter().filter(|rule| rule["resources"][0] == "secrets").collect();
        let expected = serde_json::json!({"apiGroups": [""], "resources": ["secrets"],
            "resourceNames": ["purelb-gossip"], "verbs": ["get", "list", "watch"]});
        assert_eq!(secrets, [&expected]);
        let everywhere = object(directory, "ClusterRole", "purelb:lbnodeagent");
        assert!(!everywhere["rules"].to_string().contains("secrets"));
        let ports =
            &object(directory, "DaemonSet", "lbnodeagent")["spec"]["template"]["spec"]["containers"][0]["ports"];
        assert_eq!(ports[1], serde_json::json!({"name": "gossip", "containerPort": 7475, "protocol": "UDP"}));
    }
}

/// With `Recreate` a pod on a node that is gone keeps an upgrade from starting any other.
#[test]
fn an_upgrade_with_a_sidecar_never_waits_for_a_pod_that_cannot_end() {
    for directory in ["manifests", "manifests/samples/external-ipam", "e2e/tests/repository/external-ipam-volume"] {
        let deployment = object(directory, "Deployment", "allocator");
        let strategy = &deployment["spec"]["strategy"];
        assert!(strategy.is_null() || strategy["type"] == "RollingUpdate", "{directory}: {strategy}");
    }
    let volume = object("e2e/tests/repository/external-ipam-volume", "Deployment", "allocator");
    let spec = &volume["spec"]["template"]["spec"];
    let sidecar = spec["containers"].as_array().unwrap().iter().find(|it| it["name"] == "ipam-sidecar").unwrap();
    let state =
        sidecar["args"].as_array().unwrap().iter().find_map(|it| it.as_str()?.strip_prefix("--state=")).unwrap();
    let mounts = sidecar["volumeMounts"].as_array().unwrap();
    let kept = mounts.iter().find(|it| it["name"] == "ipam-state").unwrap();
    assert!(state.starts_with(kept["mountPath"].as_str().unwrap()), "{state}");
}

#[test]
fn the_allocator_may_write_what_it_owes_to_sidecars_and_tell_the_cluster_wherever_it_is_installed() {
    for (directory, namespace) in [("manifests", "purelb"), ("manifests/overlays/purelb-system", "purelb-system")] {
        let record = object(directory, "ConfigMap", api_types::names::OWED_RECORD);
        assert!(record["metadata"]["namespace"] == namespace && record["data"].is_null(), "{record}");
        let rule = |kind: &str, resource: &str| {
            let role = object(directory, kind, "purelb:allocator");
            let rules = role["rules"].as_array().unwrap();
            rules.iter().find(|rule| rule["resources"][0] == resource).cloned().unwrap()
        };
        let expected = serde_json::json!({"apiGroups": [""], "resources": ["configmaps"],
            "resourceNames": [api_types::names::OWED_RECORD], "verbs": ["get", "patch"]});
        assert_eq!(rule("Role", "configmaps"), expected);
        let expected = serde_json::json!({"apiGroups": [""], "resources": ["namespaces"],
            "resourceNames": ["kube-system"], "verbs": ["get"]});
        assert_eq!(rule("ClusterRole", "namespaces"), expected);
    }
}

#[test]
fn agents_may_read_calicos_peers_and_share_a_directory_with_the_speaker() {
    for directory in ["manifests", "manifests/overlays/purelb-system"] {
        let role = object(directory, "ClusterRole", "purelb:lbnodeagent-bfd");
        let rules = serde_json::json!([{"apiGroups": ["crd.projectcalico.org", "projectcalico.org"],
            "resources": ["bgppeers", "bgpconfigurations", "bgpfilters"], "verbs": ["get", "list", "watch"]}]);
        assert_eq!(role["rules"], rules);
        for name in ["lbnodeagent", "bfd-speaker"] {
            let spec = &object(directory, "DaemonSet", name)["spec"]["template"]["spec"];
            assert_eq!(spec["securityContext"]["supplementalGroups"], serde_json::json!([63784]), "{name}");
        }
    }
}
