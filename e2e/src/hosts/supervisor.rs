//! The first process of a host: starts its services, starts them again when they end, and reaps its processes.

use std::{
    fs::OpenOptions,
    io,
    os::fd::AsFd,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
};

use crate::{
    base::error::{Doing, Result},
    hosts::spec::{HostSpec, PROGRAMS, Service},
};

/// How often it looks while a service is to be started, and otherwise.
const BUSY: Duration = Duration::from_millis(20);
const QUIET: Duration = Duration::from_millis(200);

/// A service that ended is started again after this time.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum State {
    /// To be started at this time, when its files are there.
    Due(Instant),
    Running(u32),
}

/// The services of one host.
#[derive(Debug)]
pub(crate) struct Supervisor {
    directory: PathBuf,
    services: Vec<(Service, State)>,
}

impl Supervisor {
    pub(crate) fn new(spec: HostSpec) -> Self {
        let now = Instant::now();
        let directory = spec.directory();
        Self { directory, services: spec.services.into_iter().map(|service| (service, State::Due(now))).collect() }
    }

    /// Works until this process is killed.
    pub(crate) fn run(mut self) -> Result<()> {
        loop {
            self.reap()?;
            let now = Instant::now();
            let mut busy = false;
            for (service, state) in &mut self.services {
                if let State::Due(time) = state {
                    busy = true;
                    if *time <= now && service.after.iter().all(|file| file.exists()) {
                        *state = match start(service, &self.directory) {
                            Ok(pid) => State::Running(pid),
                            Err(error) => {
                                eprintln!("{error}");
                                State::Due(now + PAUSE)
                            }
                        };
                    }
                }
            }
            thread::sleep(if busy { BUSY } else { QUIET });
        }
    }

    /// Reaps every process that has ended, the host's orphans too.
    fn reap(&mut self) -> Result<()> {
        loop {
            let dead = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
                Ok(status) => status,
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error).doing(|| "wait for processes".into()),
            };
            let pid = dead.pid().and_then(|pid| u32::try_from(pid.as_raw()).ok());
            for (service, state) in &mut self.services {
                if let State::Running(running) = state
                    && Some(*running) == pid
                {
                    eprintln!("{} ended: {dead:?}", service.name);
                    *state = State::Due(Instant::now() + PAUSE);
                }
            }
        }
    }
}

fn start(service: &Service, directory: &std::path::Path) -> Result<u32> {
    let what = || format!("start {}", service.name);
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join(format!("{}.log", service.name)))
        .doing(what)?;
    let stdin = if service.takes_listener {
        Stdio::from(io::stdin().as_fd().try_clone_to_owned().doing(what)?)
    } else {
        Stdio::null()
    };
    let mut words = service.command.iter();
    let program = words.next().cloned().unwrap_or_default();
    let child = Command::new(program)
        .args(words)
        .env_clear()
        .env("PATH", format!("{PROGRAMS}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"))
        .env("HOME", "/run")
        .current_dir("/")
        .stdin(stdin)
        .stdout(log.try_clone().doing(what)?)
        .stderr(log)
        .spawn()
        .doing(what)?;
    Ok(child.id())
}
