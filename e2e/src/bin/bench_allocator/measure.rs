//! The measurements: bursts, single Services, idle cost.

use e2e::BenchResult as Result;
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use e2e::{AddressWatch, Memory, ServiceObject};
use futures::channel::mpsc;
use kube::Client;

use crate::{
    arguments::Arguments,
    by_hand,
    program::Allocator,
    services::{clear_all, create, create_one, delete, delete_all, list, watch},
    table::{Line, median, milliseconds, print, rate},
    writes::Writes,
};

/// The result of a burst.
#[derive(Debug, Clone)]
struct Burst {
    /// From the first creation to the last visible address.
    time: Duration,
    /// Addresses per second, from the first visible one to the last.
    rate: f64,
    /// Processor time of the allocator.
    cpu: Duration,
    writes: Writes,
    /// The share of the machine's processor time that other programs used meanwhile.
    others: f64,
}

struct Bench<'a> {
    arguments: &'a Arguments,
    directory: &'a Path,
    /// Creates, deletes and watches.
    admin: Client,
    /// Writes addresses without an allocator, with the allocator's permissions.
    hand: Client,
}

/// Runs everything and prints the table.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(super) async fn all(arguments: &Arguments, directory: &Path) -> Result<()> {
    let connect = async |name: &str| runtime::client::connect(Some(&directory.join(name)), "bench").await;
    let bench = Bench { arguments, directory, admin: connect("admin").await?, hand: connect("allocator").await? };
    delete_all(&bench.admin).await?;
    let mut lines = bench.idle("on an idle, empty system").await?;
    let (small, backlog) = bench.small().await?;
    lines.extend(small);
    if arguments.large > 0 {
        lines.extend(bench.large(backlog).await?);
    }
    println!();
    print(&lines);
    println!(
        "\nFor comparison, measured before on the same kind of lab: PureLB v0.17 1.7/s, MetalLB 0.16.1 43/s in a\n\
         burst of 1,000; one Service 22 ms and 18 ms (medians); memory 38 MB and 83 MB."
    );
    Ok(())
}

