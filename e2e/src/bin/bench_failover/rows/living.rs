//! Nodes that live while the router follows them by BFD: busy ones, ones whose programs are replaced or crash. The router
//! must notice nothing.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use e2e::{BenchResult as Result, Family, NAMESPACE, Router, Signal, eventually};

use crate::{
    bench::{Bench, PATIENCE},
    figures::{Figures, Sample},
    rows::{
        routed::{follow, next_hops, nodes_addresses, service_of},
        steps::{AFTERWARDS, pass},
    },
    service::PORT,
    standstill::Standstill,
};

/// The router's default interval, and the least that the README calls safe.
const INTERVALS: [(Family, Duration); 2] =
    [(Family::V4, Duration::from_millis(300)), (Family::V6, Duration::from_millis(100))];
/// The time between two connections during an update.
const EACH: Duration = Duration::from_millis(1);
/// The router's interval when `bfd-speaker` is killed: it waits for three of them, and a container takes its time.
const PATIENT: Duration = Duration::from_secs(2);

/// The router's `bfdd` with real-time priority until this is dropped. A real router shares no processor with the node.
struct Undisturbed<'a> {
    router: &'a Router,
    pid: String,
}

impl<'a> Undisturbed<'a> {
    fn new(router: &'a Router) -> Result<Self> {
        // By its number in the host's own namespace.
        let pid = router.exec(&["pidof", "bfdd"])?.trim().to_owned();
        router.exec(&["chrt", "--fifo", "--pid", "1", &pid])?;
        Ok(Self { router, pid })
    }
}

impl Drop for Undisturbed<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.router.exec(&["chrt", "--other", "--pid", "0", &self.pid]) {
            eprintln!("clean-up: {error}");
        }
    }
}

/// Both processors are taken on one node. The router has 300 ms x 3 for IPv4 and 100 ms x 3 for IPv6; each session that
/// it loses is a false alarm.
pub(in crate::rows) async fn busy(bench: &Bench) -> Result<Vec<Sample>> {
    let router = bench.cluster.router();
    let mut followed = Vec::new();
    for (family, interval) in INTERVALS {
        followed.push(follow(bench, &[family], interval).await?);
    }
    let victim = bench.cluster.nodes().next().ok_or("the cluster has no node")?;
    let _undisturbed = Undisturbed::new(&router)?;
    let pieces = std::thread::available_parallelism()?.get() * 2;
    let (before, resets) = (router.bfd_losses()?, router.resets()?);
    let standstill = Standstill::watch();
    let from = Instant::now();
    let load = victim.busy(pieces)?;
    let end = from + bench.busy;
    let mut seen = before.clone();
    while Instant::now() < end {
        pass(Duration::from_secs(5)).await;
        let now = router.bfd_losses()?;
        for (node, count) in now.iter().filter(|(node, count)| seen.get(*node) != Some(*count)) {
            println!("after {} s: the router has lost BFD with {node}, {count} times by now", from.elapsed().as_secs());
        }
        seen = now;
    }
    drop(load);
    let to = pass(AFTERWARDS).await;
    let (after, resets_after) = (router.bfd_losses()?, router.resets()?);
    let alarms = INTERVALS.map(|(family, _)| lost(&before, &after, &nodes_addresses(bench, &[family])));
    let [at_300, at_100] = alarms;
    let all = nodes_addresses(bench, &Family::ALL);
    let note = format!(
        "{pieces} pieces of work on {} for {} minutes: {at_300} false alarms at 300 ms x 3, {at_100} at 100 ms x 3, {} resets of BGP",
        victim.name(),
        bench.busy.as_secs() / 60,
        lost(&resets, &resets_after, &all)
    );
    let standstill = standstill.longest(from, to);
    drop(followed);
    bench.cluster.peered(PATIENCE).await?;
    let good = at_300 == 0 && at_100 <= 1;
    Ok(vec![Sample { line: "routedbusy", figures: [None, None], standstill, note: Some(note), good }])
}

