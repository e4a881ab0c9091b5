//! Sends calls to IPAM sidecars, with a deadline for each call.

use std::collections::BTreeMap;
use std::time::Duration;

use ::ipam::client::{self, Sidecar};
use ::ipam::{ALLOCATE, Code, LIST, RELEASE, STATS};
use tokio::time::Instant;
use tracing::debug;

use super::sidecar_messages::{
    addresses, allocate_request, call_error, list_request, listed, release_request, restore_request, stats,
    stats_request,
};
use crate::external::{Call, CallError, Request, Response};
use crate::metrics::SidecarMetrics;

/// The connections to all sidecars.
#[derive(Debug)]
pub struct SidecarClient {
    deadline: Duration,
    sidecars: BTreeMap<String, Sidecar>,
    metrics: SidecarMetrics,
}

impl SidecarClient {
    /// `deadline` bounds each call. No connection is made before the first call.
    #[must_use]
    pub const fn new(deadline: Duration, metrics: SidecarMetrics) -> Self {
        Self { deadline, sidecars: BTreeMap::new(), metrics }
    }

    /// Sends a call. The answer comes within the deadline.
    pub fn send(&mut self, call: Call) -> impl Future<Output = (Call, Result<Response, CallError>)> + Send + use<> {
        let deadline = self.deadline;
        let sidecar =
            self.sidecars.entry(call.socket.clone()).or_insert_with(|| Sidecar::new(&call.socket, deadline)).clone();
        let metrics = self.metrics.clone();
        async move {
            let begin = Instant::now();
            let (method, result) = answer(&sidecar, &call).await;
            let code = result.as_ref().map_or_else(|failed| failed.code.as_str(), |_| "OK");
            metrics.count(&call.socket, method, code, begin.elapsed());
            debug!(op = "ipam", socket = call.socket, group = call.group, method, code, "called the sidecar");
            (call, result.map_err(|failed| failed.error))
        }
    }
}

/// A call that failed.
struct Failed {
    /// The value of the label `code` of `purelb_allocator_sidecar_rpc_total`.
    code: String,
    error: CallError,
}

impl From<client::CallError> for Failed {
    fn from(error: client::CallError) -> Self {
        Self { code: format!("{:?}", error.status.code()), error: call_error(&error) }
    }
}

/// The method of a call, and its answer.
async fn answer(sidecar: &Sidecar, call: &Call) -> (&'static str, Result<Response, Failed>) {
    match &call.request {
        Request::Allocate(owner, request) => {
            let answer = sidecar.allocate(allocate_request(call, owner, request)).await.map_err(Failed::from);
            let malformed = |error| Failed { code: "Malformed".to_owned(), error };
            let read = |answer| addresses(&answer).map(Response::Addresses).map_err(malformed);
            (ALLOCATE, answer.and_then(read))
        }
        Request::Restore(owner, wanted, key) => {
            let answer = sidecar.allocate(restore_request(call, owner, wanted, key)).await.map_err(Failed::from);
            let malformed = |error| Failed { code: "Malformed".to_owned(), error };
            (ALLOCATE, answer.and_then(|answer| addresses(&answer).map(Response::Addresses).map_err(malformed)))
        }
        Request::Release(owner, address) => {
            let answer = match sidecar.release(release_request(call, owner, *address)).await {
                // A sidecar that does not have the address has taken it back.
                Err(error) if error.status.code() == Code::NotFound => Ok(Response::Released),
                answer => answer.map(|_| Response::Released).map_err(Failed::from),
            };
            (RELEASE, answer)
        }
        Request::List(page) => {
            let answer = sidecar.list(list_request(call, page)).await.map_err(Failed::from);
            (LIST, answer.map(|answer| listed(call, answer)))
        }
        Request::Stats => {
            let answer = sidecar.stats(stats_request(call)).await.map_err(Failed::from);
            (STATS, answer.map(|answer| Response::Stats(stats(answer))))
        }
    }
}
