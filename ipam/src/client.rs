//! The client of a sidecar. Its connection is made when it is needed, and again when it breaks.

use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::connection::{Diagnosis, Head, connect};
use crate::message::{
    AllocateRequest, AllocateResponse, ListRequest, ListResponse, ReleaseRequest, ReleaseResponse, StatsRequest,
    StatsResponse,
};
use crate::{ALLOCATE, LIST, RELEASE, SERVICE, STATS};

/// The largest answer that is read, in bytes. Only the list of ranges for people has no bound of its own.
const LARGEST: usize = 256 * 1024;
/// The largest page of a list that is read, in bytes: 1000 allocations with the longest names and 16 addresses each.
const LARGEST_PAGE: usize = 2 * 1024 * 1024;

/// How a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nobody was reached who speaks the protocol. Other calls would fail in the same way.
    Unreachable,
    /// The connection broke while the call was under way, or the sidecar broke it off. The call may be the cause.
    Broken,
    /// There was no answer in time. That says nothing about other calls.
    NoAnswer,
    /// The sidecar answered with an error.
    Refused,
}

/// Why a call failed.
#[derive(Debug, Clone)]
pub struct CallError {
    /// How.
    pub failure: Failure,
    /// The status, with a message for people.
    pub status: Status,
}

/// A connection to a sidecar. Clones share it.
#[derive(Debug, Clone)]
pub struct Sidecar {
    grpc: Grpc<Channel>,
    deadline: Duration,
    socket: PathBuf,
    head: Head,
}

impl Sidecar {
    /// The sidecar that listens on this socket. Nothing is sent before the first call.
    ///
    /// `deadline` bounds each call, including the connection.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>, deadline: Duration) -> Self {
        let socket = socket.into();
        let head = Head::default();
        let connector = service_fn({
            let (socket, head) = (socket.clone(), head.clone());
            move |_| {
                let (socket, head) = (socket.clone(), head.clone());
                async move { connect(&socket, head).await.map(TokioIo::new) }
            }
        });
        // The connector ignores the host name, but HTTP/2 needs one.
        let endpoint = Endpoint::from_static("http://localhost").connect_timeout(deadline);
        let channel = endpoint.connect_with_connector_lazy(connector);
        Self { grpc: Grpc::new(channel).max_decoding_message_size(LARGEST), deadline, socket, head }
    }

    /// Asks for addresses.
    ///
    /// # Errors
    /// The status that the sidecar answers, `Unavailable` if it cannot be reached, or `DeadlineExceeded` if it does not answer
    /// in time; the message says what to do.
    pub async fn allocate(&self, request: AllocateRequest) -> Result<AllocateResponse, CallError> {
        self.call(request, ALLOCATE).await
    }

    /// Gives addresses back.
    ///
    /// # Errors
    /// Those of [`allocate`](Self::allocate).
    pub async fn release(&self, request: ReleaseRequest) -> Result<ReleaseResponse, CallError> {
        self.call(request, RELEASE).await
    }

    /// Asks how many addresses there are and how many are in use.
    ///
    /// # Errors
    /// Those of [`allocate`](Self::allocate).
    pub async fn stats(&self, request: StatsRequest) -> Result<StatsResponse, CallError> {
        self.call(request, STATS).await
    }

    /// Lists allocations.
    ///
    /// # Errors
    /// Those of [`allocate`](Self::allocate).
    pub async fn list(&self, request: ListRequest) -> Result<ListResponse, CallError> {
        let grpc = self.grpc.clone().max_decoding_message_size(LARGEST_PAGE);
        Self { grpc, ..self.clone() }.call(request, LIST).await
    }

    async fn call<Q, A>(&self, request: Q, path: &'static str) -> Result<A, CallError>
    where
        Q: prost::Message + Default + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.grpc.clone();
        let mut request = Request::new(request);
        // The sidecar learns when nobody waits any more. Ours is a little shorter, because its error is clearer.
        request.set_timeout(self.deadline + self.deadline / 10);
        let answer = async move {
            grpc.ready().await.map_err(|error| self.failed(&error, Failure::Unreachable))?;
            let codec = ProstCodec::<Q, A>::default();
            let answer = grpc.unary(request, http::uri::PathAndQuery::from_static(path), codec).await;
            answer.map_err(|status| match std::error::Error::source(&status) {
                Some(cause) => self.failed(cause, Failure::Broken),
                None => refused(status, path),
            })
        };
        tokio::time::timeout(self.deadline, answer).await.map_or_else(
            |_elapsed| {
                let status = Status::deadline_exceeded(format!("no answer within {:?}", self.deadline));
                Err(CallError { failure: Failure::NoAnswer, status })
            },
            |answer| answer.map(tonic::Response::into_inner),
        )
    }

    /// The call failed below gRPC: in this way, unless it is known that there is no sidecar.
    fn failed(&self, error: &(dyn std::error::Error + 'static), failure: Failure) -> CallError {
        let protocol = || self.head.foreign_protocol(&self.socket).map(|diagnosis| diagnosis.to_string());
        let (failure, text) = match diagnosis(error).or_else(protocol) {
            Some(text) => (Failure::Unreachable, text),
            None => (failure, chain(error)),
        };
        CallError { failure, status: Status::unavailable(text) }
    }
}

/// What was found when the connection was tried.
fn diagnosis(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(diagnosis) = error.downcast_ref::<Diagnosis>() {
            return Some(diagnosis.to_string());
        }
        next = error.source();
    }
    None
}

/// The sidecar answered with an error.
fn refused(status: Status, path: &str) -> CallError {
    match status.code() {
        Code::Unimplemented => {
            let text = format!(
                "{}; the sidecar does not serve {path}: if it serves another version of the protocol than {SERVICE}, use a release of it for this one",
                status.message()
            );
            CallError { failure: Failure::Refused, status: Status::unimplemented(text) }
        }
        // It has passed the deadline on to others, and these did not answer it.
        Code::DeadlineExceeded | Code::Cancelled => CallError { failure: Failure::NoAnswer, status },
        _ => CallError { failure: Failure::Refused, status },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_of_the_protocol_is_told() {
        let error = refused(Status::unimplemented("unknown service"), STATS);
        assert_eq!(error.failure, Failure::Refused);
        let text = error.status.message();
        assert!(text.contains("another version of the protocol than purelb.ipam.v1.IPAM"), "{text}");
        // Others did not answer the sidecar in time.
        assert_eq!(refused(Status::deadline_exceeded("netbox"), ALLOCATE).failure, Failure::NoAnswer);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_call_that_breaks_its_connection_is_no_sidecar_that_is_not_there() {
        let socket = std::env::temp_dir().join(format!("purelb-breaks-{}.sock", std::process::id()));
        let sidecar = Sidecar::new(&socket, Duration::from_secs(5));
        let absent = sidecar.stats(StatsRequest::default()).await.unwrap_err();
        assert_eq!(absent.failure, Failure::Unreachable);
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let dies = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // The preface and the first frames, so that the call has been sent.
            std::io::Read::read_exact(&mut stream, &mut [0; 40]).unwrap();
        });
        let broken = sidecar.allocate(AllocateRequest::default()).await.unwrap_err();
        dies.join().unwrap();
        std::fs::remove_file(&socket).unwrap();
        assert_eq!(broken.failure, Failure::Broken, "{broken:?}");
    }
}
