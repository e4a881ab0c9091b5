//! The allocator: gives Services of type `LoadBalancer` their addresses.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use allocator::FIELD_MANAGER;
use allocator::edge::{Controller, Parts, Settings};
use allocator::metrics::Metrics;
use api_types::lease::{ALLOCATOR_VERSION, MARKS_WITH_ADDRESSES, MAY_GIVE, version_value};
use api_types::names::{DEFAULT_ANNOUNCER, DEFAULT_NAMESPACE, LEADER_LEASE};
use clap::Parser;
use kube::Api;
use prometheus::Registry;
use runtime::client::{connect, pod_namespace};
use runtime::events::EventQueue;
use runtime::leader::election::Timing;
use runtime::leader::{Candidacy, Leader, identity};
use runtime::log::{self, ErrorChain};
use runtime::metrics::ClientMetrics;
use runtime::scrape::scrapes;
use runtime::server::{Readiness, Server};
use runtime::write::WriteCounter;
use runtime::{Task, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// How long one call to an IPAM sidecar may take (specification, api.md 11).
const SIDECAR_DEADLINE: Duration = Duration::from_secs(10);

/// How long one write to a Service may take. It is longer than what the API server waits for a webhook by default, 10 s.
const SERVICE_DEADLINE: Duration = Duration::from_secs(12);

/// Gives Services of type `LoadBalancer` their addresses.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Port of /metrics, /healthz and /readyz
    #[arg(long, default_value_t = 7472)]
    port: u16,
    /// Kubeconfig file [default: the service account of the pod]
    #[arg(long, env = "KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// Namespace of the ServiceGroups [default: that of the pod, else purelb]
    #[arg(long, env = "PURELB_NAMESPACE")]
    namespace: Option<String>,
    /// With the value `PureLB`, Services without a class are ours
    #[arg(long, env = "DEFAULT_ANNOUNCER", hide = true)]
    default_announcer: Option<String>,
    /// Name of this cluster for IPAM sidecars [default: the UID of the namespace kube-system]
    #[arg(long, env = "PURELB_CLUSTER")]
    cluster: Option<String>,
    /// Name of this pod, for the election
    #[arg(long, env = "POD_NAME", hide = true)]
    pod_name: Option<String>,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::init();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(op = "start", error = %ErrorChain(error.as_ref()), "stopped");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stop = signal::stop()?;
    let user_agent = concat!("purelb-allocator/", env!("CARGO_PKG_VERSION"));
    let kubeconfig = arguments.kubeconfig.filter(|path| !path.as_os_str().is_empty());
    let client = connect(kubeconfig.as_deref(), user_agent).await?;
    let given = arguments.namespace.filter(|namespace| !namespace.is_empty());
    let namespace = given.or_else(pod_namespace).unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    let default_announcer = arguments.default_announcer.as_deref() == Some(DEFAULT_ANNOUNCER);
    let pod = arguments.pod_name.filter(|name| !name.is_empty()).unwrap_or_else(|| "allocator".to_owned());

    let registry = Registry::new();
    let client_metrics = ClientMetrics::new(&registry)?;
    let metrics = Metrics::new(&registry)?;
    let writes = WriteCounter::new(&registry)?;
    let (events, _events_task) = EventQueue::start(client.clone(), FIELD_MANAGER, &pod, &registry)?;
    let readiness = Readiness::default();

    let (scrape_requests, scrapes) = scrapes();
    let server = Server::bind(None, arguments.port).await?.before_scrapes(scrape_requests);
    info!(op = "start", version = env!("CARGO_PKG_VERSION"), namespace, default_announcer, address = %server.address(), "allocator starts");
    // The server answers until the very end, so that no probe fails during the stop.
    let server_stop = CancellationToken::new();
    let extra = axum::Router::new();
    let _server_task = Task::spawn(server.run(registry, readiness.clone(), extra, server_stop.clone()));

    let timing = Timing::default();
    let leases = Api::namespaced(client.clone(), &namespace);
    let identity = identity(&pod);
    let healthy = client_metrics.lease_healthy.clone();
    let marks = version_value(MARKS_WITH_ADDRESSES, &identity);
    let candidacy = Candidacy {
        lease: LEADER_LEASE,
        identity: identity.clone(),
        field_manager: FIELD_MANAGER,
        annotations: [(ALLOCATOR_VERSION, marks)].into(),
        statement: MAY_GIVE,
    };
    let leader = Leader::start(leases, candidacy, timing, healthy, writes.clone());
    let parts = Parts {
        metrics,
        client_metrics,
        writes,
        events,
        readiness,
        scrapes,
        leadership: leader.leadership(),
        terms: leader.terms(),
        ability: leader.ability(),
        statement: leader.statement(),
        unwritable: leader.unwritable(),
    };
    let settings = Settings {
        namespace,
        default_announcer,
        in_flight: 64,
        service_deadline: SERVICE_DEADLINE,
        deadline: timing.deadline,
        sidecar_deadline: SIDECAR_DEADLINE,
        cluster: arguments.cluster.filter(|cluster| !cluster.is_empty()),
        identity,
    };
    let quiet = Controller::new(client, settings, parts).run(stop.token()).await;
    leader.release(quiet).await;
    server_stop.cancel();
    // The last Kubernetes events get time to be sent.
    tokio::time::sleep(Duration::from_millis(50)).await;
    info!(op = "stop", "stopped");
    Ok(())
}
