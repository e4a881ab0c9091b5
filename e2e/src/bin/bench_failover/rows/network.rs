//! Networks that lose some frames (`e2e::Fault`).

use e2e::BenchResult as Result;
use std::time::{Duration, Instant};

use e2e::Fault;

use crate::rows::steps::{AFTERWARDS, NOBODY, TAKEOVER, pass};
use crate::{
    bench::Bench,
    figures::{Sample, first_wrong_if},
};

/// The gossip from and to the owner is lost, and everything else arrives.
pub(super) async fn gossip(bench: &Bench) -> Result<Vec<Sample>> {
    let owner = bench.watch().await?.owner()?;
    meanwhile(bench, "gossip", Duration::from_secs(15), || owner.drop_gossip()).await
}

/// The reverse: the owner has only the gossip and the API server.
pub(super) async fn all_but_gossip(bench: &Bench) -> Result<Vec<Sample>> {
    let watch = bench.watch().await?;
    let owner = watch.owner()?;
    let from = Instant::now();
    let fault = bench.cluster.drop_all_but_gossip(&owner)?;
    let taken = watch.taken_over(TAKEOVER).await;
    fault.end()?;
    let ended = Instant::now();
    let to = pass(AFTERWARDS).await;
    let samples = watch.end(&[("nogossip", from, ended), ("nogossip-back", ended, to)])?;
    Ok(first_wrong_if(!taken, NOBODY, samples))
}

/// The first heir receives nothing for 20 s, but what it sends arrives.
pub(super) async fn deaf(bench: &Bench) -> Result<Vec<Sample>> {
    let heir = bench.heir(&bench.watch().await?.owner()?)?;
    meanwhile(bench, "deaf", Duration::from_secs(20), || heir.drop_inbound()).await
}

/// The switch loses every fifth frame for a minute.
pub(super) async fn loss(bench: &Bench) -> Result<Vec<Sample>> {
    meanwhile(bench, "loss", Duration::from_secs(60), || bench.cluster.drop_frames(20)).await
}

/// Watches during a fault and some seconds longer.
async fn meanwhile(
    bench: &Bench,
    line: &'static str,
    lasts: Duration,
    fault: impl Fn() -> e2e::Result<Fault>,
) -> Result<Vec<Sample>> {
    let watch = bench.watch().await?;
    let from = Instant::now();
    let fault = fault()?;
    pass(lasts).await;
    fault.end()?;
    let to = pass(AFTERWARDS).await;
    watch.end(&[(line, from, to)])
}
