//! Many addresses are added, survive a restart, and are removed.

use e2e::BenchResult as Result;
use std::time::Duration;

use e2e::{Family, Memory};

use crate::{
    figures::{Times, readable},
    kernel,
    many::Many,
    nic::Nic,
    setup::{Bench, DUMMY, PATIENCE},
    table::Line,
};

/// How long addresses stay after the agent has stopped (`PURELB_STOP_GRACE`).
const GRACE: Duration = Duration::from_secs(180);

/// After this time, the work after the addresses were added is done.
const REST: Duration = Duration::from_secs(3);

/// How much longer than `ip -batch` the agent may take for IPv6 addresses, its start included.
const RATIO: f64 = 1.3;

/// The measurements of all rounds.
#[derive(Debug, Default)]
struct Seen {
    /// `ip -batch`: adding the addresses, changing their lifetimes, deleting them.
    batch: [Times; 3],
    /// From the agent's start to all addresses.
    cold: Times,
    /// From the first address to all of them.
    adding: Times,
    /// From the signal to the end of the agent.
    stop: Times,
    /// From the end of the agent until all addresses are permanent again.
    adopted: Times,
    /// The part of that time after the new process has started.
    adopting: Times,
    /// From the request that deselects the node until no address is left.
    deselected: Times,
    /// From the request that selects the node until all addresses are back.
    selected: Times,
    memory: Vec<Memory>,
}

/// Makes the measurements with these Services. Their addresses are on the node afterwards.
pub(crate) async fn measure(bench: &Bench, many: &Many, rounds: u32) -> Result<Vec<Line>> {
    let mut seen = Seen::default();
    for round in 1..=rounds {
        once(bench, many, &mut seen).await.map_err(|error| format!("round {round}: {error}"))?;
        println!(
            "{}, round {round}/{rounds}: added after {}, stopped after {}, adopted after {}, withdrawn after {}",
            many.words(),
            seen.cold,
            seen.stop,
            seen.adopted,
            seen.deselected
        );
    }
    bench.all_agents()?;
    Ok(lines(many, &seen))
}

async fn once(bench: &Bench, many: &Many, seen: &mut Seen) -> Result<()> {
    let count = many.count();
    bench.no_agent().await?;
    let mut nic = Nic::open(&bench.node, DUMMY)?;
    kernel::flush(&bench.node)?;
    nic.until("no address of an earlier round", PATIENCE, |held| held.all() == 0).await?;
    let batch = kernel::by_batch(&bench.node, many.family, &many.addresses)?;
    for (times, time) in seen.batch.iter_mut().zip([batch.add, batch.change, batch.delete]) {
        times.add(time);
    }

    let (pid, started) = bench.start_agent().await?;
    let first = nic.until("an address", PATIENCE, |held| held.all() > 0).await?;
    let all = nic.until("all addresses", PATIENCE, |held| held.all() == count).await?;
    seen.cold.add(all.saturating_duration_since(started));
    seen.adding.add(all - first);
    tokio::time::sleep(REST).await;
    seen.memory.push(Memory::of(pid)?);

    let (asked, gone) = bench.terminate_agent().await?;
    nic.until("all addresses with a lifetime", PATIENCE, |held| held.lasting() == 0).await?;
    let (_, again) = bench.appears().await?;
    let adopted = nic.until("all addresses permanent", PATIENCE, |held| held.lasting() == count).await?;
    if nic.held().all() != count {
        return Err(format!("{} of {count} addresses are left after a restart", nic.held().all()).into());
    }
    seen.stop.add(gone - asked);
    seen.adopted.add(adopted.saturating_duration_since(gone));
    seen.adopting.add(adopted.saturating_duration_since(again));

    bench.cluster.agents_ready(PATIENCE).await?;
    tokio::time::sleep(REST).await;
    let asked = bench.select(false).await?;
    let none = nic.until("no address", PATIENCE, |held| held.all() == 0).await?;
    seen.deselected.add(none - asked);
    tokio::time::sleep(REST).await;
    let asked = bench.select(true).await?;
    let back = nic.until("all addresses again", PATIENCE, |held| held.all() == count).await?;
    seen.selected.add(back - asked);
    Ok(())
}

fn lines(many: &Many, seen: &Seen) -> Vec<Line> {
    let words = many.words();
    let [add, change, delete] = seen.batch.each_ref().map(Times::median);
    let times = seen.cold.median().as_secs_f64() / add.as_secs_f64();
    let cold = Line::times(format!("{words}: start of the agent to all on kube-lb0"), &seen.cold);
    let cold = match many.family {
        Family::V4 => cold.median_under("5 s", Duration::from_secs(5)),
        Family::V6 => cold.aim(&format!("at most {RATIO} times ip -batch ({times:.2})"), times <= RATIO),
    };
    let most = seen.memory.iter().map(|memory| memory.now).fold(0.0, f64::max);
    let peak = seen.memory.iter().map(|memory| memory.most).fold(0.0, f64::max);
    vec![
        cold,
        Line::new("  the first of them to all", readable(seen.adding.median())),
        Line::new("  ip -batch, to add them on an interface of its own", readable(add)),
        Line::new("  ip -batch, to give them other lifetimes", readable(change)),
        Line::new("  ip -batch, to delete them", readable(delete)),
        Line::new("  memory of the agent (and at most, at any time)", format!("{most:.1} MB ({peak:.1})"))
            .aim("at most 40 MB", most <= 40.0)
            .peers("40 MB, few addresses", "75 MB, few addresses"),
        Line::times("  SIGTERM to the end of the agent", &seen.stop),
        Line::times("  end of the agent to all adopted by the next one", &seen.adopted)
            .median_under("180 s, the addresses' lifetime", GRACE),
        Line::times("  the next one's part of that", &seen.adopting),
        Line::times("  an LBNodeAgent that deselects the node to none left", &seen.deselected),
        Line::times("  its removal to all back", &seen.selected),
    ]
}
