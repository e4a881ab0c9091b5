//! The API server is frozen. That is harder for its clients than its end: connections stay open, and nothing answers.

use e2e::BenchResult as Result;
use std::time::{Duration, Instant};

use crate::rows::steps::{AFTERWARDS, NOBODY, TAKEOVER, pass};
use crate::{
    bench::Bench,
    figures::{Sample, first_wrong_if},
};

/// Only the API server fails, for a minute.
pub(super) async fn stopped(bench: &Bench) -> Result<Vec<Sample>> {
    let watch = bench.watch().await?;
    let from = Instant::now();
    bench.cluster.control_plane().pause_api()?;
    pass(Duration::from_secs(60)).await;
    bench.cluster.control_plane().resume_api()?;
    let to = pass(AFTERWARDS * 2).await;
    watch.end(&[("api", from, to)])
}

/// The owner is cut off 0, 5, 10 or 15 s after the API server was frozen, so that in some runs the agents' knowledge is
/// old.
pub(super) async fn cut(bench: &Bench, run: u32) -> Result<Vec<Sample>> {
    let watch = bench.watch().await?;
    let owner = watch.owner()?;
    bench.cluster.control_plane().pause_api()?;
    pass(Duration::from_secs(5) * (run % 4)).await;
    let from = Instant::now();
    owner.isolate()?;
    let taken = watch.taken_over(TAKEOVER).await;
    let to = Instant::now();
    owner.rejoin()?;
    bench.cluster.control_plane().resume_api()?;
    // The return is measured by other events, in which the API server works.
    pass(AFTERWARDS).await;
    let samples = watch.end(&[("apicut", from, to)])?;
    Ok(first_wrong_if(!taken, NOBODY, samples))
}
