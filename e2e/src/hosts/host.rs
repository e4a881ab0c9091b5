//! One host of a running cluster: runs programs in it, reads its network state, finds and signals its processes.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Command,
    thread,
};

use api_types::Family;
use nix::{
    sched::{CloneFlags, setns},
    sys::signal::{self, Signal},
    unistd::Pid,
};

use crate::{
    base::{
        command,
        error::{Doing, Error, Result},
        processes,
    },
    hosts::{
        boot::{self, BootingHost},
        cables, cgroups,
        network_state::{InterfaceAddress, KernelRoute},
        spec::{HostSpec, PROGRAMS},
        teardown::{end, remove_namespace},
    },
    topology::{family::FamilyNames as _, host_id::HostId, layout::Layout},
};

/// A host of a cluster.
#[derive(Clone, Debug)]
pub struct Host {
    pub(crate) layout: Layout,
    pub(crate) id: HostId,
}

impl Host {
    pub(crate) fn new(layout: &Layout, id: HostId) -> Self {
        Self { layout: layout.clone(), id }
    }

    /// Its name; for a node also the name of its Kubernetes object.
    #[must_use]
    pub fn name(&self) -> String {
        self.id.to_string()
    }

    /// Which host this is, and by that its addresses.
    #[must_use]
    pub fn id(&self) -> HostId {
        self.id
    }

    /// The process id of its init in the machine's namespace.
    ///
    /// # Errors
    /// [`Error::NotRunning`] when it is switched off.
    pub fn pid(&self) -> Result<i32> {
        let spec = HostSpec::path(&self.layout, self.id);
        fs::read_to_string(spec.with_file_name("pid"))
            .ok()
            .and_then(|pid| pid.trim().parse().ok())
            .filter(|pid| is_init_of(*pid, &spec.display().to_string()) && processes::alive(*pid))
            .ok_or_else(|| Error::NotRunning {
                what: format!("{} of cluster {}", self.id, self.layout.name()),
                cluster: self.layout.name().to_owned(),
            })
    }

    /// Whether it is switched on.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.pid().is_ok()
    }

    /// Runs a program in the host and returns what it wrote to standard output. `ctr`, `birdc` and `vtysh` find their
    /// daemons without options.
    ///
    /// # Errors
    /// The host is off, or the program fails.
    pub fn exec(&self, command: &[&str]) -> Result<String> {
        command::run(&mut self.command(command)?)
    }

    /// [`Self::exec`] with something on the program's standard input.
    ///
    /// # Errors
    /// The host is off, or the program fails.
    pub fn exec_with_input(&self, command: &[&str], input: impl Into<Vec<u8>>) -> Result<String> {
        command::run_with_input(&mut self.command(command)?, input.into())
    }

    /// A command that will run in the host, for a caller who wants to connect its streams.
    ///
    /// # Errors
    /// The host is off.
    pub fn command(&self, command: &[&str]) -> Result<Command> {
        let mut enter = Command::new("nsenter");
        enter
            .args(["--target", &self.pid()?.to_string(), "--net", "--mount", "--pid", "--uts", "--ipc", "--"])
            .args(command)
            .env("PATH", format!("{PROGRAMS}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"))
            .env("CONTAINERD_NAMESPACE", "k8s.io");
        Ok(enter)
    }

    /// Does something in a thread that has entered the host's network namespace. Sockets opened there stay in it, and
    /// may be used from anywhere afterwards.
    ///
    /// # Errors
    /// The host is off.
    pub fn in_network<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let path = format!("/proc/{}/ns/net", self.pid()?);
        let namespace = File::open(&path).doing(|| format!("open {path}"))?;
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(&namespace, CloneFlags::CLONE_NEWNET)
                        .doing(|| format!("enter the network namespace of {}", self.id))?;
                    Ok(work())
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The addresses of one interface; none when there is no such interface.
    ///
    /// # Errors
    /// The host is off.
    pub fn addresses(&self, interface: &str) -> Result<Vec<InterfaceAddress>> {
        // Asking for one interface fails when it is not there, so ask for all of them.
        let text = self.exec(&["ip", "-j", "addr", "show"])?;
        InterfaceAddress::parse(&text, interface)
    }

    /// The main routing table as the kernel has it.
    ///
    /// # Errors
    /// The host is off.
    pub fn kernel_routes(&self, family: Family) -> Result<Vec<KernelRoute>> {
        KernelRoute::parse(&self.exec(&["ip", "-j", family.ip_option(), "route", "show"])?)
    }

    /// The host's processes that run a program of this file name, in its containers too.
    ///
    /// # Errors
    /// The host is off.
    pub fn processes(&self, program: &str) -> Result<Vec<i32>> {
        self.find(|pid| processes::program(pid).as_deref() == Some(program))
    }

    /// The host's service of this name: `kubelet`, `kube-apiserver`, `bird`, `bgpd` and so on.
    ///
    /// # Errors
    /// The host is off, or the service is not running just now.
    pub fn service_pid(&self, service: &str) -> Result<i32> {
        let is_it = |word: &String| word.rsplit('/').next() == Some(service);
        // `/run/lab/bin/k8s kubelet ...` or `/usr/sbin/bird ...`.
        let pids = self.find(|pid| processes::arguments(pid).iter().take(2).any(is_it))?;
        pids.first().copied().ok_or_else(|| {
            Error::Refused(format!(
                "no process {service} in {}; see its log in {}",
                self.id,
                self.directory().display()
            ))
        })
    }

    fn find(&self, wanted: impl Fn(i32) -> bool) -> Result<Vec<i32>> {
        let init = self.pid()?;
        Ok(processes::all()
            .into_iter()
            .filter(|pid| wanted(*pid) && processes::descends_from(*pid, init) && processes::alive(*pid))
            .collect())
    }

    /// Sends a signal to a process, for instance one that [`Self::processes`] found.
    ///
    /// # Errors
    /// There is no such process any more.
    pub fn kill(&self, pid: i32, signal: Signal) -> Result<()> {
        signal::kill(Pid::from_raw(pid), signal).doing(|| format!("send {signal} to {pid} in {}", self.id))
    }

    /// The directory with the host's spec, configuration and logs.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.layout.host(self.id)
    }

    /// What a service has logged so far.
    ///
    /// # Errors
    /// The service has never been started.
    pub fn log(&self, service: &str) -> Result<String> {
        let path = self.directory().join(format!("{service}.log"));
        fs::read_to_string(&path).doing(|| format!("read {}", path.display()))
    }

    /// Creates the namespaces and gives the network namespace its name.
    pub(crate) fn boot(&self, listener: Option<&std::net::TcpListener>) -> Result<BootingHost> {
        let waiting = boot::boot(&HostSpec::path(&self.layout, self.id), listener)?;
        let name = self.layout.namespace(self.id);
        command::run(Command::new("ip").args(["netns", "attach", &name, &waiting.pid.to_string()]))?;
        Ok(waiting)
    }

    /// Ends every process of the host at once and takes away its namespaces.
    pub(crate) fn destroy(&self) -> Result<()> {
        if let Ok(pid) = self.pid() {
            end(&[pid])?;
        }
        cables::pull_out(&self.layout, self.id)?;
        remove_namespace(&self.layout.namespace(self.id))?;
        cgroups::remove(&self.layout.cgroup(self.id))
    }
}

fn is_init_of(pid: i32, spec: &str) -> bool {
    let arguments = processes::arguments(pid);
    let mut words = arguments.iter().skip(1);
    words.next().is_some_and(|word| word == "init") && words.next().is_some_and(|word| word == spec)
}
