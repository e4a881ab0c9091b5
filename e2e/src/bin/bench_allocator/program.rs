//! The allocator as a process of its own.

use std::{
    fs::{self, File},
    net::Ipv4Addr,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::Result;

/// Of `/metrics`, `/healthz` and `/readyz`.
const PORT: u16 = 7472;

/// How long anything may take that does not depend on the number of Services.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running allocator; it is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Allocator {
    child: Child,
    /// From before the start of the process to the first good answer of `/readyz`.
    pub(super) ready: Duration,
}

impl Drop for Allocator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Resident memory in MB (10^6 bytes).
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    pub(super) now: f64,
    pub(super) most: f64,
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

    /// Asks it to stop, so that it gives its lease back.
    pub(super) fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        let end = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > end {
                return Err("the allocator does not stop".into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// What it has used of the processors so far.
    pub(super) fn cpu(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread that ends this moment does no harm.
            let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            nanoseconds += text.split(' ').next().and_then(|time| time.parse::<u64>().ok()).unwrap_or_default();
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// What it uses of the memory.
    pub(super) fn memory(&self) -> Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
            kilobytes.map(|kilobytes| kilobytes * 1.024e-3).ok_or_else(|| format!("no {name} in /proc"))
        };
        Ok(Memory { now: field("VmRSS:")?, most: field("VmHWM:")? })
    }
}

fn get(path: &str) -> e2e::Result<String> {
    e2e::http_get((Ipv4Addr::LOCALHOST, PORT).into(), path)
}

/// The value of a series without labels.
fn value(metrics: &str, series: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}
