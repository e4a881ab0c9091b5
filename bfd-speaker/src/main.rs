//! Speaks BFD with routers, so that they notice the death of this node in a fraction of a second.
//!
//! The protocol is the crate `bfd`, whose documentation has everything else too: whom to speak with comes from files in
//! a directory, and what is seen goes into one. There is no port for people; the node agent shows it.
//!
//! | Environment variable | Default | Effect |
//! |---|---|---|
//! | `PURELB_BFD_DIRECTORY` | `/run/purelb/bfd` | where the files are |
//! | `PURELB_LOG_LEVEL` | `info` | `debug`, `info`, `warn` or `error` |
//!
//! | Module | Holds |
//! |---|---|
//! | `speaker` | the loop |
//! | `receive`, `ports`, `send` | the sockets |
//! | `files`, `sources` | what is wanted and what is seen |
//! | `lock`, `ending` | one process speaks; how it ends |
//! | `scheduling`, `clock`, `log` | processor, time, log |

mod clock;
mod ending;
mod files;
mod lock;
mod log;
mod ports;
mod receive;
mod scheduling;
mod send;
mod sources;
mod speaker;

use std::path::PathBuf;
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        None => {}
        Some("--version") => {
            println!("bfd-speaker {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Some(_) => {
            eprintln!("usage: bfd-speaker [--version]; everything else is set by environment variables");
            return ExitCode::from(2);
        }
    }
    match run() {
        Ok(()) => {
            log::flush();
            ExitCode::SUCCESS
        }
        Err(error) => {
            log!(Error, "ends", error = error.to_string());
            log::flush();
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), std::io::Error> {
    // Before the first thread, so that none of them is ended by a signal.
    let ends = SigSet::from(Signal::SIGTERM) | Signal::SIGINT;
    let all = ends | Signal::SIGCONT;
    all.thread_block()?;
    let signals = SignalFd::with_flags(&ends, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    log::init();
    let directory = PathBuf::from(std::env::var_os("PURELB_BFD_DIRECTORY").unwrap_or_else(|| "/run/purelb/bfd".into()));
    // Kept to the end.
    let Some(_lock) = lock::wait(&directory, &signals)? else { return Ok(()) };
    let before = files::read_report(&directory);
    let speaker = speaker::Speaker::new(directory, before.as_ref())?;
    signals.set_mask(&all)?;
    speaker.run(&signals);
    Ok(())
}
