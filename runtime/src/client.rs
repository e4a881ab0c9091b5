//! The connection to the API server.

use std::path::Path;
use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use thiserror::Error;
use tower::{BoxError, ServiceBuilder};

/// Why there is no client.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be used.
    #[error("cannot use the kubeconfig: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    /// Neither in a cluster nor a kubeconfig.
    #[error("not inside a cluster ({0}): give --kubeconfig or set KUBECONFIG")]
    InCluster(#[from] InClusterError),
    /// The certificates or credentials cannot be used.
    #[error("cannot set up the connection to the API server: {0}")]
    Client(#[from] kube::Error),
    /// The program's name is not a header value.
    #[error("invalid user agent")]
    UserAgent(#[from] http::header::InvalidHeaderValue),
}

/// How long a TCP connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// A silent connection is probed by the kernel after this time, and then at this interval until it answers: one packet
/// without content each way every 3 s, of which neither program ever hears.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(1));
/// Unanswered probes until the connection counts as dead: many, for a lossy network is no dead one.
const KEEPALIVE_PROBES: u32 = 5;
/// After this time a connection whose other end is gone breaks, whether we say something or not.
pub const DEAD_AFTER: Duration = Duration::from_secs(8);
/// Linux looks at this limit, not at the number of probes, and only when it is about to send the next probe: so it must
/// be over by then (`tcp_keepalive_timer`).
const UNACKNOWLEDGED: Duration = Duration::from_millis(7_500);

/// Makes a client; connects at its first request.
///
/// Uses the kubeconfig if one is given, else what a pod finds in its environment and its service
/// account; the address of the API server is then an IP address and needs no name lookup. Watches
/// may be silent for ever as long as the peer answers keepalive probes, so there is no read
/// timeout: every other request needs a deadline of its caller.
///
/// # Errors
/// When there is no usable configuration.
pub async fn connect(kubeconfig: Option<&Path>, user_agent: &str) -> Result<Client, ConnectError> {
    // Fails only when a provider is installed already, which is as good.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let mut config = match kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path)?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?
        }
        None => Config::incluster_env()?,
    };
    config.headers.push((USER_AGENT, HeaderValue::from_str(user_agent)?));
    Ok(build(&config)?)
}

fn build(config: &Config) -> Result<Client, kube::Error> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_keepalive(Some(KEEPALIVE.0));
    connector.set_keepalive_interval(Some(KEEPALIVE.1));
    connector.set_keepalive_retries(Some(KEEPALIVE_PROBES));
    // Data that we sent and nobody acknowledged: the keepalive does not probe then.
    connector.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    let https = config.rustls_https_connector_with_connector(connector)?;
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .pool_idle_timeout(Duration::from_secs(60))
        .pool_timer(TokioTimer::new())
        .build::<_, Body>(https);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace.clone()).build())
}

/// The namespace that a pod's service account lives in; nothing outside of a pod.
#[must_use]
pub fn pod_namespace() -> Option<String> {
    let text = std::fs::read_to_string("/var/run/secrets/kubernetes.io/serviceaccount/namespace").ok()?;
    let namespace = text.trim();
    (!namespace.is_empty()).then(|| namespace.to_owned())
}
