//! Objects of the cluster in, netlink out: what the kernel is told, address by address, as it tells everybody else.
//!
//! A file in `golden` has the objects of the first lists, and what happens then, a step at a time. Beside it lies what
//! the kernel said in each step (`INSTA_UPDATE=always make test-fast` writes it anew: read it before it is committed). The
//! kernel reports each family of addresses in order, and the two in any order, so they stand apart; so do local and
//! remote addresses, which are written by two threads.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use rstest::rstest;
use serde::Deserialize;
use serde_json::Value;

use crate::node::{Lan, Node};
use crate::support::{Monitor, in_namespace, ip};

/// Nothing has happened for so long: longer than it takes to ask the network before a claim.
const QUIET: Duration = Duration::from_millis(200);

/// A file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// The objects of the first lists.
    objects: Vec<Value>,
    /// What happens then.
    #[serde(default)]
    then: Vec<Step>,
}

/// Something that happens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// In words.
    what: String,
    /// Objects that are created or changed.
    #[serde(default)]
    apply: Vec<Value>,
    /// Objects that are deleted.
    #[serde(default)]
    delete: Vec<Value>,
    /// What somebody does by hand.
    #[serde(default)]
    ip: Vec<String>,
}

#[rstest]
fn golden(#[files("tests/kernel/golden/*.yaml")] path: PathBuf) {
    let case: Case = serde_yaml_ng::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
    in_namespace(|| async move {
        let text = run(case).await;
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("golden");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, text));
    });
}

async fn run(case: Case) -> String {
    let _lan = Lan::new().await;
    let monitor = Monitor::of(&["-d"], &["address"]);
    let node = Node::start().await;
    let mut seen = monitor.so_far().len();
    node.lists_of(&case.objects).await;
    let mut text = String::new();
    tell(&mut text, "the first lists", &node, &monitor, &mut seen).await;
    for step in case.then {
        for object in &step.apply {
            node.applied(object).await;
        }
        for object in &step.delete {
            node.deleted(object).await;
        }
        step.ip.iter().for_each(|command| drop(ip(command)));
        tell(&mut text, &step.what, &node, &monitor, &mut seen).await;
    }
    text
}

/// What the kernel has said since the last step.
async fn tell(text: &mut String, what: &str, node: &Node, monitor: &Monitor, seen: &mut usize) {
    let mut lines = monitor.so_far();
    loop {
        node.settles().await;
        tokio::time::sleep(QUIET).await;
        let now = monitor.so_far();
        if std::mem::replace(&mut lines, now).len() == lines.len() {
            break;
        }
    }
    let mut by_kind: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // The kernel gives those to every interface.
    for line in lines[*seen..].iter().filter(|line| !line.contains("inet6 fe80:")) {
        let (deleted, line) = line.strip_prefix("Deleted ").map_or(("", line.as_str()), |line| ("Deleted ", line));
        let mut words = line.split(' ').skip(1);
        let (interface, family) = (words.next().unwrap(), words.next().unwrap());
        // The label of an IPv4 address comes before its lifetimes, and what is left of those depends on when it goes.
        let words = words.take_while(|word| deleted.is_empty() || *word != "valid_lft");
        let rest: Vec<&str> = words.filter(|word| *word != format!("{interface}\\") && *word != "\\").collect();
        let kind = if interface == "eth0" { "local" } else { "remote" };
        let line = format!("{deleted}{interface} {}", rest.join(" "));
        by_kind.entry(format!("{kind} {family}")).or_default().push(line);
    }
    *seen = lines.len();
    writeln!(text, "{what}").unwrap();
    for (kind, lines) in by_kind {
        writeln!(text, "  {kind}").unwrap();
        for line in lines {
            writeln!(text, "    {line}").unwrap();
        }
    }
}
