//! The API server out of reach. It is frozen, which is harder than dead: connections stay open, and nothing is
//! answered.

use e2e::BenchResult as Result;
use std::time::{Duration, Instant};

use crate::rows::steps::{AFTERWARDS, NOBODY, TAKEOVER, pass};
use crate::{
    bench::Bench,
    figures::{Sample, first_wrong_if},
};

/// Nothing but the API server fails, for a minute.
pub(super) async fn stopped(bench: &Bench) -> Result<Vec<Sample>> {
    let watch = bench.watch().await?;
    let from = Instant::now();
    bench.cluster.control_plane().pause_api()?;
    pass(Duration::from_secs(60)).await;
    bench.cluster.control_plane().resume_api()?;
    let to = pass(AFTERWARDS * 2).await;
    watch.end(&[("api", from, to)])
}

/// The owner is cut off 0, 5, 10 or 15 s after the API server stopped, so that what agents know is old in some runs.
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
    // What happens at the return, with an API server that wakes up, is measured by other rows.
    pass(AFTERWARDS).await;
    let samples = watch.end(&[("apicut", from, to)])?;
    Ok(first_wrong_if(!taken, NOBODY, samples))
}
