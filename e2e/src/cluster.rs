//! A running cluster: how a test gets at one, and what it consists of.

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File, OpenOptions, TryLockError},
    io::Write,
    net::IpAddr,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    client::Client,
    control_plane::ControlPlane,
    error::{Doing, Error, Result, unexpected},
    host::Host,
    host_id::{HostId, MOST_NODES},
    layout::Layout,
    node::Node,
    router::Router,
    start, stop,
    wait::{eventually, eventually_blocking},
};

/// The name and size of the clusters that all tests share.
const SHARED: (&str, u8) = ("test", 3);

/// The environment variable with another name for them, for tests beside those of somebody else.
const SHARED_NAME: &str = "PURELB_TEST_CLUSTER";

/// Where the test runner says which of the tests that run at the same time this is: a number from 0.
const SLOT: &str = "NEXTEST_TEST_GROUP_SLOT";

/// How long a test waits for the others that use the shared cluster.
const TURN: Duration = Duration::from_secs(3600);

/// A running cluster. The value is a handle: dropping it leaves the cluster as it is.
#[derive(Debug)]
pub struct Cluster {
    layout: Layout,
    record: Record,
    /// Held as long as this handle has the cluster for itself.
    turn: Option<Turn>,
}

/// What another process must know about a cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) nodes: u8,
}

impl Cluster {
    /// Starts a cluster with nodes `node1` to `nodeN`, and returns when all are Ready and peer with the router.
    ///
    /// # Errors
    /// One of that name is running, the machine is not prepared, or something does not start. What was started is
    /// stopped again then, but the log files stay until the next start.
    pub async fn start(name: &str, nodes: u8) -> Result<Self> {
        Self::start_with_progress(name, nodes, |_| ()).await
    }

    /// [`Self::start`], telling what is being done.
    ///
    /// # Errors
    /// Those of [`Self::start`].
    pub async fn start_with_progress(name: &str, nodes: u8, progress: impl Fn(&str)) -> Result<Self> {
        let layout = Layout::new(name)?;
        let _alone = turn(&layout, Duration::from_secs(60))?;
        Self::start_locked(layout, nodes, &progress).await
    }

    async fn start_locked(layout: Layout, nodes: u8, progress: &dyn Fn(&str)) -> Result<Self> {
        if !(1..=MOST_NODES).contains(&nodes) {
            return Err(Error::Refused(format!("a cluster has 1 to {MOST_NODES} nodes, not {nodes}")));
        }
        if Self::open(layout.clone()).is_ok() {
            return Err(Error::RunningAlready(layout.name().to_owned()));
        }
        // Whatever an earlier start left that did not get this far.
        stop::stop(&layout)?;
        let record = Record { nodes };
        let cluster = Self { layout, record, turn: None };
        match start::start(&cluster, progress).await {
            Ok(()) => Ok(cluster),
            Err(source) => {
                stop::stop_processes(&cluster.layout)?;
                let (cluster, logs) = (cluster.layout.name().to_owned(), cluster.layout.hosts());
                Err(Error::Start { cluster, logs, source: Box::new(source) })
            }
        }
    }

    /// The cluster of this name, which another process has started.
    ///
    /// # Errors
    /// [`Error::NotRunning`].
    pub fn attach(name: &str) -> Result<Self> {
        Self::open(Layout::new(name)?)
    }

    fn open(layout: Layout) -> Result<Self> {
        let not_running =
            || Error::NotRunning { what: format!("cluster {}", layout.name()), cluster: layout.name().to_owned() };
        let text = fs::read(layout.record()).map_err(|_| not_running())?;
        let record: Record =
            serde_json::from_slice(&text).map_err(|error| unexpected(layout.record().display().to_string(), error))?;
        // After a reboot of the machine the files are there and nothing else.
        for host in [HostId::Switch, HostId::Control, HostId::Router, HostId::Client] {
            Host::new(&layout, host).pid().map_err(|_| not_running())?;
        }
        Ok(Self { layout, record, turn: None })
    }

    /// The cluster named `test` (or as `PURELB_TEST_CLUSTER` says) and the number of the runner's slot, started if need
    /// be, for this test alone: other processes that ask for it wait until the handle is dropped. What earlier tests cut,
    /// froze or switched off works again. After a test that was killed, which leaves whatever it had changed, the cluster
    /// is a new one.
    ///
    /// # Errors
    /// It cannot be started or repaired, or the tests before this one take more than an hour.
    pub async fn shared() -> Result<Self> {
        let (name, nodes) = SHARED;
        let name = env::var(SHARED_NAME).unwrap_or_else(|_| name.to_owned());
        // Without the runner, or outside its groups, it is no number.
        let slot = env::var(SLOT).ok().and_then(|slot| slot.parse().ok()).unwrap_or(0_u8);
        let layout = Layout::new(&format!("{name}{slot}"))?;
        let turn = turn(&layout, TURN)?.begin()?;
        if turn.follows_a_killed_one {
            stop::stop(&layout)?;
        }
        let mut cluster = match Self::open(layout.clone()) {
            Ok(cluster) => cluster,
            Err(_) => Self::start_locked(layout, nodes, &|_| ()).await?,
        };
        cluster.turn = Some(turn);
        cluster.repair().await?;
        Ok(cluster)
    }

