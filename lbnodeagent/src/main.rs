//! The program `lbnodeagent`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use lbnodeagent::agent::{Agent, Outside, Settings};
use lbnodeagent::bfd::metrics::BfdMetrics;
use lbnodeagent::bfd::{settings, task};
use lbnodeagent::cluster::watches;
use lbnodeagent::flags::Flags;
use lbnodeagent::kube_proxy::task::Ports;
use lbnodeagent::report::lease;
use lbnodeagent::report::lease::content::Identity;
use lbnodeagent::report::lease::entries::Entries;
use lbnodeagent::report::metrics::Metrics;
use lbnodeagent::report::state;
use prometheus::Registry;
use runtime::Task;
use runtime::events::EventQueue;
use runtime::log::ErrorChain;
use runtime::server::{Readiness, Server};
use tokio::sync::{Notify, mpsc, watch};

/// Capacity of the channel of inputs.
const INPUTS: usize = 1024;
/// How long requests under way may take after the stop.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let flags = Flags::parse();
    runtime::log::init();
    // One thread for the agent, and one that answers the kubelet's probes while the agent works.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run(flags)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(op = "start", error = %ErrorChain(error.as_ref()), "cannot go on");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<(), Box<dyn std::error::Error>> {
    let stop = runtime::signal::stop()?;
    let registry = Registry::new();
    let readiness = Readiness::default();
    let metrics = Metrics::new(&registry)?;
    let client = runtime::client::connect(flags.kubeconfig.as_deref(), lease::content::FIELD_MANAGER).await?;
    let (events, _sender) = EventQueue::start(client.clone(), "purelb-lbnodeagent", &flags.node_name, &registry)?;
    let (inputs, received) = mpsc::channel(INPUTS);
    let (content, contents) = watch::channel(None);
    let (entries, all_entries) = watch::channel(Entries::default());
    let (requests, requested) = mpsc::channel(16);

    let settings = Settings {
        node: flags.node_name.clone(),
        stop_grace: flags.stop_grace,
        run_dir: flags.run_dir.clone(),
        gossip_port: flags.gossip_port,
        probe_interval: flags.probe_interval,
        frames_per_second: flags.frames_per_second,
        kube_proxy: Ports { metrics: flags.kube_proxy_metrics_port, health: flags.kube_proxy_health_port },
    };
    let (handle, end) = settings::channel();
    let details = (all_entries, handle.routers());
    let bfd = task::Outside { client: client.clone(), events: events.clone(), metrics: BfdMetrics::new(&registry)? };
    let bfd = task::start(flags.node_name.clone(), flags.run_dir.join("bfd"), bfd, end);
    let lease_outside =
        lease::writer::Outside { metrics: metrics.clone(), readiness: readiness.clone(), events: events.clone() };
    let outside = Outside {
        client: client.clone(),
        events,
        metrics,
        readiness: readiness.clone(),
        inputs: inputs.clone(),
        lease: content,
        entries,
        bfd: handle,
    };
    let agent = Agent::new(settings, outside)?;

    let server = Server::bind(flags.host, flags.port).await?;
    let mut server = Task::spawn(server.run(registry, readiness.clone(), state::router(requests), stop.token()));
    let lease_gone = Arc::new(Notify::new());
    let default_announcer = flags.is_default_announcer();
    let watches =
        watches::start(&client, &flags.namespace, &flags.node_name, default_announcer, &inputs, lease_gone.clone());
    let identity = Identity { namespace: flags.namespace, node: flags.node_name, pod_uid: flags.pod_uid };
    let renewals = lease::writer::start(client, identity, contents, details, lease_gone, lease_outside);
    tracing::info!(op = "start", version = env!("CARGO_PKG_VERSION"), "started");

    let agent = agent.run(received, requested, stop.token());
    tokio::pin!(agent);
    let server_ended = tokio::select! {
        () = &mut agent => {
            if !stop.token().is_cancelled() {
                // The next run adopts the addresses in the kernel.
                return Err("the protocol for local addresses has ended".into());
            }
            false
        }
        ended = server.join() => {
            if !stop.token().is_cancelled() {
                // Without its server the program cannot be observed. The kubelet restarts it.
                ended??;
                return Err("the HTTP server has ended".into());
            }
            agent.await;
            true
        }
    };
    drop((watches, renewals, bfd));
    if !server_ended {
        let _late = tokio::time::timeout(LAST_REQUESTS, server.join()).await;
    }
    Ok(())
}
