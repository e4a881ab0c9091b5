//! The allocator as a process of its own.

use e2e::BenchResult as Result;
use std::{
    fs::File,
    net::Ipv4Addr,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use e2e::{Memory, processor_time};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The port of `/metrics`, `/healthz` and `/readyz`.
const PORT: u16 = 7472;

/// The deadline of steps that do not depend on the number of Services.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running allocator, which is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Allocator {
    child: Child,
    /// From before the start of the process to the first successful answer of `/readyz`.
    pub(super) ready: Duration,
}

impl Drop for Allocator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Allocator {
    /// Starts it with the files in `directory`, and waits until it is ready and leads.
    pub(super) fn start(program: &Path, directory: &Path) -> Result<Self> {
        let log = File::options().create(true).append(true).open(directory.join("allocator.log"))?;
        let begin = Instant::now();
        let child = Command::new(program)
            .args(["--namespace", e2e::NAMESPACE, "--port", &PORT.to_string(), "--kubeconfig"])
            .arg(directory.join("allocator"))
            .env("DEFAULT_ANNOUNCER", "PureLB")
            .env("POD_NAME", "bench")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("cannot start {}, which `make binaries` builds: {error}", program.display()))?;
        let mut allocator = Self { child, ready: Duration::ZERO };
        allocator.until("ready", |_| get("/readyz").is_ok())?;
        allocator.ready = begin.elapsed();
        allocator
            .until("leading", |metrics| value(metrics, "purelb_allocator_leader").is_some_and(|leads| leads > 0.5))?;
        Ok(allocator)
    }

    fn until(&mut self, what: &str, holds: impl Fn(&str) -> bool) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while !holds(&get("/metrics").unwrap_or_default()) {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the allocator ended with {status} before it was {what}").into());
            }
            if Instant::now() > end {
                return Err(format!("the allocator is not {what} after {PATIENCE:?}").into());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Stops it gracefully, so that it releases its Lease.
    pub(super) fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(self.pid()?), Signal::SIGTERM)?;
        let end = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > end {
                return Err("the allocator does not stop".into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The processor time that it has used so far.
    pub(super) fn cpu(&self) -> Result<Duration> {
        Ok(processor_time(self.pid()?)?)
    }

    /// The memory that it uses.
    pub(super) fn memory(&self) -> Result<Memory> {
        Ok(Memory::of(self.pid()?)?)
    }

    fn pid(&self) -> Result<i32> {
        Ok(i32::try_from(self.child.id())?)
    }
}

fn get(path: &str) -> e2e::Result<String> {
    e2e::http_get((Ipv4Addr::LOCALHOST, PORT).into(), path)
}

/// The value of a series without labels.
fn value(metrics: &str, series: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}
