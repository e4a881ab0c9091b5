//! `make bench-agent`: how fast the agent adds addresses to its node's interfaces and removes them, one at a time and
//! ten thousand at once, and how much processor time and memory it uses.
//!
//! The benchmark has a cluster of its own with one node. The kernel's netlink notifications show when an address is
//! added or removed. A client on the nodes' LAN asks for the address by ARP once per millisecond, and so shows when
//! clients notice. The allocator assigns the addresses, so a time that begins with the creation of a Service includes
//! the allocator's part. A watch of the Services shows where the agent's part begins. For the figures with ten thousand
//! addresses, the Services already have their addresses when the agent starts, one family after the other. kube-proxy
//! ignores these Services, because it takes much longer for them than the agent.
//!
//! | Module | Holds |
//! |---|---|
//! | `setup` | makes the cluster ready: its node, its Services |
//! | `nic` | the addresses of an interface, from the kernel's notifications |
//! | `latency` | one Service at a time |
//! | `many` | many Services, created and deleted |
//! | `agent` | the agent as a process: started, stopped, restarted by the kubelet |
//! | `kernel` | the same addresses by `ip -batch` |
//! | `bulk` | many addresses are added, survive a restart, and are removed |
//! | `idle` | the agent's processor time and memory when nothing happens |
//! | `figures` | statistics over many runs |
//! | `table` | prints the table |

mod agent;
mod bulk;
mod figures;
mod idle;
mod kernel;
mod latency;
mod many;
mod nic;
mod setup;
mod table;

use e2e::BenchResult as Result;
use std::{process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};
use e2e::Family;

use many::Many;

/// Measures the agent.
#[derive(Debug, Clone, Parser)]
struct Arguments {
    /// The cluster; `lab up --nodes 1` starts one
    #[arg(long, default_value = "benchagent")]
    cluster: String,
    /// The number of single Services of each kind
    #[arg(long, env = "RUNS", default_value_t = 50)]
    runs: u32,
    /// Only these sections, joined by commas
    #[arg(long, env = "ROWS", value_delimiter = ',')]
    rows: Vec<Section>,
    /// Addresses of each family in the sections bulk and idle
    #[arg(long, env = "COUNT", default_value_t = 10_000)]
    count: u32,
    /// How often they are added, kept over a restart, and removed
    #[arg(long, env = "ROUNDS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How many seconds the agent at rest is measured
    #[arg(long, default_value_t = 60)]
    rest: u64,
}

/// A part of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// One Service at a time
    Latency,
    /// Many addresses are added, survive a restart, and are removed
    Bulk,
    /// The agent's processor time and memory when nothing happens
    Idle,
}

impl Arguments {
    fn has(&self, section: Section) -> bool {
        self.rows.is_empty() || self.rows.contains(&section)
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench_agent: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    let bench = setup::prepare(&arguments.cluster).await?;
    let rest = Duration::from_secs(arguments.rest);
    let mut lines = Vec::new();
    if arguments.has(Section::Latency) {
        lines.extend(latency::remote(&bench, arguments.runs).await?);
        lines.extend(latency::local(&bench, arguments.runs).await?);
    }
    if arguments.has(Section::Idle) {
        lines.extend(idle::measure(&bench, 0, rest).await?);
    }
    for family in Family::ALL {
        let idle = arguments.has(Section::Idle) && family == Family::V4;
        if !idle && !arguments.has(Section::Bulk) {
            continue;
        }
        let many = Many::create(&bench, family, arguments.count).await?;
        if arguments.has(Section::Bulk) {
            lines.extend(bulk::measure(&bench, &many, arguments.rounds).await?);
        }
        if idle {
            lines.extend(idle::measure(&bench, arguments.count, rest).await?);
        }
        lines.extend(many.delete(&bench).await?);
    }
    println!();
    table::print(&lines);
    println!(
        "\nThe figures of PureLB and MetalLB are medians in the same lab. Neither of them probes an address before it claims\n\
         it. PureLB publishes for its own cluster: creation to address 370 to 1037 ms, deletion to withdrawn 398 to 1724 ms."
    );
    Ok(())
}
