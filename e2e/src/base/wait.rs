//! Waiting for a condition, never for a length of time.

use std::{
    fmt::Display,
    thread,
    time::{Duration, Instant},
};

use crate::base::error::{Error, Result};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks again and again until `check` succeeds, and returns what it found.
///
/// `check` returns the value waited for, or as its error a description of what it saw instead; the last such
/// description is in the error of a time-out. `what` describes the condition: "node1 is Ready".
///
/// ```no_run
/// # async fn example(cluster: e2e::Cluster) -> e2e::Result<()> {
/// use std::time::Duration;
/// let routes = e2e::eventually(Duration::from_secs(5), "one route at the router", async || {
///     let routes = cluster.router().routes(e2e::Family::V4).map_err(|error| error.to_string())?;
///     if routes.len() == 1 { Ok(routes) } else { Err(format!("{routes:?}")) }
/// })
/// .await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Deadline`] when `check` has not succeeded within `deadline`. A check that hangs is cut short then.
pub async fn eventually<T, E: Display>(
    deadline: Duration,
    what: impl Display,
    mut check: impl AsyncFnMut() -> std::result::Result<T, E>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    let mut last = "nothing, the first look did not end".to_owned();
    loop {
        match tokio::time::timeout(end.saturating_duration_since(Instant::now()), check()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(seen)) => last = seen.to_string(),
            Err(_) => return Err(Error::Deadline { what: what.to_string(), deadline, last }),
        }
        if Instant::now() >= end {
            return Err(Error::Deadline { what: what.to_string(), deadline, last });
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// [`eventually`] for code outside a runtime; a check that hangs is not cut short.
///
/// # Errors
/// [`Error::Deadline`] when `check` has not succeeded within `deadline`.
pub fn eventually_blocking<T, E: Display>(
    deadline: Duration,
    what: impl Display,
    mut check: impl FnMut() -> std::result::Result<T, E>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    loop {
        match check() {
            Ok(value) => return Ok(value),
            Err(seen) if Instant::now() >= end => {
                return Err(Error::Deadline { what: what.to_string(), deadline, last: seen.to_string() });
            }
            Err(_) => thread::sleep(INTERVAL.min(Duration::from_millis(20))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reports_the_last_state_seen() {
        let mut looks = 0;
        let error = eventually::<(), _>(Duration::from_millis(120), "the moon", async || {
            looks += 1;
            Err(format!("look {looks}"))
        })
        .await
        .unwrap_err()
        .to_string();
        assert!(error.starts_with("the moon: not within 120ms; last seen: look "), "{error}");
    }

    #[tokio::test]
    async fn cuts_a_check_short_that_hangs() {
        let begin = Instant::now();
        let waited =
            eventually::<(), String>(Duration::from_millis(50), "nothing", async || std::future::pending().await);
        waited.await.unwrap_err();
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
}