/// All pods of `bfd-speaker` and the agent are replaced, with a connection to each address each millisecond.
pub(in crate::rows) async fn rollout(bench: &Bench) -> Result<Vec<Sample>> {
    let addresses = service_of(bench).await?;
    let router = bench.cluster.router();
    let _followed = follow(bench, &Family::ALL, Duration::from_millis(300)).await?;
    for address in addresses {
        next_hops(bench, address, bench.cluster.nodes()).await?;
    }
    let all = nodes_addresses(bench, &Family::ALL);
    let before = (router.resets()?, router.bfd_losses()?);
    let standstill = Standstill::watch();
    let connectors =
        addresses.map(|address| bench.cluster.client().connect_every(EACH, SocketAddr::new(address, PORT)));
    pass(Duration::from_secs(2)).await;
    let from = Instant::now();
    for workload in ["daemonset/bfd-speaker", "daemonset/lbnodeagent"] {
        bench.cluster.kubectl(&["rollout", "restart", "--namespace", NAMESPACE, workload])?;
    }
    bench.cluster.installation_ready()?;
    let to = pass(AFTERWARDS).await;
    let mut figures = Vec::new();
    for connector in connectors {
        let connections = connector.stop()?;
        figures.push(Figures {
            longest: Duration::ZERO,
            without: Duration::ZERO,
            double: Duration::ZERO,
            moves: 0,
            tried: connections.tried(from, to),
            failed: connections.failed(from, to),
        });
    }
    let after = (router.resets()?, router.bfd_losses()?);
    let (resets, losses) = (lost(&before.0, &after.0, &all), lost(&before.1, &after.1, &all));
    let failed: usize = figures.iter().map(|figures| figures.failed).sum();
    let note = format!(
        "{} s: {failed} connections failed, {resets} resets of BGP, {losses} losses of BFD",
        to.duration_since(from).as_secs()
    );
    let mut figures = figures.into_iter();
    Ok(vec![Sample {
        line: "routedrollout",
        figures: [figures.next(), figures.next()],
        standstill: standstill.longest(from, to),
        note: Some(note),
        good: failed == 0 && resets == 0 && losses == 0,
    }])
}

/// `bfd-speaker` is killed on one node, and the kubelet starts it again.
pub(in crate::rows) async fn kill(bench: &Bench) -> Result<Vec<Sample>> {
    let router = bench.cluster.router();
    let _followed = follow(bench, &Family::ALL, PATIENT).await?;
    let victim = bench.cluster.nodes().next().ok_or("the cluster has no node")?;
    let own = Family::ALL.map(|family| victim.id().address(family));
    let before = (router.bfd_sessions()?, router.resets()?);
    let found = victim.processes("bfd-speaker")?;
    let [pid] = *found.as_slice() else { return Err(format!("processes of bfd-speaker: {found:?}").into()) };
    let standstill = Standstill::watch();
    let from = Instant::now();
    victim.kill(pid, Signal::SIGKILL)?;
    let back = eventually(PATIENCE, "another bfd-speaker", async || {
        let pids = victim.processes("bfd-speaker").map_err(|error| error.to_string())?;
        if pids.len() == 1 && !pids.contains(&pid) { Ok(from.elapsed()) } else { Err(format!("{pids:?}")) }
    })
    .await?;
    let to = pass(PATIENT * 4).await;
    let after = (router.bfd_sessions()?, router.resets()?);
    let same = own.iter().all(|node| {
        let id = |sessions: &BTreeMap<IpAddr, e2e::BfdSession>| {
            sessions.get(node).map(|session| (session.status.clone(), session.remote_id))
        };
        id(&before.0) == id(&after.0)
    });
    let resets = lost(&before.1, &after.1, &own);
    // A new pod starts without the delay that the kubelet adds after each crash.
    let field = format!("spec.nodeName={}", victim.name());
    let selection = ["--namespace", NAMESPACE, "--selector", "component=bfd-speaker", "--field-selector", &field];
    bench.cluster.kubectl(&[&["delete", "pods", "--timeout=60s"], &selection[..]].concat())?;
    bench.cluster.installation_ready()?;
    let session = if same { "the same session" } else { "ANOTHER SESSION" };
    let note = format!("the container ran again after {} ms: {session}, {resets} resets of BGP", back.as_millis());
    let standstill = standstill.longest(from, to);
    let good = same && resets == 0;
    Ok(vec![Sample { line: "routedkill", figures: [None, None], standstill, note: Some(note), good }])
}

/// By how much the counters of these addresses have grown.
fn lost(before: &BTreeMap<IpAddr, u64>, after: &BTreeMap<IpAddr, u64>, addresses: &[IpAddr]) -> u64 {
    let of = |counters: &BTreeMap<IpAddr, u64>| -> u64 {
        addresses.iter().map(|address| counters.get(address).copied().unwrap_or_default()).sum()
    };
    of(after).saturating_sub(of(before))
}
