//! The connections to sidecars, with a deadline over each call.

use std::collections::BTreeMap;
use std::time::Duration;

use ::ipam::client::Sidecar;
use ::ipam::{ALLOCATE, Code, RELEASE, STATS, Status};
use tokio::time::Instant;
use tracing::debug;

use super::call::{self, Call, Reply, Request, Trouble};
use crate::metrics::SidecarMetrics;

/// Sends calls.
#[derive(Debug)]
pub struct Desk {
    deadline: Duration,
    sidecars: BTreeMap<String, Sidecar>,
    metrics: SidecarMetrics,
}

impl Desk {
    /// No connection is made before the first call. `deadline` bounds each call.
    #[must_use]
    pub const fn new(deadline: Duration, metrics: SidecarMetrics) -> Self {
        Self { deadline, sidecars: BTreeMap::new(), metrics }
    }

    /// Sends a call; its answer comes within the deadline.
    pub fn send(&mut self, call: Call) -> impl Future<Output = (Call, Result<Reply, Trouble>)> + Send + use<> {
        let deadline = self.deadline;
        let sidecar =
            self.sidecars.entry(call.socket.clone()).or_insert_with(|| Sidecar::new(&call.socket, deadline)).clone();
        let metrics = self.metrics.clone();
        async move {
            let begin = Instant::now();
            let (method, result) = answer(&sidecar, &call).await;
            let code = result.as_ref().map_or_else(|(code, _)| code.as_str(), |_| "OK");
            metrics.count(&call.socket, method, code, begin.elapsed());
            debug!(op = "ipam", socket = call.socket, group = call.group, method, code, "called the sidecar");
            (call, result.map_err(|(_, trouble)| trouble))
        }
    }
}

/// The answer as data; an error with the code for the metric.
async fn answer(sidecar: &Sidecar, call: &Call) -> (&'static str, Result<Reply, (String, Trouble)>) {
    let failed = |status: Status| (format!("{:?}", status.code()), Trouble::from(&status));
    let group = &call.group;
    match &call.request {
        Request::Allocate(service, ask) => {
            let answer = sidecar.allocate(call::allocate(group, service, ask)).await.map_err(failed);
            let read = |answer| {
                call::addresses(&answer).map(Reply::Addresses).map_err(|trouble| ("Malformed".to_owned(), trouble))
            };
            (ALLOCATE, answer.and_then(read))
        }
        Request::Release(service, address) => {
            let answer = match sidecar.release(call::release(group, service, *address)).await {
                // What is not there has been given back.
                Err(status) if matches!(status.code(), Code::NotFound | Code::AlreadyExists) => Ok(Reply::Released),
                answer => answer.map(|_| Reply::Released).map_err(failed),
            };
            (RELEASE, answer)
        }
        Request::Stats => {
            let answer = sidecar.stats(call::stats(group)).await.map_err(failed);
            (STATS, answer.map(|answer| Reply::Stats(call::numbers(answer))))
        }
    }
}
