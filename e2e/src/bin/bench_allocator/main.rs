//! `make bench-allocator`: how close the allocator comes to the API server's limit, and how much processor time and
//! memory it uses.
//!
//! The cluster has no running nodes, so only the control plane, this program and the allocator's release binary do
//! anything. This program and the allocator are in the control plane's network namespace and reach the API server
//! directly. They use the same client library, service account and admission policies.
//!
//! | Module | Holds |
//! |---|---|
//! | `arguments` | the command line |
//! | `setup` | makes the cluster ready, and writes the kubeconfigs |
//! | `services` | creates and deletes Services |
//! | `by_hand` | the raw limit: the allocator's writes, prepared beforehand and sent without an allocator |
//! | `program` | the allocator as a process: memory, CPU time, readiness |
//! | `writes` | counts of writes, from the API server's metrics |
//! | `measure` | the measurements |
//! | `table` | prints the table |

mod arguments;
mod by_hand;
mod measure;
mod program;
mod services;
mod setup;
mod table;
mod writes;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.inside {
        None => setup::prepare(&arguments),
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
