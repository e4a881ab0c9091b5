//! Starts a host: `lab holder` makes the namespaces, `lab init` is the first process in them.
//!
//! Three processes communicate over one socket, which is the standard output of the two hidden subcommands:
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
    base::{
        command,
        error::{Doing, Error, Result, unexpected},
    },
    hosts::{cgroups, mounts, spec::HostSpec, supervisor::Supervisor},
    topology::prepared,
};

/// Longer than a host needs to set itself up when all the others do the same.
const PATIENCE: Duration = Duration::from_secs(30);

/// A host whose namespaces exist and whose cables are not plugged in yet.
#[derive(Debug)]
pub(crate) struct BootingHost {
    pub(crate) pid: i32,
    spec: String,
    socket: BufReader<UnixStream>,
}

/// Makes the namespaces of the host described by the file `spec`. `listener` becomes the init's standard input.
///
/// # Errors
/// The `lab` program is missing, or the kernel refuses.
pub(crate) fn boot(spec: &Path, listener: Option<&TcpListener>) -> Result<BootingHost> {
    let directory = spec.parent().unwrap_or(spec);
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
    let status = Command::new(prepared::lab()?)
        .arg0("lab")
        .arg("holder")
        .arg(spec)
        .stdin(stdin)
        .stdout(OwnedFd::from(theirs))
        .stderr(log)
        .current_dir("/")
        .status()
        .doing(|| "start `lab holder`".into())?;
    let mut waiting = BootingHost { pid: 0, spec: spec.display().to_string(), socket: BufReader::new(ours) };
    let line = waiting.line()?;
    waiting.pid = line
        .strip_prefix("pid ")
        .and_then(|pid| pid.parse().ok())
        .ok_or_else(|| unexpected(format!("the start of {}", waiting.spec), format!("{status}, {line}")))?;
    Ok(waiting)
}

impl BootingHost {
    /// Lets the host go on, now that its cables are plugged in, and returns once its network is set up.
    ///
    /// # Errors
    /// The host reports what went wrong.
    pub(crate) fn go(mut self) -> Result<()> {
        self.socket.get_mut().write_all(b"go\n").doing(|| format!("start {}", self.spec))?;
        match self.line()?.as_str() {
            "ready" => Ok(()),
            other => Err(unexpected(format!("the start of {}", self.spec), other)),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.socket.read_line(&mut line).doing(|| format!("hear from {}", self.spec))?;
        if line.is_empty() {
            return Err(unexpected(format!("the start of {}", self.spec), "it ended; see init.log beside it"));
        }
        Ok(line.trim_end().to_owned())
    }
}

/// The hidden subcommand `lab holder`.
///
/// # Errors
/// The kernel refuses the namespaces.
pub fn hold(spec: &Path) -> Result<()> {
    unshare(
        CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC,
    )
    .doing(|| "make namespaces".into())?;
    let init =
        Command::new("/proc/self/exe").arg0("lab").arg("init").arg(spec).spawn().doing(|| "start `lab init`".into())?;
    let pid = init.id();
    let file = spec.with_file_name("pid");
    fs::write(&file, pid.to_string()).doing(|| format!("write {}", file.display()))?;
    let mut starter = File::from(own_stdout()?);
    writeln!(starter, "pid {pid}").doing(|| "report".into())
}

/// The hidden subcommand `lab init`: the first process of a host. Does not return while the host is on.
///
/// # Errors
/// The host cannot be set up as specified; the starter has got the same message.
pub fn init(spec: &Path) -> Result<()> {
    let mut starter = UnixStream::from(own_stdout()?);
    let supervisor = match set_up(spec, &starter) {
        Ok(Some(supervisor)) => supervisor,
        Ok(None) => return Ok(()),
        Err(error) => {
            let _ = writeln!(starter, "failed: {}", error.to_string().replace('\n', "; "));
            return Err(error);
        }
    };
    writeln!(starter, "ready").doing(|| "report".into())?;
    // The starter must see the end of the socket; nothing else may keep it open.
    drop(starter);
    let null = OpenOptions::new().write(true).open("/dev/null").doing(|| "open /dev/null".into())?;
    dup2_stdout(null).doing(|| "leave the starter".into())?;
    supervisor.run()
}

/// Does everything before the services; `None` when the starter went away before it said go.
fn set_up(path: &Path, starter: &UnixStream) -> Result<Option<Supervisor>> {
    let spec = HostSpec::read(path)?;
    setsid().doing(|| "leave the session".into())?;
    sethostname(spec.host.to_string()).doing(|| "set the host name".into())?;
    mounts::arrange(&spec)?;
    if let Some(cgroup) = &spec.cgroup {
        cgroups::make(cgroup)?;
    }
    let mut word = String::new();
    BufReader::new(starter).read_line(&mut word).doing(|| "hear from the starter".into())?;
    if word.trim_end() != "go" {
        return Ok(None);
    }
    for (name, value) in &spec.sysctls {
        fs::write(Path::new("/proc/sys").join(name), value).doing(|| format!("set {name} to {value}"))?;
    }
    let batch = spec.network.join("\n");
    command::run_with_input(Command::new("ip").args(["-batch", "-"]), batch.into_bytes()).map_err(
        |error| match error {
            // `ip` gives the number of the line only.
            Error::Command { command, status, stderr } => {
                Error::Command { command, status, stderr: format!("{stderr}; the lines: {}", spec.network.join(" | ")) }
            }
            other => other,
        },
    )?;
    for words in &spec.commands {
        let mut words = words.iter();
        command::run(Command::new(words.next().map_or("", String::as_str)).args(words))?;
    }
    Ok(Some(Supervisor::new(spec)))
}

fn own_stdout() -> Result<OwnedFd> {
    io::stdout().as_fd().try_clone_to_owned().doing(|| "use the standard output".into())
}
