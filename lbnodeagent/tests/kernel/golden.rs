//! Objects of the cluster in, changes of the kernel out: each change of an address, as `ip monitor` shows it.
//!
//! A scenario in `golden` has the objects of the first lists, and then steps. The file beside it has what the kernel
//! reported in each step. `INSTA_UPDATE=always make test-fast` writes it again; read the differences before you commit
//! them. The kernel reports the addresses of one family in order, but the two families in any order, so they are
//! separate. Local and remote addresses are separate too, because two threads write them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use rstest::rstest;
use serde::Deserialize;
use serde_json::Value;

use crate::node::{Lan, Node};
use crate::support::{Monitor, in_namespace, ip};

/// A step is over when nothing has happened for this time, which is longer than probing takes.
const QUIET: Duration = Duration::from_millis(200);

/// A scenario.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    /// The objects of the first lists.
    objects: Vec<Value>,
    /// The steps after them.
    #[serde(default)]
    then: Vec<Step>,
}

/// A step.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// What happens, in words.
    what: String,
    /// Objects that are created or changed.
    #[serde(default)]
    apply: Vec<Value>,
    /// Objects that are deleted.
    #[serde(default)]
    delete: Vec<Value>,
    /// Commands of `ip` that somebody runs by hand.
    #[serde(default)]
    ip: Vec<String>,
}

#[rstest]
fn golden(#[files("tests/kernel/golden/*.yaml")] path: PathBuf) {
    let scenario: Scenario = serde_yaml_ng::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
    in_namespace(|| async move {
        let text = run(scenario).await;
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("golden");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, text));
    });
}

async fn run(scenario: Scenario) -> String {
    let _lan = Lan::new().await;
    let monitor = Monitor::of(&["-d"], &["address"]);
    let node = Node::start().await;
    let mut seen = monitor.lines_so_far().len();
    node.deliver_lists_of(&scenario.objects).await;
    let mut text = String::new();
    report(&mut text, "the first lists", &node, &monitor, &mut seen).await;
    for step in scenario.then {
        for object in &step.apply {
            node.apply_object(object).await;
        }
        for object in &step.delete {
            node.delete_object(object).await;
        }
        step.ip.iter().for_each(|command| drop(ip(command)));
        report(&mut text, &step.what, &node, &monitor, &mut seen).await;
    }
    text
}

/// Writes what the kernel has reported since the last step.
async fn report(text: &mut String, what: &str, node: &Node, monitor: &Monitor, seen: &mut usize) {
    let mut lines = monitor.lines_so_far();
    loop {
        node.wait_until_idle().await;
        tokio::time::sleep(QUIET).await;
        let now = monitor.lines_so_far();
        if std::mem::replace(&mut lines, now).len() == lines.len() {
            break;
        }
    }
    let mut by_kind: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // The kernel gives link-local addresses to every interface.
    for line in lines[*seen..].iter().filter(|line| !line.contains("inet6 fe80:")) {
        let (deleted, line) = line.strip_prefix("Deleted ").map_or(("", line.as_str()), |line| ("Deleted ", line));
        let mut words = line.split(' ').skip(1);
        let (interface, family) = (words.next().unwrap(), words.next().unwrap());
        // The label of an IPv4 address comes before its lifetimes. Their remainder at the removal depends on the time.
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
