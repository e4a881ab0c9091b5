//! An IPAM sidecar that gives addresses of ranges on its command line. It is for trying external groups, and a start for
//! a sidecar of your own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use api_types::AddressRange;
use clap::Parser;
use ipam::example::Example;
use ipam::habits::{Habit, Habitual};
use ipam::server::serve;
use tokio::signal::unix::{SignalKind, signal};

/// Gives the allocator addresses of ranges.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Unix socket to listen on
    #[arg(long, default_value = ipam::DEFAULT_SOCKET)]
    socket: PathBuf,
    /// File that keeps the allocations; without it they are lost with the process
    #[arg(long)]
    state: Option<PathBuf>,
    /// Bad habit, to see what the allocator makes of it: hang, hang=SERVICE, refuse, refuse-releases, give=ADDRESS or
    /// by-name; may be repeated
    #[arg(long)]
    habit: Vec<Habit>,
    /// NAME=RANGE[,RANGE...]: a ServiceGroup and its ranges; may be repeated
    #[arg(long, required = true)]
    pool: Vec<String>,
}

fn ranges(pools: &[String]) -> Result<BTreeMap<String, Vec<AddressRange>>, String> {
    let pool = |text: &String| {
        let (name, ranges) =
            text.split_once('=').ok_or_else(|| format!("--pool {text}: write NAME=RANGE[,RANGE...]"))?;
        let ranges = ranges.split(',').map(|range| range.parse().map_err(|error| format!("{range}: {error}")));
        Ok((name.to_owned(), ranges.collect::<Result<_, String>>()?))
    };
    pools.iter().map(pool).collect()
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let example = Example::new(ranges(&arguments.pool)?, arguments.state)?;
    let example = Arc::new(Habitual::new(example, arguments.habit));
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        terminate.recv().await;
    };
    println!("listening on {}", arguments.socket.display());
    serve(&arguments.socket, example, stop).await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
