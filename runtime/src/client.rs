//! The client of the API server.

mod silence;

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
use tower::layer::layer_fn;
use tower::{BoxError, ServiceBuilder};

pub(crate) use silence::Heard;

/// Why the client cannot be made.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be used.
    #[error("cannot use the kubeconfig: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    /// The program runs outside a cluster and has no kubeconfig.
    #[error("not inside a cluster ({0}): use --kubeconfig or set KUBECONFIG")]
    InCluster(#[from] InClusterError),
    /// The certificates or credentials cannot be used.
    #[error("cannot set up the connection to the API server: {0}")]
    Client(#[from] kube::Error),
    /// The user agent cannot be sent in a header.
    #[error("invalid user agent: {0}")]
    UserAgent(#[from] http::header::InvalidHeaderValue),
}

/// How long opening a TCP connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// TCP keepalive: the kernel probes a silent connection after the first time, and repeats the probe at the second until
/// the peer answers. On an idle connection that is one empty packet in each direction every 3 s.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(1));
/// How many probes stay unanswered until the connection counts as dead. Some may be lost on a network that works.
const KEEPALIVE_PROBES: u32 = 5;
/// After this time a connection breaks whose peer is gone, whether or not data was sent on it.
pub const DEAD_AFTER: Duration = Duration::from_secs(8);
/// The limit for unacknowledged data and probes. When it is set, Linux ignores the number of probes and checks this
/// limit each time it is about to send one (`tcp_keepalive_timer`). It must therefore have passed before the last of
/// them.
const UNACKNOWLEDGED: Duration = Duration::from_millis(7_500);

/// Makes a client. It connects with its first request.
///
/// The client uses the kubeconfig if one is given. Otherwise it uses the environment and the service account of its
/// pod, where the address of the API server is an IP address that needs no name lookup. A watch breaks if nothing was
/// received for 90 s. The caller must set a deadline for every other request.
///
/// # Errors
/// There is no valid configuration.
pub async fn connect(kubeconfig: Option<&Path>, user_agent: &str) -> Result<Client, ConnectError> {
    // This fails only if a provider is installed already.
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
    // The kernel sends no keepalive probes while sent data is unacknowledged.
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
        .layer(layer_fn(Heard::new))
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace.clone()).build())
}

/// The namespace of the pod, from its service account. `None` outside of a pod.
#[must_use]
pub fn pod_namespace() -> Option<String> {
    let text = std::fs::read_to_string("/var/run/secrets/kubernetes.io/serviceaccount/namespace").ok()?;
    let namespace = text.trim();
    (!namespace.is_empty()).then(|| namespace.to_owned())
}
