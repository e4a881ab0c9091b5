//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Measures the allocator against the API server's own limit.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Arguments {
    /// The cluster; `lab up --nodes 1` starts one
    #[arg(long, default_value = "benchallocator")]
    pub(crate) cluster: String,
    /// The allocator's program
    #[arg(long, default_value = "target/bin/allocator")]
    pub(crate) allocator: PathBuf,
    /// Services of the small burst
    #[arg(long, default_value_t = 1000)]
    pub(crate) small: u32,
    /// Services of the large burst; 0 leaves it out
    #[arg(long, default_value_t = 10_000)]
    pub(crate) large: u32,
    /// Create the large number of Services without measuring the burst, because creations take minutes in any case
    #[arg(long)]
    pub(crate) no_large_burst: bool,
    /// How often the small burst is measured, alternating between raw writes and the allocator
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: u32,
    /// The number of single Services
    #[arg(long, default_value_t = 50)]
    pub(crate) single: u32,
    /// How many seconds the program at rest is measured
    #[arg(long, default_value_t = 60)]
    pub(crate) rest: u64,
    /// Set when this program already runs in the control plane's network
    #[arg(long, hide = true)]
    pub(crate) inside: Option<PathBuf>,
}
