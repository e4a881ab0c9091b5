//! Checks whether an IPAM sidecar follows the rules of the protocol, against its socket. It uses Services that exist nowhere
//! else, and gives back what it was given. A few addresses of the pool must be free.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Parser;
use ipam::client::Sidecar;
use ipam::conformance::{Conformance, Finding};
use ipam::message::StatsRequest;
use tokio::process::Command;

/// How long one call may take, as in the allocator.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long a sidecar may take to start.
const START: Duration = Duration::from_secs(60);

/// Checks whether an IPAM sidecar follows the rules of the protocol.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Unix socket of the sidecar
    #[arg(long, default_value = ipam::DEFAULT_SOCKET)]
    socket: PathBuf,
    /// Pool (name of a ServiceGroup) to use; a few of its addresses must be free
    #[arg(long)]
    pool: String,
    /// Shell command that ends the sidecar and starts it again
    #[arg(long)]
    restart: Option<String>,
}

/// Runs the command, and waits until the sidecar answers.
async fn restart(command: &str, arguments: &Arguments) -> Result<(), String> {
    let status = Command::new("sh").args(["-c", command]).status().await;
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(format!("the command {command:?} ended with {status}")),
        Err(error) => return Err(format!("the command {command:?} cannot be run: {error}")),
    }
    let sidecar = Sidecar::new(&arguments.socket, DEADLINE);
    let answers = async {
        let request = || StatsRequest { pool: arguments.pool.clone(), ..StatsRequest::default() };
        while sidecar.stats(request()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let in_time = tokio::time::timeout(START, answers).await;
    in_time.map_err(|_| format!("the sidecar does not answer within {START:?} after its restart"))
}

async fn run(arguments: &Arguments) -> Result<Vec<Finding>, String> {
    let run = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos().to_string();
    let sidecar = Sidecar::new(&arguments.socket, DEADLINE);
    let checks = Conformance::begin(sidecar, &arguments.pool, &run).await?;
    let restart = arguments.restart.as_deref().map(|command| async move || restart(command, arguments).await);
    Ok(checks.run(restart).await)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let findings = match run(&arguments).await {
        Ok(findings) => findings,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let mut failed = false;
    for Finding { rule, result } in findings {
        match result {
            Ok(None) => println!("ok       {rule}"),
            Ok(Some(why)) => println!("skipped  {rule}: {why}"),
            Err(what) => {
                failed = true;
                println!("FAILED   {rule}: {what}");
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
