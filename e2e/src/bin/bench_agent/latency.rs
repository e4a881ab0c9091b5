//! One Service at a time: created, announced, deleted.

use e2e::BenchResult as Result;
use std::time::Duration;

use e2e::{ArpMonitor, Family};

use crate::{
    figures::Times,
    nic::Nic,
    setup::{Bench, Kind, service},
    table::Line,
};

/// The deadline of each step of one Service.
const PATIENCE: Duration = Duration::from_secs(10);

/// The time after an address was added or removed in which the work that follows from it ends.
const REST: Duration = Duration::from_millis(150);

/// The time between two checks for the first answer. When it came is known from the client's socket.
const LOOK: Duration = Duration::from_millis(5);

/// The measurements of the Services of one kind.
#[derive(Debug, Default)]
struct Seen {
    /// From the creation until a watcher sees the address in the Service's status.
    visible: Times,
    /// From there to the address on the interface.
    agents_part: Times,
    /// From the creation to the address on the interface.
    there: Times,
    /// From the creation to the first answer at the client.
    answered: Times,
    /// From the deletion to the address off the interface.
    gone: Times,
    /// From the deletion to the last answer at the client.
    silent: Times,
}

/// Remote addresses.
pub(crate) async fn remote(bench: &Bench, runs: u32) -> Result<Vec<Line>> {
    let seen = measure(bench, Kind::Remote, runs).await?;
    let one = format!("remote, {runs} Services one by one: creation to kube-lb0");
    Ok(vec![
        Line::times(&one, &seen.there).median_under("20 ms", Duration::from_millis(20)),
        Line::times("  the allocator's part: creation to visible in the status", &seen.visible),
        Line::times("  the agent's part: visible to kube-lb0", &seen.agents_part),
        Line::times("  deletion to withdrawn", &seen.gone).median_under("10 ms", Duration::from_millis(10)),
    ])
}

/// Local addresses, including the 30 ms of probing.
pub(crate) async fn local(bench: &Bench, runs: u32) -> Result<Vec<Line>> {
    let seen = measure(bench, Kind::Local, runs).await?;
    let one = format!("local, {runs} Services one by one: creation to eth0");
    Ok(vec![
        Line::times(&one, &seen.there),
        Line::times("  the allocator's part: creation to visible in the status", &seen.visible),
        Line::times("  the agent's part: visible to eth0, 30 ms probe included", &seen.agents_part),
        Line::times("  creation to the first ARP answer at a client", &seen.answered)
            .median_under("45 ms", Duration::from_millis(45))
            .peers("47 ms", "43 ms"),
        Line::times("  deletion to withdrawn", &seen.gone).median_under("10 ms", Duration::from_millis(10)),
        Line::times("  deletion to the last ARP answer at a client", &seen.silent).peers("13 ms", "7 ms"),
    ])
}

async fn measure(bench: &Bench, kind: Kind, runs: u32) -> Result<Seen> {
    let mut nic = Nic::open(&bench.node, kind.interface())?;
    let mut seen = Seen::default();
    for run in 0..runs {
        once(bench, kind, run, &mut nic, &mut seen).await?;
    }
    println!("{kind:?}, {runs} Services: on the interface after {}, off it after {}", seen.there, seen.gone);
    Ok(seen)
}

async fn once(bench: &Bench, kind: Kind, run: u32, nic: &mut Nic, seen: &mut Seen) -> Result<()> {
    let address = kind.address(run);
    let name = format!("{}-{run:04}", kind.group());
    let body = serde_json::to_vec(&service(&name, kind.group(), Some(address), Family::V4))?;
    let ip = address.into();
    let monitor = if kind == Kind::Local { Some(bench.cluster.client().monitor(ip)?) } else { None };
    let mut sight = bench.services.watch_addresses().await?;
    // Let the client's questions and the watch start first.
    tokio::time::sleep(REST).await;

    let (created, _) = bench.services.create(body).await?;
    let there = nic.until(&format!("{address} on the node"), PATIENCE, |held| held.has(ip)).await?;
    let visible = tokio::time::timeout(PATIENCE, sight.next()).await??;
    if let Some(monitor) = &monitor {
        tokio::time::timeout(PATIENCE, answer(monitor)).await?;
    }
    tokio::time::sleep(REST).await;

    let deleted = bench.services.delete(&name).await?;
    let gone = nic.until(&format!("{address} withdrawn"), PATIENCE, |held| !held.has(ip)).await?;
    tokio::time::sleep(REST).await;

    seen.visible.add(visible - created);
    seen.agents_part.add(there.saturating_duration_since(visible));
    seen.there.add(there - created);
    seen.gone.add(gone.saturating_duration_since(deleted));
    if let Some(monitor) = monitor {
        let observed = monitor.stop()?;
        if let (Some((first, _)), Some((last, _))) = (observed.answers().next(), observed.answers().last()) {
            seen.answered.add(first.saturating_duration_since(created));
            seen.silent.add(last.saturating_duration_since(deleted));
        }
    }
    Ok(())
}

/// Waits for an answer.
async fn answer(monitor: &ArpMonitor) {
    while monitor.answering(PATIENCE).is_empty() {
        tokio::time::sleep(LOOK).await;
    }
}
