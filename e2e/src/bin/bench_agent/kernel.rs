//! The same addresses without an agent: what `ip -batch` and the kernel need for them.

use e2e::BenchResult as Result;
use std::{
    fmt::Write as _,
    net::IpAddr,
    time::{Duration, Instant},
};

use e2e::{Family, Node};

use crate::setup::DUMMY;

/// The name of the interface that the measurement uses.
const LINK: &str = "bench0";

/// How long `ip -batch` takes to do something with all addresses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch {
    /// To add them to an interface.
    pub(crate) add: Duration,
    /// To change their lifetimes.
    pub(crate) change: Duration,
    /// To delete them.
    pub(crate) delete: Duration,
}

/// Measures that on an interface of its own, of the same type as the one for remote addresses.
pub(crate) fn by_batch(node: &Node, family: Family, addresses: &[IpAddr]) -> Result<Batch> {
    // If the kernel has no dummy interfaces, the lab uses an ifb.
    if node.exec(&["ip", "link", "add", LINK, "type", "dummy"]).is_err() {
        node.exec(&["ip", "link", "add", LINK, "type", "ifb"])?;
    }
    node.exec(&["ip", "link", "set", LINK, "up"])?;
    // Without duplicate address detection, like the agent.
    let nodad = if family == Family::V6 { " nodad" } else { "" };
    let run = |verb: &str, more: &str| -> Result<Duration> {
        let mut batch = String::new();
        for address in addresses {
            writeln!(batch, "address {verb} {address}/{} dev {LINK}{more}", family.bits())?;
        }
        let begin = Instant::now();
        node.exec_with_input(&["ip", "-batch", "-"], batch)?;
        Ok(begin.elapsed())
    };
    let lifetimes = format!("{nodad} valid_lft 180 preferred_lft 180");
    let done = run("add", nodad).and_then(|add| {
        let change = run("replace", &lifetimes)?;
        Ok(Batch { add, change, delete: run("delete", "")? })
    });
    node.exec(&["ip", "link", "delete", LINK])?;
    done
}

/// Removes all addresses from the interface for remote addresses.
pub(crate) fn flush(node: &Node) -> Result<()> {
    node.exec(&["ip", "address", "flush", "dev", DUMMY, "scope", "global"])?;
    Ok(())
}