impl Bench<'_> {
    fn start(&self) -> Result<Allocator> {
        Allocator::start(&self.arguments.allocator, self.directory)
    }

    /// One Service at a time, alternately served by the allocator and by this program.
    async fn idle(&self, what: &str) -> Result<Vec<Line>> {
        let allocator = self.start()?;
        let mut sight = watch(&self.admin).await?;
        let (mut raw, mut ours) = (Vec::new(), Vec::new());
        let first = 900_000;
        let end = first + 2 * self.arguments.single;
        for (number, body) in (first..end).zip(by_hand::bodies(2 * self.arguments.single)) {
            // It has another class, so the allocator ignores it.
            let foreign = (number % 2 == 0).then_some("example.com/by-hand");
            let (sent, created) = create_one(&self.admin, number, foreign).await?;
            if foreign.is_some() {
                by_hand::patch(&self.hand, &created, &body).await?;
            }
            let took = sight.next().await? - sent;
            if foreign.is_some() {
                raw.push(took);
            } else {
                ours.push(took);
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        allocator.stop()?;
        delete(&self.admin, first..end).await?;
        let (raw, ours) = (median(&raw), median(&ours));
        let ratio = ours.as_secs_f64() / raw.as_secs_f64();
        Ok(vec![
            Line::new(
                format!("one Service {what}, median of {}", self.arguments.single),
                milliseconds(raw),
                milliseconds(ours),
            )
            .ratio(ratio, "at most 1.50", ratio <= 1.5),
        ])
    }

    async fn small(&self) -> Result<(Vec<Line>, Backlog)> {
        let count = self.arguments.small;
        let (mut raw, mut ours) = (Vec::new(), Vec::new());
        for round in 1..=self.arguments.rounds {
            raw.push(self.raw(count).await?);
            delete(&self.admin, 0..count).await?;
            let allocator = self.start()?;
            ours.push(self.burst(count, &allocator).await?);
            allocator.stop()?;
            delete(&self.admin, 0..count).await?;
            report(&format!("burst of {count}, round {round}"), raw.last(), ours.last());
        }
        let mut lines = compare(count, &raw, &ours);
        create(self.admin.clone(), 0..count, drop).await?;
        let backlog = self.backlog(count).await?;
        delete(&self.admin, 0..count).await?;
        lines.extend(backlog.lines());
        Ok((lines, backlog))
    }

    async fn large(&self, small: Backlog) -> Result<Vec<Line>> {
        let count = self.arguments.large;
        let mut lines = Vec::new();
        if self.arguments.no_large_burst {
            create(self.admin.clone(), 0..count, drop).await?;
        } else {
            let allocator = self.start()?;
            let ours = self.burst(count, &allocator).await?;
            allocator.stop()?;
            delete(&self.admin, 0..count).await?;
            let raw = self.raw(count).await?;
            report(&format!("burst of {count}"), Some(&raw), Some(&ours));
            lines.extend(compare(count, &[raw], &[ours]));
        }
        let backlog = self.backlog(count).await?;
        lines.extend(backlog.lines());
        let what = |which: &str| format!("time per waiting Service at {count}, against that at {}{which}", small.count);
        let micro = |rate: f64| format!("{:.0} us", 1e6 / rate);
        let (raw, ours) = (small.raw / backlog.raw, small.ours / backlog.ours);
        lines.push(Line::new(what(", by hand"), micro(small.raw), micro(backlog.raw)).ratio(raw, "-", true));
        lines.push(Line::new(what(", allocator"), micro(small.ours), micro(backlog.ours)).ratio(
            ours,
            "at most 1.20",
            ours <= 1.2,
        ));
        let cpu = backlog.cpu / small.cpu;
        let micro = |seconds: f64| format!("{:.0} us", seconds * 1e6);
        lines.push(Line::new(what(", its processor"), micro(small.cpu), micro(backlog.cpu)).ratio(
            cpu,
            "at most 1.20",
            cpu <= 1.2,
        ));

        let allocator = self.start()?;
        let ready = allocator.ready;
        let what = format!("start to ready with {count} Services");
        lines.push(Line::new(what, "", milliseconds(ready)).aim("under 2 s", ready < Duration::from_secs(2)));
        let started_memory = allocator.memory()?;
        for (what, memory) in [("after serving", backlog.memory), ("after a start", started_memory)] {
            let value = format!("{:.1} MB, peak {:.1} MB", memory.now, memory.most);
            lines.push(
                Line::new(format!("memory {what} with {count} Services"), "", value)
                    .aim("at most 40 MB", memory.now <= 40.0),
            );
        }
        let rest = Duration::from_secs(self.arguments.rest);
        // Wait until the work after the start is done.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let before = allocator.cpu()?;
        tokio::time::sleep(rest).await;
        let used = (allocator.cpu()?.saturating_sub(before)).as_secs_f64() / rest.as_secs_f64() * 100.0;
        let what = format!("processor at rest over {} s, of one core", rest.as_secs());
        lines.push(Line::new(what, "", format!("{used:.2} %")).aim("under 0.5 %", used < 0.5));
        allocator.stop()?;
        lines.extend(self.idle(&format!("with {count} others")).await?);
        delete_all(&self.admin).await?;
        Ok(lines)
    }

    /// Creates Services, and sends the allocator's writes without an allocator.
    async fn raw(&self, count: u32) -> Result<Burst> {
        let mut sight = watch(&self.admin).await?;
        let (sender, services) = mpsc::unbounded();
        let patches = tokio::spawn(by_hand::patch_all(self.hand.clone(), by_hand::bodies(count), services));
        let burst = self.watched(count, &mut sight, None, move |created| {
            // The task below notices its end.
            let _ = sender.unbounded_send(created);
        });
        let burst = burst.await?;
        patches.await??;
        Ok(burst)
    }

    /// Creates Services, which the allocator serves.
    async fn burst(&self, count: u32, allocator: &Allocator) -> Result<Burst> {
        let mut sight = watch(&self.admin).await?;
        self.watched(count, &mut sight, Some(allocator), drop).await
    }

    async fn watched(
        &self,
        count: u32,
        sight: &mut AddressWatch,
        allocator: Option<&Allocator>,
        each: impl Fn(ServiceObject) + Send + Sync + 'static,
    ) -> Result<Burst> {
        let cpu = || allocator.map_or(Ok(Duration::ZERO), Allocator::cpu);
        let (writes, cpu_before, load) = (Writes::read(&self.admin).await?, cpu()?, Load::now());
        let begin = Instant::now();
        let creations = tokio::spawn(create(self.admin.clone(), 0..count, each));
        let (first, last) = sight.count(count).await?;
        let others = Load::now().others_since(&load);
        creations.await??;
        // Wait for second writes to a Service and for repeated ones, which must be counted.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        Ok(Burst {
            time: last - begin,
            rate: f64::from(count) / (last - first).as_secs_f64(),
            cpu: cpu()?.saturating_sub(cpu_before),
            writes: Writes::read(&self.admin).await?.since(&writes),
            others,
        })
    }

    /// Services that exist before the start, all served as fast as possible. No creations keep the API server busy,
    /// which takes longer for each creation the more Services there are.
    async fn backlog(&self, count: u32) -> Result<Backlog> {
        clear_all(&self.admin).await?;
        let mut sight = watch(&self.admin).await?;
        let (sender, services) = mpsc::unbounded();
        for service in list(&self.admin).await? {
            sender.unbounded_send(service)?;
        }
        drop(sender);
        let patches = tokio::spawn(by_hand::patch_all(self.hand.clone(), by_hand::bodies(count), services));
        let (first, last) = sight.count(count).await?;
        patches.await??;
        let raw = f64::from(count) / (last - first).as_secs_f64();

        clear_all(&self.admin).await?;
        let mut sight = watch(&self.admin).await?;
        let writes = Writes::read(&self.admin).await?;
        let allocator = self.start()?;
        let (first, last) = sight.count(count).await?;
        let cpu = allocator.cpu()?;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let writes = Writes::read(&self.admin).await?.since(&writes);
        let memory = allocator.memory()?;
        allocator.stop()?;
        let ours = f64::from(count) / (last - first).as_secs_f64();
        println!("{count} waiting at the start: raw {raw:.0}/s, allocator {ours:.0}/s, writes: {}", writes.listing());
        Ok(Backlog {
            count,
            raw,
            ours,
            cpu: cpu.as_secs_f64() / f64::from(count),
            writes: writes.to_services(),
            memory,
        })
    }
}

