//! What the programs are linked from: licences that we may ship, one version of each crate.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use e2e::checkout;

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