    /// Joins, thaws and switches on what is not, ends all faults, and waits until all nodes are Ready and peer with the
    /// router.
    ///
    /// # Errors
    /// A node does not come back.
    pub async fn repair(&self) -> Result<()> {
        self.mend()?;
        self.nodes_ready(Duration::from_secs(60)).await?;
        self.peered(Duration::from_secs(60)).await
    }

    /// [`Self::repair`] without waiting for what comes of it.
    ///
    /// # Errors
    /// A node cannot be started.
    pub fn mend(&self) -> Result<()> {
        self.control_plane().resume_api()?;
        self.end_faults()?;
        for node in self.nodes() {
            node.power_on()?;
            node.rejoin()?;
            node.join()?;
            node.plug()?;
            node.thaw_agents()?;
        }
        Ok(())
    }

    /// Waits until every node has a BGP session with the router in both families.
    ///
    /// # Errors
    /// [`Error::Deadline`], with the sessions that there are.
    pub async fn peered(&self, deadline: Duration) -> Result<()> {
        let wanted: BTreeSet<IpAddr> =
            self.nodes().flat_map(|node| [node.id().ipv4().into(), node.id().ipv6().into()]).collect();
        eventually(deadline, "BGP sessions of all nodes with the router", async || match self.router().sessions() {
            Ok(sessions) if sessions == wanted => Ok(()),
            Ok(sessions) => Err(format!("{sessions:?}")),
            Err(error) => Err(error.to_string()),
        })
        .await
    }

    /// Ends everything that belongs to the cluster and removes its files. One that is not running is fine.
    ///
    /// # Errors
    /// Something cannot be ended.
    pub fn stop(self) -> Result<()> {
        stop::stop(&self.layout)
    }

    /// [`Self::stop`] by name, also for what a start left that failed or was killed.
    ///
    /// # Errors
    /// Something cannot be ended.
    pub fn stop_named(name: &str) -> Result<()> {
        let layout = Layout::new(name)?;
        let _alone = turn(&layout, Duration::from_secs(60))?;
        stop::stop(&layout)
    }

    /// The names of all clusters that have files on this machine, running or not.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn names() -> Result<Vec<String>> {
        match fs::read_dir(Layout::root()) {
            Ok(entries) => {
                let mut names: Vec<_> =
                    entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
                names.sort();
                Ok(names)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).doing(|| format!("list {}", Layout::root().display())),
        }
    }

    /// Names and paths.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// All hosts.
    pub fn hosts(&self) -> impl Iterator<Item = Host> {
        HostId::all(self.record.nodes).map(|id| Host::new(&self.layout, id))
    }

    /// One host.
    #[must_use]
    pub fn host(&self, id: HostId) -> Host {
        Host::new(&self.layout, id)
    }

    /// The node with this number, counted from 1.
    #[must_use]
    pub fn node(&self, number: u8) -> Node {
        Node::new(&self.layout, number)
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = Node> {
        (1..=self.record.nodes).map(|number| self.node(number))
    }

    /// The top-of-rack router.
    #[must_use]
    pub fn router(&self) -> Router {
        Router::new(&self.layout)
    }

    /// The client, on the node LAN and behind the router.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.layout)
    }

    /// etcd, API server, controller manager, scheduler.
    #[must_use]
    pub fn control_plane(&self) -> ControlPlane {
        ControlPlane::new(&self.layout)
    }
}

/// The right to start, stop, or exclusively use a cluster.
#[derive(Debug)]
struct Turn {
    file: File,
    begun: bool,
    follows_a_killed_one: bool,
}

impl Turn {
    /// Notes in the file that somebody is at it, until this is dropped.
    fn begin(mut self) -> Result<Self> {
        let what = || "note the use of the cluster".to_owned();
        self.follows_a_killed_one = self.file.metadata().doing(what)?.len() > 0;
        self.file.write_all(b"in use\n").doing(what)?;
        self.begun = true;
        Ok(self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // If it stays, the next one makes a new cluster.
        let _ = if self.begun { self.file.set_len(0) } else { Ok(()) };
    }
}

/// Waits until no other process starts, stops, or exclusively uses the cluster.
fn turn(layout: &Layout, patience: Duration) -> Result<Turn> {
    let path = layout.lock();
    let what = || format!("lock {}", path.display());
    fs::create_dir_all(path.parent().unwrap_or(&path)).doing(what)?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).doing(what)?;
    eventually_blocking(patience, format!("the only use of cluster {}", layout.name()), || match file.try_lock() {
        Ok(()) => Ok(Ok(())),
        Err(TryLockError::WouldBlock) => Err("another process uses it"),
        Err(TryLockError::Error(error)) => Ok(Err(error)),
    })?
    .doing(what)?;
    Ok(Turn { file, begun: false, follows_a_killed_one: false })
}
