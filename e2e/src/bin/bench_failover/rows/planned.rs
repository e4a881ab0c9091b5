//! Moves that a user asks for.

use e2e::BenchResult as Result;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::rows::steps::{AFTERWARDS, TAKEOVER, end_with_return, pass};
use crate::{
    bench::Bench,
    figures::{Sample, first_wrong_if},
};

/// The owner gets the exclusion label; later the label is removed.
pub(super) async fn exclusion(bench: &Bench) -> Result<Vec<Sample>> {
    let watch = bench.watch().await?;
    let owner = watch.owner()?;
    let from = Instant::now();
    bench.exclude(&owner, true).await?;
    let moved = watch.taken_over(TAKEOVER).await;
    let ended = Instant::now();
    bench.exclude(&owner, false).await?;
    end_with_return(watch, moved, ["exclusion", "exclusion-end"], [from, ended]).await
}

/// The LBNodeAgent's node selector stops selecting the owner, and selects it again later.
pub(super) async fn selector(bench: &Bench) -> Result<Vec<Sample>> {
    bench.agent_config(None, &json!({})).await?;
    let samples = left_out(bench).await;
    bench.without_agent_config().await?;
    samples
}

async fn left_out(bench: &Bench) -> Result<Vec<Sample>> {
    let watch = bench.watch().await?;
    let owner = watch.owner()?;
    let from = Instant::now();
    bench.agent_config(Some(&owner), &json!({})).await?;
    let moved = watch.taken_over(TAKEOVER).await;
    let ended = Instant::now();
    bench.agent_config(None, &json!({})).await?;
    end_with_return(watch, moved, ["selector", "selector-end"], [from, ended]).await
}

/// The annotation `purelb.io/rebalance` moves the addresses to their first candidate, which does not have them.
pub(super) async fn rebalance(bench: &Bench) -> Result<Vec<Sample>> {
    away_from_the_first_choice(bench).await?;
    let watch = bench.watch().await?;
    let from = Instant::now();
    bench.rebalance().await?;
    let moved = watch.taken_over(TAKEOVER).await;
    let to = pass(AFTERWARDS).await;
    let samples = watch.end(&[("rebalance", from, to)])?;
    Ok(first_wrong_if(!moved, "it did not move", samples))
}

/// Moves the addresses away from their first candidate by excluding that node for a while.
async fn away_from_the_first_choice(bench: &Bench) -> Result<()> {
    let watch = bench.watch().await?;
    let owner = watch.owner()?;
    let [address, _] = bench.addresses;
    if bench.cluster.order(address).first().is_some_and(|first| first.id() == owner.id()) {
        bench.exclude(&owner, true).await?;
        watch.taken_over(TAKEOVER).await;
        bench.exclude(&owner, false).await?;
    }
    Ok(())
}

/// The owner is excluded, and its successor fails 0 to 19 ms later. In every other run its agent is suspended; in the
/// others the switch drops everything from and to the node.
pub(super) async fn successor(bench: &Bench, run: u32) -> Result<Vec<Sample>> {
    let watch = bench.watch().await?;
    let owner = watch.owner()?;
    let successor = bench.heir(&owner)?;
    let agent = successor.agent_pid()?;
    let from = Instant::now();
    bench.exclude(&owner, true).await?;
    pass(Duration::from_millis(u64::from(run % 20))).await;
    let frozen = if run.is_multiple_of(2) {
        Some(successor.freeze(agent)?)
    } else {
        successor.isolate()?;
        None
    };
    let moved = watch.taken_over(TAKEOVER).await;
    let to = pass(AFTERWARDS).await;
    let how = if frozen.is_some() { "its agent stopped" } else { "it was cut off" };
    drop(frozen);
    successor.rejoin()?;
    bench.exclude(&owner, false).await?;
    pass(AFTERWARDS).await;
    let samples = watch.end(&[("successor", from, to)])?;
    Ok(first_wrong_if(!moved, &format!("{how} after {} ms, and nobody took over", run % 20), samples))
}
