//! The events. Each function makes one run of one event. It begins with a healthy cluster and leaves a healthy one.
//!
//! | Module | Events |
//! |---|---|
//! | `node` | nodes cut off, unplugged, switched off |
//! | `agent` | agents killed, suspended, replaced |
//! | `planned` | moves that a user asks for |
//! | `network` | networks that lose some frames |
//! | `api` | the API server out of reach |
//! | `foreign` | an address that a foreign host uses |
//! | `routed` | routed addresses behind the router |
//! | `living` | nodes that live while the router follows them by BFD |
//! | `steps` | what several events have in common |

mod agent;
mod api;
mod foreign;
mod living;
mod network;
mod node;
mod planned;
mod routed;
mod steps;

use std::{pin::Pin, time::Duration};

use e2e::BenchResult as Result;

use crate::{bench::Bench, figures::Sample};

/// The samples of one run.
type Run<'a> = Pin<Box<dyn Future<Output = Result<Vec<Sample>>> + 'a>>;

/// An event.
pub(crate) struct Row {
    /// Its name in `ROWS=`, and that of its first line in the table.
    pub(crate) name: &'static str,
    /// The default number of runs.
    pub(crate) usual: u32,
    /// Makes one run. Some events vary with the number of the run.
    pub(crate) make: for<'a> fn(&'a Bench, u32) -> Run<'a>,
}

const fn row(name: &'static str, usual: u32, make: for<'a> fn(&'a Bench, u32) -> Run<'a>) -> Row {
    Row { name, usual, make }
}

/// All events. Those that take long come last.
pub(crate) const ROWS: [Row; 30] = [
    row("quiet", 5, |bench, _| Box::pin(node::quiet(bench))),
    row("cut", 20, |bench, _| Box::pin(node::cut(bench))),
    row("both", 20, |bench, _| Box::pin(node::both(bench))),
    row("unplug", 20, |bench, _| Box::pin(node::unplug(bench))),
    row("ifdown", 20, |bench, _| Box::pin(node::ifdown(bench))),
    row("kill", 20, |bench, _| Box::pin(agent::kill(bench))),
    row("exclusion", 20, |bench, _| Box::pin(planned::exclusion(bench))),
    row("selector", 20, |bench, _| Box::pin(planned::selector(bench))),
    row("rebalance", 20, |bench, _| Box::pin(planned::rebalance(bench))),
    row("successor", 20, |bench, run| Box::pin(planned::successor(bench, run))),
    row("apicut", 20, |bench, run| Box::pin(api::cut(bench, run))),
    row("poweroff", 20, |bench, _| Box::pin(node::power_off(bench))),
    row("gossip", 5, |bench, _| Box::pin(network::gossip(bench))),
    row("nogossip", 20, |bench, _| Box::pin(network::all_but_gossip(bench))),
    row("rollout", 10, |bench, _| Box::pin(agent::rollout(bench))),
    row("pause", 5, |bench, _| Box::pin(agent::pause(bench))),
    row("deaf", 5, |bench, _| Box::pin(network::deaf(bench))),
    row("before", 5, |bench, _| Box::pin(foreign::before_us(bench))),
    row("after", 3, |bench, _| Box::pin(foreign::after_us(bench))),
    row("loss", 3, |bench, _| Box::pin(network::loss(bench))),
    row("api", 3, |bench, _| Box::pin(api::stopped(bench))),
    row("gone", 3, |bench, _| Box::pin(agent::gone(bench))),
    row("all", 5, |bench, _| Box::pin(node::all_together(bench))),
    row("routed", 20, |bench, _| Box::pin(routed::cut(bench, "routed", Some(Duration::from_millis(300))))),
    row("routed100", 20, |bench, _| Box::pin(routed::cut(bench, "routed100", Some(Duration::from_millis(100))))),
    row("routedreboot", 5, |bench, _| Box::pin(routed::reboot(bench, "routedreboot", Duration::from_millis(300)))),
    row("routedrollout", 3, |bench, _| Box::pin(living::rollout(bench))),
    row("routedkill", 10, |bench, _| Box::pin(living::kill(bench))),
    row("routedbusy", 1, |bench, _| Box::pin(living::busy(bench))),
    row("routedhold", 3, |bench, _| Box::pin(routed::cut(bench, "routedhold", None))),
];
