//! `make bench-allocator`: how close the allocator comes to what the API server can take, and what it costs.
//!
//! A cluster without running nodes, so that nothing but the control plane, this program and the allocator's release
//! binary work. Both clients are in the control plane's network namespace and reach the API server without detour. The
//! raw limit and the allocator use one client library, one service account and the same admission policies.
//!
//! | Module | Holds |
//! |---|---|
//! | `setting` | the cluster made ready, and the kubeconfigs |
//! | `services` | creates and deletes Services |
//! | `by_hand` | the allocator's writes, prepared beforehand and sent by nobody in particular |
//! | `program` | the allocator as a process: memory, CPU time, readiness |
//! | `writes` | what the API server counted |
//! | `measure` | the measurements |
//! | `table` | the figures in print |

mod by_hand;
mod measure;
mod program;
mod services;
mod setting;
mod table;
mod writes;

use std::{error::Error, path::PathBuf, process::ExitCode};

use clap::Parser;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Measures the allocator against the API server's own limit.
#[derive(Debug, Clone, Parser)]
struct Arguments {
    /// The cluster; `lab up --nodes 1` starts one
    #[arg(long, default_value = "benchallocator")]
    cluster: String,
    /// The allocator
    #[arg(long, default_value = "target/bin/allocator")]
    allocator: PathBuf,
    /// Services of the small burst
    #[arg(long, default_value_t = 1000)]
    small: u32,
    /// Services of the large burst; 0 leaves it out
    #[arg(long, default_value_t = 10_000)]
    large: u32,
    /// Create the large number of Services without measuring it: creations take minutes, whoever gives the addresses
    #[arg(long)]
    no_large_burst: bool,
    /// How often the small burst is measured, raw and with the allocator by turns
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Single Services
    #[arg(long, default_value_t = 50)]
    single: u32,
    /// Seconds at rest
    #[arg(long, default_value_t = 60)]
    rest: u64,
    /// Set when this program runs inside the control plane's network already
    #[arg(long, hide = true)]
    inside: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.inside {
        None => setting::prepare(&arguments),
        Some(directory) => measure::all(&arguments, directory),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench_allocator: {error}");
            ExitCode::FAILURE
        }
    }
}
