//! `make bench-failover`: for how long no host answers, or two hosts answer, when nodes, agents and networks fail.
//!
//! The benchmark has a cluster of its own, with one dual-stack Service. Its two addresses have the same order of
//! candidates, so one node answers for both. A client on the nodes' LAN asks for each address once per millisecond, by
//! ARP and by neighbour solicitation, and opens a TCP connection to each every 10 ms. A connection uses the client's
//! own neighbour cache, the owner, its kube-proxy and a backend. The backend is outside the nodes, so no connection
//! fails because a pod died with its node.
//!
//! | Module | Holds |
//! |---|---|
//! | `setup` | makes the cluster ready |
//! | `service` | the Service and its backend |
//! | `bench` | the cluster, and what the events do to it: labels, configuration, pods |
//! | `watch` | watches the addresses from the client |
//! | `standstill` | notices when the machine itself stood still |
//! | `figures` | measurements of one run, statistics over many |
//! | `lines` | the lines of the table: descriptions, goals, the figures of other load balancers |
//! | `rows` | the events: one function each |
//! | `table` | prints the table |

mod bench;
mod figures;
mod lines;
mod rows;
mod service;
mod setup;
mod standstill;
mod table;
mod watch;

use e2e::BenchResult as Result;
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;

use bench::Bench;
use figures::Sample;
use rows::{ROWS, Row};

/// Measures failover at the client.
#[derive(Debug, Clone, Parser)]
struct Arguments {
    /// The cluster; `lab up` starts one
    #[arg(long, default_value = "benchfailover")]
    cluster: String,
    /// The number of runs of each event; by default 20, fewer for events that take a minute
    #[arg(long, env = "RUNS")]
    runs: Option<u32>,
    /// Only these events, joined by commas
    #[arg(long, env = "ROWS", value_delimiter = ',')]
    rows: Vec<String>,
    /// For how many minutes `routedbusy` keeps a node busy
    #[arg(long, env = "BUSY_MINUTES", default_value_t = 30)]
    busy_minutes: u64,
    /// Print the names of the events and end
    #[arg(long)]
    list: bool,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench_failover: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    if arguments.list {
        for row in &ROWS {
            println!("{:<12} {:>3} runs  {}", row.name, row.usual, lines::find(row.name).what);
        }
        return Ok(());
    }
    let rows = chosen(&arguments.rows)?;
    let begin = Instant::now();
    let bench = setup::prepare(&arguments.cluster, Duration::from_secs(60 * arguments.busy_minutes)).await?;
    let mut samples = Vec::new();
    for row in rows {
        let runs = arguments.runs.unwrap_or(row.usual);
        for number in 0..runs {
            measure(&bench, row, number, runs, &mut samples).await;
        }
    }
    println!();
    table::print(&samples);
    println!(
        "\n{} minutes. A 0 means that there were never three questions in a row without an answer.",
        minutes(begin.elapsed())
    );
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Row>> {
    if let Some(unknown) = names.iter().find(|name| !ROWS.iter().any(|row| row.name == **name)) {
        let known: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        return Err(format!("no event {unknown:?}; there are {}", known.join(", ")).into());
    }
    Ok(ROWS.iter().filter(|row| names.is_empty() || names.iter().any(|name| name == row.name)).collect())
}

/// Makes one run. If it fails, prints the error and restores the cluster for the next run.
async fn measure(bench: &Bench, row: &Row, number: u32, runs: u32, samples: &mut Vec<Sample>) {
    match (row.make)(bench, number).await {
        Ok(new) => {
            for sample in &new {
                println!("{} {}/{runs}: {sample}", row.name, number + 1);
            }
            samples.extend(new);
        }
        Err(error) => {
            println!("{} {}/{runs}: not measured: {error}", row.name, number + 1);
            if let Err(error) = bench.restore().await {
                println!("{error}");
            }
        }
    }
}

fn minutes(time: Duration) -> u64 {
    time.as_secs().div_ceil(60)
}
