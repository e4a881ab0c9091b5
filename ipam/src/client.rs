//! The client of a sidecar. Its connection is made when it is needed, and again when it breaks.

use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::message::{AllocateRequest, AllocateResponse, ReleaseRequest, ReleaseResponse, StatsRequest, StatsResponse};
use crate::{ALLOCATE, RELEASE, STATS};

/// The largest answer that is read, in bytes. Only the list of ranges for people has no bound of its own.
const LARGEST: usize = 256 * 1024;

/// A connection to a sidecar. Clones share it.
#[derive(Debug, Clone)]
pub struct Sidecar {
    grpc: Grpc<Channel>,
    deadline: Duration,
}

impl Sidecar {
    /// The sidecar that listens on this socket. Nothing is sent before the first call.
    ///
    /// `deadline` bounds each call, including the connection.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>, deadline: Duration) -> Self {
        let socket = socket.into();
        let connector = service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        // The connector ignores the host name, but HTTP/2 needs one.
        let endpoint = Endpoint::from_static("http://localhost").connect_timeout(deadline);
        let channel = endpoint.connect_with_connector_lazy(connector);
        Self { grpc: Grpc::new(channel).max_decoding_message_size(LARGEST), deadline }
    }

    /// Asks for addresses.
    ///
    /// # Errors
    /// The status that the sidecar answers, `Unavailable` if it cannot be reached, or `DeadlineExceeded` if it does not answer
    /// in time.
    pub async fn allocate(&self, request: AllocateRequest) -> Result<AllocateResponse, Status> {
        self.call(request, ALLOCATE).await
    }

    /// Gives addresses back.
    ///
    /// # Errors
    /// Those of [`allocate`](Self::allocate).
    pub async fn release(&self, request: ReleaseRequest) -> Result<ReleaseResponse, Status> {
        self.call(request, RELEASE).await
    }

    /// Asks how many addresses there are and how many are in use.
    ///
    /// # Errors
    /// Those of [`allocate`](Self::allocate).
    pub async fn stats(&self, request: StatsRequest) -> Result<StatsResponse, Status> {
        self.call(request, STATS).await
    }

    async fn call<Q, A>(&self, request: Q, path: &'static str) -> Result<A, Status>
    where
        Q: prost::Message + Default + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.grpc.clone();
        let mut request = Request::new(request);
        // The sidecar learns when nobody waits any more. Ours is a little shorter, because its error is clearer.
        request.set_timeout(self.deadline + self.deadline / 10);
        let answer = async move {
            grpc.ready().await.map_err(|error| Status::unavailable(chain(&error)))?;
            let codec = ProstCodec::<Q, A>::default();
            grpc.unary(request, http::uri::PathAndQuery::from_static(path), codec).await
        };
        match tokio::time::timeout(self.deadline, answer).await {
            Ok(answer) => answer.map(tonic::Response::into_inner).map_err(|status| with_cause(&status)),
            Err(_) => Err(Status::deadline_exceeded(format!("no answer within {:?}", self.deadline))),
        }
    }
}

/// The status with its cause as message: a failed connection names the cause only in its sources.
fn with_cause(status: &Status) -> Status {
    match std::error::Error::source(status) {
        Some(source) => Status::new(status.code(), chain(source)),
        None => Status::new(status.code(), status.message()),
    }
}

/// An error with its causes. A cause that the text contains already is left out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.contains(&next_text) {
            text = format!("{text}: {next_text}");
        }
        cause = next.source();
    }
    text
}
