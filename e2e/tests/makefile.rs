//! The lists in the Makefile agree with the files that they are read from.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeSet, fs, process::Command};

use e2e::checkout;

/// The output of a program that runs in the checkout.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        // This test may run below `make` itself.
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .current_dir(checkout(""))
        .output()
        .unwrap_or_else(|error| panic!("start {program}: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The words in a variable of the Makefile.
fn variable(name: &str) -> BTreeSet<String> {
    let rule = format!("print-variable:; @echo '$({name})'");
    let text = output("make", &["--silent", "--no-print-directory", "--eval", &rule, "print-variable"]);
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn members_are_those_of_the_workspace() {
    let metadata = output(env!("CARGO"), &["metadata", "--offline", "--locked", "--no-deps", "--format-version", "1"]);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let names: BTreeSet<String> = packages.iter().map(|package| package["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(variable("MEMBERS"), names);
}

#[test]
fn there_is_a_test_cluster_for_each_test_that_runs_at_a_time() {
    let runner = fs::read_to_string(checkout(".config/nextest.toml")).unwrap();
    let group = runner.lines().find_map(|line| line.strip_prefix("cluster = "));
    let threads =
        group.and_then(|group| group.split_once("max-threads = ")?.1.split([' ', '}', ',']).next()?.parse().ok());
    let count: usize = threads.expect("no max-threads of the group cluster in .config/nextest.toml");
    let names: BTreeSet<String> = (0..count).map(|slot| format!("test{slot}")).collect();
    assert_eq!(variable("TEST_CLUSTERS"), names);
}
