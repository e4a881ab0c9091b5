//! The HTTP server of `/metrics`, `/healthz` and `/readyz`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::process::ProcessMetrics;
use crate::scrape::ScrapeRequests;

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
    scrapes: Option<ScrapeRequests>,
}

/// A server that listens but does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    scrapes: Option<ScrapeRequests>,
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
        Ok(Self { listener, address, scrapes: None })
    }

    /// Where it listens. If port 0 was requested, this has the port that the kernel chose.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has each scrape wait until the program has brought its metrics up to date.
    #[must_use]
    pub fn before_scrapes(self, scrapes: ScrapeRequests) -> Self {
        Self { scrapes: Some(scrapes), ..self }
    }

    /// Answers requests until `stop` is cancelled, and then finishes the requests under way. The caller has to limit
    /// the time for that.
    ///
    /// `extra` adds further paths, which say more than everybody may know: only programs on the same machine are
    /// answered there, and whoever may forward a port of the pod.
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
        let shared = Shared { registry, process, readiness, scrapes: self.scrapes };
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .with_state(shared)
            .merge(extra.layer(middleware::from_fn(for_loopback)));
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(self.listener, service).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

async fn for_loopback(ConnectInfo(client): ConnectInfo<SocketAddr>, request: Request, next: Next) -> Response {
    if is_loopback(client.ip()) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "only from loopback: use kubectl port-forward\n").into_response()
    }
}

/// A client of IPv4 has an address of IPv6 where the server listens for both.
fn is_loopback(client: IpAddr) -> bool {
    client.to_canonical().is_loopback()
}

async fn readyz(State(shared): State<Shared>) -> Response {
    match shared.readiness.get() {
        Ok(()) => "ok\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn metrics(State(shared): State<Shared>) -> Response {
    shared.process.refresh();
    if let Some(scrapes) = &shared.scrapes {
        scrapes.refresh().await;
    }
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
        get_from("127.0.0.1", port, path).await
    }

    async fn get_from(host: &str, port: u16, path: &str) -> String {
        let mut stream = TcpStream::connect((host, port)).await.unwrap();
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
        let (requests, mut scrapes) = crate::scrape::scrapes();
        let server = Server::bind(None, 0).await.unwrap().before_scrapes(requests);
        let port = server.address().port();
        let (readiness, stop, registry) = (Readiness::default(), CancellationToken::new(), Registry::new());
        let updates = ClientMetrics::new(&registry).unwrap().updates;
        let _program = Task::spawn(async move {
            while let Some(_scrape) = scrapes.next().await {
                updates.inc();
            }
        });
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
            answer.contains("process_resident_memory_bytes") && answer.contains("purelb_k8s_client_updates_total 1")
        );
        assert!(get(port, "/state").await.ends_with("state"));
        assert!(get_from("::1", port, "/state").await.ends_with("state"));
        // An address of this machine that is not one of loopback, if there is one.
        let any = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        if any.connect("192.0.2.1:9").is_ok() {
            let own = any.local_addr().unwrap().ip().to_string();
            assert!(get_from(&own, port, "/state").await.starts_with("HTTP/1.1 403"));
            assert!(get_from(&own, port, "/healthz").await.starts_with("HTTP/1.1 200"));
        }
        assert!(get(port, "/").await.starts_with("HTTP/1.1 404"));

        stop.cancel();
        running.join().await.unwrap().unwrap();
    }

    #[test]
    fn only_clients_on_this_machine_are_on_loopback() {
        for (client, expected) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.2", true),
            ("192.0.2.1", false),
            ("::ffff:192.0.2.1", false),
            ("fd00::1", false),
        ] {
            assert_eq!(is_loopback(client.parse().unwrap()), expected, "{client}");
        }
    }
}
