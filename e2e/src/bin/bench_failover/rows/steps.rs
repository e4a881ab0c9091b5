//! Steps that several events have in common.

use std::time::{Duration, Instant};

use e2e::BenchResult as Result;

use crate::{
    figures::{Sample, first_wrong_if},
    watch::Watch,
};

/// How long a run waits for a new owner. Other load balancers take up to 13 s.
pub(crate) const TAKEOVER: Duration = Duration::from_secs(30);

/// How long the watch continues after the end of an event, so that it sees what happens when the node returns.
pub(crate) const AFTERWARDS: Duration = Duration::from_secs(5);

/// Waits, and returns the time afterwards.
pub(crate) async fn pass(time: Duration) -> Instant {
    tokio::time::sleep(time).await;
    Instant::now()
}

/// The note of a run without a new owner.
pub(crate) const NOBODY: &str = "nobody took over";

/// Ends the watch of an event with two phases, the failure and the return, which have a line of the table each.
pub(crate) async fn end_with_return(
    watch: Watch<'_>,
    taken: bool,
    lines: [&'static str; 2],
    [from, returned]: [Instant; 2],
) -> Result<Vec<Sample>> {
    let to = pass(AFTERWARDS).await;
    let [away, back] = lines;
    let samples = watch.end(&[(away, from, returned), (back, returned, to)])?;
    Ok(first_wrong_if(!taken, NOBODY, samples))
}
