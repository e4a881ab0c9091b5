//! How a host comes into being: `lab holder` makes the namespaces, `lab init` lives in them.
//!
//! Three processes talk over one socket, which is the standard output of the two hidden subcommands:
//!
//! ```text
//! starter                 holder                      init (process 1 of the host)
//!    | starts ------------> unshares, starts ----------> own mounts
//!    | <--- "pid 4711" ---- ends                         waits
//!    | plugs in cables
//!    | "go" -------------------------------------------> network, sysctls, services
//!    | <------------------------------ "ready" or "failed: why"
//! ```
//!
//! A starter that dies before "go" takes the host along. After that the host lives until its init is killed, which
//! ends all its processes and frees its mounts and interfaces.

use std::{
    fs,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    net::TcpListener,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    sched::{CloneFlags, unshare},
    unistd::{dup2_stdout, sethostname, setsid},
};

use crate::{
    cgroups, command,
    error::{Doing, Error, Result, unexpected},
    layout, mounts,
    plan::Plan,
    supervisor::Supervisor,
};

/// Longer than a host needs to set itself up when all the others do the same.
const PATIENCE: Duration = Duration::from_secs(30);

/// A host whose namespaces exist and whose cables are not plugged in yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) pid: i32,
    plan: String,
    socket: BufReader<UnixStream>,
}

/// Makes the namespaces of the host described by the file `plan`. `listener` becomes the init's standard input.
///
/// # Errors
/// The `lab` program is missing, or the kernel refuses.
pub(crate) fn boot(plan: &Path, listener: Option<&TcpListener>) -> Result<Waiting> {
    let directory = plan.parent().unwrap_or(plan);
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join("init.log"))
        .doing(|| format!("write in {}", directory.display()))?;
    let stdin = match listener {
        Some(listener) => Stdio::from(OwnedFd::from(listener.try_clone().doing(|| "share the listener".into())?)),
        None => Stdio::null(),
    };
    let (ours, theirs) = UnixStream::pair().doing(|| "make a socket pair".into())?;
    ours.set_read_timeout(Some(PATIENCE)).doing(|| "set a deadline".into())?;
    let status = Command::new(layout::lab()?)
        .arg0("lab")
        .arg("holder")
        .arg(plan)
        .stdin(stdin)
        .stdout(OwnedFd::from(theirs))
        .stderr(log)
        .current_dir("/")
        .status()
        .doing(|| "start `lab holder`".into())?;
    let mut waiting = Waiting { pid: 0, plan: plan.display().to_string(), socket: BufReader::new(ours) };
    let line = waiting.line()?;
    waiting.pid = line
        .strip_prefix("pid ")
        .and_then(|pid| pid.parse().ok())
        .ok_or_else(|| unexpected(format!("the start of {}", waiting.plan), format!("{status}, {line}")))?;
    Ok(waiting)
}

impl Waiting {
    /// Lets the host go on, now that its cables are plugged in, and returns once its network is set up.
    ///
    /// # Errors
    /// What the host says went wrong.
    pub(crate) fn go(mut self) -> Result<()> {
        self.socket.get_mut().write_all(b"go\n").doing(|| format!("start {}", self.plan))?;
        match self.line()?.as_str() {
            "ready" => Ok(()),
            other => Err(unexpected(format!("the start of {}", self.plan), other)),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.socket.read_line(&mut line).doing(|| format!("hear from {}", self.plan))?;
        if line.is_empty() {
            return Err(unexpected(format!("the start of {}", self.plan), "it ended; see init.log beside it"));
        }
        Ok(line.trim_end().to_owned())
    }
}

/// The hidden subcommand `lab holder`.
///
/// # Errors
/// The kernel refuses the namespaces.
pub fn hold(plan: &Path) -> Result<()> {
    unshare(
        CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC,
    )
    .doing(|| "make namespaces".into())?;
    let init =
        Command::new("/proc/self/exe").arg0("lab").arg("init").arg(plan).spawn().doing(|| "start `lab init`".into())?;
    let pid = init.id();
    let file = plan.with_file_name("pid");
    fs::write(&file, pid.to_string()).doing(|| format!("write {}", file.display()))?;
    let mut starter = File::from(own_stdout()?);
    writeln!(starter, "pid {pid}").doing(|| "report".into())
}

/// The hidden subcommand `lab init`: the first process of a host. Does not return while the host is on.
///
/// # Errors
/// The plan cannot be carried out; the starter has been told.
pub fn init(plan: &Path) -> Result<()> {
    let mut starter = UnixStream::from(own_stdout()?);
    let supervisor = match set_up(plan, &starter) {
        Ok(Some(supervisor)) => supervisor,
        Ok(None) => return Ok(()),
        Err(error) => {
            let _ = writeln!(starter, "failed: {}", error.to_string().replace('\n', "; "));
            return Err(error);
        }
    };
    writeln!(starter, "ready").doing(|| "report".into())?;
    // The starter waits for the end of this socket's life with nobody but itself.
    drop(starter);
    let null = OpenOptions::new().write(true).open("/dev/null").doing(|| "open /dev/null".into())?;
    dup2_stdout(null).doing(|| "leave the starter".into())?;
    supervisor.run()
}

/// Does everything before the services; `None` when the starter went away before it said go.
fn set_up(path: &Path, starter: &UnixStream) -> Result<Option<Supervisor>> {
    let plan = Plan::read(path)?;
    setsid().doing(|| "leave the session".into())?;
    sethostname(plan.host.to_string()).doing(|| "set the host name".into())?;
    mounts::arrange(&plan)?;
    if let Some(cgroup) = &plan.cgroup {
        cgroups::make(cgroup)?;
    }
    let mut word = String::new();
    BufReader::new(starter).read_line(&mut word).doing(|| "hear from the starter".into())?;
    if word.trim_end() != "go" {
        return Ok(None);
    }
    for (name, value) in &plan.sysctls {
        fs::write(Path::new("/proc/sys").join(name), value).doing(|| format!("set {name} to {value}"))?;
    }
    let batch = plan.network.join("\n");
    command::run_with_input(Command::new("ip").args(["-batch", "-"]), batch.into_bytes()).map_err(
        |error| match error {
            // `ip` tells the line's number only.
            Error::Command { command, status, stderr } => {
                Error::Command { command, status, stderr: format!("{stderr}; the lines: {}", plan.network.join(" | ")) }
            }
            other => other,
        },
    )?;
    for words in &plan.commands {
        let mut words = words.iter();
        command::run(Command::new(words.next().map_or("", String::as_str)).args(words))?;
    }
    Ok(Some(Supervisor::new(plan)))
}

fn own_stdout() -> Result<OwnedFd> {
    io::stdout().as_fd().try_clone_to_owned().doing(|| "use the standard output".into())
}
