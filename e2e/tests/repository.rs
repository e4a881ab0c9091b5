//! Rules about the repository itself: its dependencies and its samples.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use e2e::checkout;
use sha2::{Digest, Sha256};

/// Licences that may be linked into the programs.
const LICENCES: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// The packages that the two programs are linked from, on Linux, as `cargo tree` gives them.
fn linked(format: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal", "--target", "x86_64-unknown-linux-gnu"])
        .args([
            "--package",
            "allocator",
            "--package",
            "lbnodeagent",
            "--prefix",
            "none",
            "--no-dedupe",
            "--format",
            format,
        ])
        .current_dir(checkout(""))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: BTreeSet<String> =
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).filter(|line| !line.is_empty()).collect();
    lines.into_iter().collect()
}

/// Whether a licence expression offers a choice that is in the list (SPDX, without nested choices).
fn allowed(expression: &str) -> bool {
    let expression = expression.replace(['(', ')'], " ").replace('/', " OR ");
    expression.split(" AND ").all(|all| all.split(" OR ").any(|one| LICENCES.contains(&one.trim())))
}

#[test]
fn dependencies_have_licences_that_we_may_ship() {
    let packages = linked("{p}\t{l}");
    assert!(packages.len() > 50, "{packages:?}");
    let refused: Vec<_> = packages
        .iter()
        // Our own crates are named with their path.
        .filter(|package| !package.contains(" (/"))
        .filter(|package| !package.split_once('\t').is_some_and(|(_, licence)| allowed(licence)))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn dependencies_come_in_one_version_each() {
    // Two generations of a library at once, because our dependencies do not agree yet.
    const TWICE: [(&str, &str); 4] = [
        ("base64", "kube-client is ahead of k8s-openapi"),
        ("getrandom", "ring and ahash are behind"),
        ("hashbrown", "kube-runtime is behind indexmap, which h2 needs for gRPC"),
        ("syn", "for macros only, never linked"),
    ];
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in linked("{p}") {
        let mut words = package.split(' ');
        let (name, version) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        versions.entry(name).or_default().insert(version);
    }
    versions.retain(|name, versions| versions.len() > 1 && !TWICE.iter().any(|(known, _)| known == name));
    assert!(versions.is_empty(), "{versions:#?}");
}

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

/// Whether a 64-bit little-endian ELF file asks for a program to load it (ELF specification, `PT_INTERP`).
fn has_interpreter(elf: &[u8]) -> bool {
    let number = |at: usize, bytes: usize| {
        elf[at..at + bytes].iter().rev().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte))
    };
    assert_eq!(&elf[..6], b"\x7fELF\x02\x01");
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).any(|header| number(table + header * size, 4) == 3)
}

#[test]
fn the_programs_are_small_static_and_start_at_once() {
    for program in ["allocator", "lbnodeagent", "bfd-speaker"] {
        let image = checkout(&format!("target/images/{program}.tar"));
        let size = std::fs::metadata(&image)
            .unwrap_or_else(|error| panic!("{}: {error}; run `make images`", image.display()))
            .len();
        assert!(size < 12_000_000, "the image of {program} has {size} bytes");
        let binary = checkout(&format!("target/bin/{program}"));
        assert!(std::fs::metadata(&binary).unwrap().len() < 12_000_000, "{program} is too big");
        assert!(!has_interpreter(&std::fs::read(&binary).unwrap()), "{program} needs a dynamic loader");
        assert!(Command::new(&binary).arg("--version").output().unwrap().status.success());
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
