//! A routed address behind the router, which learns by BGP alone, or by BFD, that a node is gone. What nodes that live
//! go through meanwhile is in `living`.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use e2e::{BenchResult as Result, Family, FollowedBfd, Node, Signal, eventually};

use crate::{
    bench::{Bench, PATIENCE},
    figures::{Figures, Sample},
    rows::steps::pass,
    service::{BACKEND, PORT, SPACE, slices},
    standstill::Standstill,
};

/// The Service.
const NAME: &str = "routed";
/// The time between two connections.
const EACH: Duration = Duration::from_millis(20);
/// How long is watched after the cut. Without BFD a third of the connections fails for longer.
const WATCHED: Duration = Duration::from_secs(18);

/// How a node goes, and how it comes back.
struct Event {
    go: fn(&Node) -> e2e::Result<()>,
    back: fn(&Node) -> e2e::Result<()>,
}

/// A node is cut off. `interval` is that of the router's BFD, with the multiplier 3; without it the router has its default
/// hold time of 180 s.
pub(super) async fn cut(bench: &Bench, line: &'static str, interval: Option<Duration>) -> Result<Vec<Sample>> {
    gone(bench, line, interval, Event { go: Node::isolate, back: Node::rejoin }).await
}

/// A node is rebooted: systemd ends our programs by its pair of signals, and nobody else. BIRD, which would withdraw the
/// routes, is gone only with the power.
pub(super) async fn reboot(bench: &Bench, line: &'static str, interval: Duration) -> Result<Vec<Sample>> {
    gone(bench, line, Some(interval), Event { go: shut_down, back: Node::power_on }).await
}

fn shut_down(node: &Node) -> e2e::Result<()> {
    for program in ["bfd-speaker", "lbnodeagent"] {
        for pid in node.processes(program)? {
            node.kill(pid, Signal::SIGTERM)?;
            node.kill(pid, Signal::SIGCONT)?;
        }
    }
    node.power_off()
}

async fn gone(bench: &Bench, line: &'static str, interval: Option<Duration>, event: Event) -> Result<Vec<Sample>> {
    let addresses = service_of(bench).await?;
    let router = bench.cluster.router();
    let nodes: Vec<IpAddr> =
        bench.cluster.nodes().flat_map(|node| Family::ALL.map(|family| node.id().address(family))).collect();
    let _followed = interval.map(|interval| router.follow_bfd(&nodes, interval, 3)).transpose()?;
    if interval.is_some() {
        eventually(PATIENCE, "BFD with all nodes", async || {
            let sessions = router.bfd_sessions().map_err(|error| error.to_string())?;
            let up = |node| sessions.get(node).is_some_and(|session| session.status == "up");
            if nodes.iter().all(up) { Ok(()) } else { Err(format!("{sessions:?}")) }
        })
        .await?;
    }
    for address in addresses {
        next_hops(bench, address, bench.cluster.nodes()).await?;
    }
    let standstill = Standstill::watch();
    let connect = |address| bench.cluster.client().connect_every(EACH, SocketAddr::new(address, PORT));
    let connectors = addresses.map(connect);
    pass(Duration::from_secs(2)).await;
    let victim = bench.cluster.nodes().next().ok_or("the cluster has no node")?;
    let from = Instant::now();
    (event.go)(&victim)?;
    let to = pass(WATCHED).await;
    let mut figures = Vec::new();
    for connector in connectors {
        let connections = connector.stop()?;
        let late = connections.failures().into_iter().filter(|at| *at >= from).max();
        let longest = late.map(|at| at.duration_since(from)).unwrap_or_default();
        figures.push(Figures {
            longest,
            without: longest,
            double: Duration::ZERO,
            moves: 0,
            tried: connections.tried(from, to),
            failed: connections.failed(from, to),
        });
    }
    let standstill = standstill.longest(from, to);
    (event.back)(&victim)?;
    bench.cluster.nodes_ready(PATIENCE).await?;
    bench.cluster.agents_ready(PATIENCE).await?;
    bench.cluster.peered(PATIENCE).await?;
    let mut figures = figures.into_iter();
    Ok(vec![Sample { line, figures: [figures.next(), figures.next()], standstill, note: None, good: true }])
}

/// The nodes' addresses of these families.
pub(super) fn nodes_addresses(bench: &Bench, families: &[Family]) -> Vec<IpAddr> {
    bench.cluster.nodes().flat_map(|node| families.iter().map(move |family| node.id().address(*family))).collect()
}

/// Has the router follow all nodes by BFD with this interval and the multiplier 3, and waits until it does.
pub(super) async fn follow(bench: &Bench, families: &[Family], interval: Duration) -> Result<FollowedBfd> {
    let router = bench.cluster.router();
    let nodes = nodes_addresses(bench, families);
    let followed = router.follow_bfd(&nodes, interval, 3)?;
    let interval = u64::try_from(interval.as_millis())?;
    eventually(PATIENCE, "BFD with all nodes", async || {
        let sessions = router.bfd_sessions().map_err(|error| error.to_string())?;
        let up = |node| {
            sessions.get(node).is_some_and(|session| session.status == "up" && session.receive_interval == interval)
        };
        if nodes.iter().all(up) { Ok(()) } else { Err(format!("{sessions:?}")) }
    })
    .await?;
    Ok(followed)
}

/// The Service with the backend of the others, and its routed addresses.
pub(super) async fn service_of(bench: &Bench) -> Result<[IpAddr; 2]> {
    bench.cluster.apply_kustomization("manifests/samples/calico")?;
    bench.cluster.apply(&format!(
        r#"
apiVersion: v1
kind: Service
metadata:
  name: {NAME}
  namespace: {SPACE}
  annotations: {{purelb.io/service-group: "ipv4-routed,ipv6-routed"}}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  ports: [{{name: http, port: {PORT}, targetPort: {BACKEND}}}]
"#
    ))?;
    bench.cluster.apply(&slices(NAME))?;
    let addresses = bench.cluster.service_addresses(SPACE, NAME, 2).await?;
    let of = |family| addresses.iter().copied().find(|address| Family::of(*address) == family);
    of(Family::V4).zip(of(Family::V6)).map(Into::into).ok_or_else(|| "the Service is not of both families".into())
}

/// Waits until the router reaches an address by way of these nodes.
pub(super) async fn next_hops(bench: &Bench, address: IpAddr, nodes: impl Iterator<Item = Node>) -> Result<()> {
    let wanted: BTreeSet<IpAddr> = nodes.map(|node| node.id().address(Family::of(address))).collect();
    eventually(PATIENCE, format!("{wanted:?} as next hops of {address}"), async || {
        let route = bench.cluster.router().route(address).map_err(|error| error.to_string())?;
        let hops = route.map(|route| route.next_hops).unwrap_or_default();
        if hops == wanted { Ok(()) } else { Err(format!("{hops:?}")) }
    })
    .await?;
    Ok(())
}
