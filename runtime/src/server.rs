//! The HTTP server of `/metrics`, `/healthz` and `/readyz`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::process::ProcessMetrics;

/// Whether the program is ready, and the reason if it is not.
///
/// Clones share one state. At first it is not ready.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<Mutex<Result<(), String>>>);

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Err("starting".to_owned()))))
    }
}

impl Readiness {
    /// Sets the state to ready.
    pub fn ready(&self) {
        self.set(Ok(()));
    }

    /// Sets the state to not ready, with a reason.
    pub fn unready(&self, why: impl Into<String>) {
        self.set(Err(why.into()));
    }

    fn set(&self, state: Result<(), String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// The state.
    ///
    /// # Errors
    /// The reason why the program is not ready, for people to read.
    pub fn get(&self) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Clone)]
struct Shared {
    registry: Registry,
    process: ProcessMetrics,
    readiness: Readiness,
}

/// A server that listens but does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Starts to listen on the address `host`, or on all addresses of both families if there is none.
    ///
    /// # Errors
    /// The port is in use, or `host` is not an address of this machine.
    pub async fn bind(host: Option<IpAddr>, port: u16) -> io::Result<Self> {
        let listener = match host {
            Some(host) => TcpListener::bind((host, port)).await?,
            None => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
                Ok(listener) => listener,
                // The machine has no IPv6.
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?
                }
                Err(error) => return Err(error),
            },
        };
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it listens. If port 0 was requested, this has the port that the kernel chose.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until `stop` is cancelled, and then finishes the requests under way. The caller has to limit
    /// the time for that.
    ///
    /// `extra` adds further paths.
    ///
    /// # Errors
    /// The listener fails, or `process_*` is registered already.
    pub async fn run(
        self,
        registry: Registry,
        readiness: Readiness,
        extra: Router,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let process = ProcessMetrics::new(&registry).map_err(io::Error::other)?;
        let shared = Shared { registry, process, readiness };
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .with_state(shared)
            .merge(extra);
        axum::serve(self.listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

async fn readyz(State(shared): State<Shared>) -> Response {
    match shared.readiness.get() {
        Ok(()) => "ok\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn metrics(State(shared): State<Shared>) -> Response {
    shared.process.refresh();
    match TextEncoder::new().encode_to_string(&shared.registry.gather()) {
        Ok(text) => {
            let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            ([(header::CONTENT_TYPE, content_type)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::Task;
    use crate::metrics::ClientMetrics;

    async fn get(port: u16, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn answers_and_stops() {
        let server = Server::bind(None, 0).await.unwrap();
        let port = server.address().port();
        let (readiness, stop, registry) = (Readiness::default(), CancellationToken::new(), Registry::new());
        ClientMetrics::new(&registry).unwrap();
        let extra = Router::new().route("/state", axum::routing::get(|| async { "state" }));
        let mut running = Task::spawn(server.run(registry, readiness.clone(), extra, stop.clone()));

        assert!(get(port, "/healthz").await.starts_with("HTTP/1.1 200"));
        readiness.unready("the list of Services is not complete");
        let answer = get(port, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("not complete"), "{answer}");
        readiness.ready();
        assert!(get(port, "/readyz").await.starts_with("HTTP/1.1 200"));
        let answer = get(port, "/metrics").await;
        assert!(
            answer.contains("process_resident_memory_bytes") && answer.contains("purelb_k8s_client_updates_total 0")
        );
        assert!(get(port, "/state").await.ends_with("state"));
        assert!(get(port, "/").await.starts_with("HTTP/1.1 404"));

        stop.cancel();
        running.join().await.unwrap().unwrap();
    }
}
