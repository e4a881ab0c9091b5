//! `make demo`: from the manifests to a client's answer, step by step.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    process::ExitCode,
    time::{Duration, Instant},
};

use e2e::{BgpRoute, Cluster, Family, NAMESPACE, Result, checkout, eventually};

const NAME: &str = "demo";
const NODES: u8 = 3;
const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let begin = Instant::now();
    step("A Kubernetes cluster of three nodes, a router and a client");
    Cluster::stop_named(NAME)?;
    let cluster = Cluster::start_with_progress(NAME, NODES, |line| println!("  {line}")).await?;
    cluster.load_programs()?;
    kubectl(
        &cluster,
        &[
            "get",
            "nodes",
            "-o",
            "custom-columns=NAME:.metadata.name,VERSION:.status.nodeInfo.kubeletVersion,ADDRESSES:.status.addresses[?(@.type==\"InternalIP\")].address",
        ],
    )?;

    step("The load balancer, installed by one command on the empty cluster");
    println!("  $ kubectl apply -k manifests");
    cluster.apply_kustomization("manifests")?;
    cluster.installation_ready()?;
    kubectl(&cluster, &["get", "pods", "--namespace", NAMESPACE, "-o", "wide"])?;

    step("The pools: those of the Calico document, and one inside the nodes' own subnet");
    for directory in ["manifests/samples/calico", "manifests/samples/local"] {
        println!("  $ kubectl apply -k {directory}");
        indent(&cluster.apply_kustomization(directory)?);
    }
    let backend = checkout("e2e/fixtures/echo.yaml");
    cluster.apply_path(&backend)?;
    cluster.kubectl(&["rollout", "status", "--timeout=60s", "deployment/echo"])?;

    step("Two dual-stack Services of type LoadBalancer");
    println!("  $ kubectl apply -k manifests/samples/services");
    cluster.apply_kustomization("manifests/samples/services")?;
    let routed = cluster.service_addresses("default", "echo-routed", 2).await?;
    let local = cluster.service_addresses("default", "echo-local", 2).await?;
    kubectl(&cluster, &["get", "services", "--namespace", "default", "echo-routed", "echo-local"])?;
    kubectl(&cluster, &["get", "servicegroups", "--namespace", NAMESPACE])?;

    step("Routed: on kube-lb0 of every node, imported by its BIRD, learned by the router");
    wait_for_routes(&cluster, &routed).await?;
    show_dummy_interfaces(&cluster)?;
    show_routes(&cluster)?;
    for address in &routed {
        request(&cluster, *address, "through the router").await?;
    }

    step("Local: on the network interface of one node");
    for address in &local {
        request(&cluster, *address, "over the LAN").await?;
    }
    show_owners(&cluster, &local)?;

    step("Deleting a Service withdraws its routes");
    println!("  $ kubectl delete service echo-routed");
    cluster.kubectl(&["delete", "service", "echo-routed"])?;
    let deleted = Instant::now();
    wait_for_routes(&cluster, &[]).await?;
    println!("  no route is left at the router, {} ms later", deleted.elapsed().as_millis());
    show_routes(&cluster)?;
    println!("  $ kubectl apply -k manifests/samples/services      (and there it is again)");
    cluster.apply_kustomization("manifests/samples/services")?;
    wait_for_routes(&cluster, &cluster.service_addresses("default", "echo-routed", 2).await?).await?;

    step("Go on");
    let lab = std::env::current_exe().map(|demo| demo.with_file_name("lab").display().to_string()).unwrap_or_default();
    println!("  export KUBECONFIG={}", cluster.kubeconfig().display());
    println!("  alias kubectl='{lab} kubectl --'         # if you have none; LAB={lab}");
    println!("  kubectl logs --namespace {NAMESPACE} deployment/allocator");
    println!("  kubectl logs --namespace {NAMESPACE} daemonset/lbnodeagent");
    println!("  {lab} exec client -- curl -s http://{}/", routed.first().map(ToString::to_string).unwrap_or_default());
    println!("  {lab} exec router -- ip route");
    println!("  {lab} exec node1 -- birdc show route");
    println!("  make demo-down                           # removes all of it");
    println!("\nThe demo took {} s.", begin.elapsed().as_secs());
    Ok(())
}

fn step(title: &str) {
    println!("\n== {title}");
}

fn indent(text: &str) {
    for line in text.trim_end().lines() {
        println!("  {line}");
    }
}

/// Runs `kubectl` and shows the command and its output.
fn kubectl(cluster: &Cluster, arguments: &[&str]) -> Result<()> {
    let shown: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with("custom-columns")).copied().collect();
    println!("  $ kubectl {}", shown.join(" ").trim_end_matches(" -o"));
    indent(&cluster.kubectl(arguments)?);
    Ok(())
}

/// Waits until the router has routes to these addresses only, each by way of every node.
async fn wait_for_routes(cluster: &Cluster, addresses: &[IpAddr]) -> Result<()> {
    let wanted: BTreeSet<IpAddr> = addresses.iter().copied().collect();
    eventually(DEADLINE, "the routes at the router", async || {
        let routes = routes(cluster).map_err(|error| error.to_string())?;
        let complete = routes.iter().all(|route| route.next_hops.len() == usize::from(NODES));
        let found: BTreeSet<IpAddr> = routes.iter().map(|route| route.prefix.ip()).collect();
        if complete && found == wanted { Ok(()) } else { Err(format!("{routes:?}")) }
    })
    .await
}

fn routes(cluster: &Cluster) -> Result<Vec<BgpRoute>> {
    let mut routes = Vec::new();
    for family in Family::ALL {
        routes.extend(cluster.router().routes(family)?);
    }
    Ok(routes)
}

fn show_routes(cluster: &Cluster) -> Result<()> {
    println!("  router: BGP routes");
    let routes = routes(cluster)?;
    for route in &routes {
        let hops: Vec<_> = route.next_hops.iter().map(ToString::to_string).collect();
        let communities: Vec<_> = route.communities.iter().map(String::as_str).collect();
        println!("    {}  via {}  community {}", route.prefix, hops.join(", "), communities.join(" "));
    }
    if routes.is_empty() {
        println!("    (none)");
    }
    Ok(())
}

fn show_dummy_interfaces(cluster: &Cluster) -> Result<()> {
    for node in cluster.nodes() {
        let addresses = node.addresses("kube-lb0")?;
        let shown: Vec<_> = addresses
            .iter()
            .filter(|found| found.scope == "global")
            .map(|found| format!("{}/{}", found.address, found.prefix_length))
            .collect();
        println!("  {}: kube-lb0 {}", node.name(), shown.join(" "));
    }
    Ok(())
}

fn show_owners(cluster: &Cluster, addresses: &[IpAddr]) -> Result<()> {
    for node in cluster.nodes() {
        for found in node.addresses("eth0")? {
            if addresses.contains(&found.address) {
                println!("  {}: eth0 {}/{}", node.name(), found.address, found.prefix_length);
            }
        }
    }
    Ok(())
}

/// An HTTP request from the client, tried until a pod answers.
async fn request(cluster: &Cluster, address: IpAddr, how: &str) -> Result<()> {
    let host = match Family::of(address) {
        Family::V4 => address.to_string(),
        Family::V6 => format!("[{address}]"),
    };
    let url = format!("http://{host}/");
    let answer = eventually(DEADLINE, format!("an answer from {url}"), async || {
        cluster.client().exec(&["curl", "--silent", "--show-error", "--max-time", "2", "--globoff", &url])
    })
    .await?;
    println!("  client$ curl {url}      ({how})");
    indent(&answer);
    Ok(())
}