/// How many waiting Services were served per second.
#[derive(Debug, Clone, Copy)]
struct Backlog {
    count: u32,
    raw: f64,
    ours: f64,
    /// Processor time of the allocator per Service in seconds, its start included.
    cpu: f64,
    writes: u64,
    memory: Memory,
}

impl Backlog {
    fn lines(&self) -> Vec<Line> {
        let Self { count, raw, ours, cpu, writes, .. } = *self;
        let ratio = ours / raw;
        vec![
            Line::new(format!("{count} Services waiting at the start"), rate(raw), rate(ours)).ratio(
                ratio,
                "0.90",
                ratio >= 0.9,
            ),
            Line::new("  writes to them", count.to_string(), writes.to_string())
                .aim("one each", writes == u64::from(count)),
            Line::new("  processor time of the allocator for each", "", format!("{:.0} us", cpu * 1e6)),
        ]
    }
}

fn report(what: &str, raw: Option<&Burst>, ours: Option<&Burst>) {
    for (kind, burst) in [("raw", raw), ("allocator", ours)] {
        if let Some(burst) = burst {
            println!(
                "{what}, {kind}: {:.2} s, {:.0}/s from the first address to the last; other programs used {:.0} % of the machine; writes: {}",
                burst.time.as_secs_f64(),
                burst.rate,
                burst.others * 100.0,
                burst.writes.listing()
            );
        }
    }
}

fn compare(count: u32, raw: &[Burst], ours: &[Burst]) -> Vec<Line> {
    let total = f64::from(count);
    let of =
        |bursts: &[Burst]| median(&bursts.iter().map(|burst| total / burst.time.as_secs_f64()).collect::<Vec<_>>());
    let (raw_rate, our_rate) = (of(raw), of(ours));
    let ratios: Vec<f64> =
        raw.iter().zip(ours).map(|(raw, ours)| raw.time.as_secs_f64() / ours.time.as_secs_f64()).collect();
    let ratio = median(&ratios);
    let aim = if ratio < 0.8 { "0.90, FAILURE below 0.80" } else { "0.90" };
    let cpu = median(&ours.iter().map(|burst| burst.cpu.as_secs_f64() / total * 1e6).collect::<Vec<_>>());
    let worst = ours.iter().map(|burst| burst.writes.to_services()).max().unwrap_or_default();
    let events = ours.iter().map(|burst| burst.writes.of("POST events")).max().unwrap_or_default();
    let statuses = ours.iter().map(|burst| burst.writes.of("APPLY servicegroups")).max().unwrap_or_default();
    vec![
        Line::new(format!("burst of {count}, creation to the last address"), rate(raw_rate), rate(our_rate)).ratio(
            ratio,
            aim,
            ratio >= 0.9,
        ),
        Line::new(format!("processor time of the allocator per Service at {count}"), "", format!("{cpu:.0} us")),
        Line::new(
            format!("writes to {count} Services (events {events}, group statuses {statuses})"),
            count.to_string(),
            worst.to_string(),
        )
        .aim("one each", worst == u64::from(count)),
    ]
}

/// Processor time of the whole machine, and of this cluster and program.
struct Load {
    all: f64,
    busy: f64,
    own: f64,
}

impl Load {
    fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let ticks: Vec<f64> = stat
            .lines()
            .next()
            .into_iter()
            .flat_map(|line| line.split_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()))
            .collect();
        let all = ticks.iter().sum();
        let idle: f64 = ticks.iter().skip(3).take(2).sum();
        Self { all, busy: all - idle, own: own_ticks() }
    }

    fn others_since(&self, earlier: &Self) -> f64 {
        ((self.busy - earlier.busy) - (self.own - earlier.own)).max(0.0) / (self.all - earlier.all).max(1.0)
    }
}

/// Processor time of all processes in this network namespace: control plane, allocator, this program.
fn own_ticks() -> f64 {
    let network = fs::read_link("/proc/self/ns/net").ok();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ours = processes.filter(|entry| {
        entry.file_name().to_string_lossy().parse::<u32>().is_ok()
            && fs::read_link(entry.path().join("ns/net")).ok() == network
    });
    ours.filter_map(|entry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let field = |index: usize| fields.get(index)?.parse::<f64>().ok();
        Some(field(11)? + field(12)?)
    })
    .sum()
}
