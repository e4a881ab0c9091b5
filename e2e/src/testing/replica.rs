//! An allocator that runs on this machine instead of in a pod: a test can kill it, pause it and put a proxy before the
//! API server, and the kubelet neither restarts it nor delays it.

use std::{
    fs::{File, OpenOptions},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    base::{
        error::{Doing, Result, unexpected},
        http::http_get,
        wait::eventually,
    },
    cluster::{
        handle::Cluster,
        installation::{NAMESPACE, checkout},
    },
};

/// What `make images` builds.
const PROGRAM: &str = "target/bin/allocator";

/// A running allocator; it is killed when this is dropped.
#[derive(Debug)]
pub struct Replica {
    name: String,
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Replica {
    /// Starts one that reaches the API server by this kubeconfig. `name` is the first part of its identity.
    ///
    /// # Errors
    /// `make images` was not run.
    pub fn start(cluster: &Cluster, name: &str, kubeconfig: &Path) -> Result<Self> {
        Self::start_as(cluster, name, kubeconfig, "PureLB")
    }

    /// [`Self::start`] with this value of `DEFAULT_ANNOUNCER`: any but `PureLB` leaves Services without a class alone.
    ///
    /// # Errors
    /// Those of [`Self::start`].
    pub fn start_as(cluster: &Cluster, name: &str, kubeconfig: &Path, announcer: &str) -> Result<Self> {
        Self::start_with(cluster, name, kubeconfig, announcer, NAMESPACE)
    }

    /// [`Self::start`] with another install namespace; the Lease has to be there.
    ///
    /// # Errors
    /// Those of [`Self::start`].
    pub fn start_in(cluster: &Cluster, name: &str, kubeconfig: &Path, namespace: &str) -> Result<Self> {
        Self::start_with(cluster, name, kubeconfig, "PureLB", namespace)
    }

    fn start_with(cluster: &Cluster, name: &str, kubeconfig: &Path, announcer: &str, namespace: &str) -> Result<Self> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        let address = free.doing(|| "find a free port".into())?;
        let log = cluster.layout().directory().join(format!("allocator-{name}.log"));
        let open = || OpenOptions::new().create(true).append(true).open(&log);
        let file: File = open().doing(|| format!("open {}", log.display()))?;
        let errors = file.try_clone().doing(|| format!("open {}", log.display()))?;
        let program = checkout(PROGRAM);
        let child = Command::new(&program)
            .args(["--namespace", namespace, "--port", &address.port().to_string(), "--kubeconfig"])
            .arg(kubeconfig)
            .env("DEFAULT_ANNOUNCER", announcer)
            .env("POD_NAME", name)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .doing(|| format!("start {}, which `make images` builds", program.display()))?;
        Ok(Self { name: name.to_owned(), child, address, log })
    }

    /// The first part of its identity.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it has logged, earlier ones of the name included.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).map_err(|error| unexpected("a process id", error))?;
        kill(Pid::from_raw(pid), signal).doing(|| format!("send {signal} to allocator {}", self.name))
    }

    /// Its metrics.
    ///
    /// # Errors
    /// It does not answer.
    pub fn metrics(&self) -> Result<String> {
        http_get(self.address, "/metrics")
    }

    /// Whether it leads, by its own metrics.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.metrics().is_ok_and(|metrics| metrics.lines().any(|line| line == "purelb_allocator_leader 1"))
    }

    /// Waits until it leads.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn leading(&self, deadline: Duration) -> Result<()> {
        eventually(deadline, format!("allocator {} leads; its log is {}", self.name, self.log.display()), async || {
            if self.leads() { Ok(()) } else { Err("it does not") }
        })
        .await
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
