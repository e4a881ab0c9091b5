//! Nodes cut off, unplugged, without power.

use e2e::BenchResult as Result;
use std::{
    thread,
    time::{Duration, Instant},
};

use e2e::{Node, eventually};

use crate::rows::steps::{AFTERWARDS, TAKEOVER, end_with_return, pass};
use crate::{
    bench::Bench,
    figures::{Sample, first_wrong_if},
};

/// Nothing happens. This shows what the lab itself contributes to the other figures.
pub(super) async fn quiet(bench: &Bench) -> Result<Vec<Sample>> {
    let watch = bench.watch().await?;
    let from = Instant::now();
    let to = pass(Duration::from_secs(5)).await;
    watch.end(&[("quiet", from, to)])
}

/// The switch drops everything from and to the owner, which keeps its carrier.
pub(super) async fn cut(bench: &Bench) -> Result<Vec<Sample>> {
    away_and_back(bench, ["cut", "cut-back"], Node::isolate, Node::rejoin).await
}

/// The owner's cable is pulled, so it loses its carrier.
pub(super) async fn unplug(bench: &Bench) -> Result<Vec<Sample>> {
    away_and_back(bench, ["unplug", "unplug-back"], Node::cut, Node::join).await
}

/// An administrator sets the owner's interface down, which removes its IPv6 addresses and all routes.
pub(super) async fn ifdown(bench: &Bench) -> Result<Vec<Sample>> {
    away_and_back(bench, ["ifdown", "ifdown-back"], Node::unplug, Node::plug).await
}

/// The owner fails, another node takes over, and the former owner returns.
async fn away_and_back(
    bench: &Bench,
    lines: [&'static str; 2],
    away: impl Fn(&Node) -> e2e::Result<()>,
    back: impl Fn(&Node) -> e2e::Result<()>,
) -> Result<Vec<Sample>> {
    let watch = bench.watch().await?;
    let owner = watch.owner()?;
    let from = Instant::now();
    away(&owner)?;
    let taken = watch.taken_over(TAKEOVER).await;
    let returned = Instant::now();
    back(&owner)?;
    end_with_return(watch, taken, lines, [from, returned]).await
}

/// The owner and its first heir are cut off at the same moment.
pub(super) async fn both(bench: &Bench) -> Result<Vec<Sample>> {
    let watch = bench.watch().await?;
    let owner = watch.owner()?;
    let heir = bench.heir(&owner)?;
    let from = Instant::now();
    bench.cluster.isolate(&[&owner, &heir])?;
    let taken = watch.taken_over(TAKEOVER).await;
    let returned = Instant::now();
    owner.rejoin()?;
    heir.rejoin()?;
    end_with_return(watch, taken, ["both", "both-back"], [from, returned]).await
}

/// The owner loses its carrier and its processes at the same moment. Later it is switched on again.
pub(super) async fn power_off(bench: &Bench) -> Result<Vec<Sample>> {
    let watch = bench.watch().await?;
    let owner = watch.owner()?;
    let from = Instant::now();
    owner.power_off()?;
    let taken = watch.taken_over(TAKEOVER).await;
    let returned = Instant::now();
    owner.power_on()?;
    bench.cluster.agents_ready(Duration::from_secs(60)).await?;
    end_with_return(watch, taken, ["poweroff", "poweroff-back"], [from, returned]).await
}

/// All nodes are switched off, and are switched on again at the same moment.
pub(super) async fn all_together(bench: &Bench) -> Result<Vec<Sample>> {
    let watch = bench.watch().await?;
    let nodes: Vec<Node> = bench.cluster.nodes().collect();
    at_once(&nodes, Node::power_off)?;
    let from = Instant::now();
    at_once(&nodes, Node::power_on)?;
    // The interval between two checks limits the precision, which is sufficient here.
    let ready = eventually(Duration::from_secs(90), "an agent ready", async || {
        let ready = nodes.iter().find(|node| node.agent_page("/readyz").is_ok());
        ready.map(|_| Instant::now()).ok_or("none")
    })
    .await?;
    let answered = watch.answered(TAKEOVER).await;
    let to = pass(AFTERWARDS).await;
    bench.cluster.nodes_ready(Duration::from_secs(90)).await?;
    let samples = watch.end(&[("all", ready, to), ("all-double", from, to)])?;
    Ok(first_wrong_if(!answered, "nobody answered at the end", samples))
}

/// Does something to all nodes in parallel.
fn at_once(nodes: &[Node], work: impl Fn(&Node) -> e2e::Result<()> + Sync) -> Result<()> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = nodes.iter().map(|node| scope.spawn(move || work(node))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?.map_err(Into::into))
    })
}
