//! A running cluster: finds one by its name, and gives its hosts.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::{
    base::error::{Doing, Error, Result, unexpected},
    cluster::lock::ClusterLock,
    hosts::host::Host,
    kubernetes::control_plane::ControlPlane,
    nodes::node::Node,
    observers::client::Client,
    routing::router::Router,
    topology::{host_id::HostId, layout::Layout},
};

/// A running cluster. The value is a handle: dropping it leaves the cluster as it is.
#[derive(Debug)]
pub struct Cluster {
    layout: Layout,
    record: Record,
    /// Held as long as this handle has the cluster for itself.
    _lock: Option<ClusterLock>,
}

/// What another process must know about a cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) nodes: u8,
}

impl Cluster {
    /// The cluster of this name, which another process has started.
    ///
    /// # Errors
    /// [`Error::NotRunning`].
    pub fn attach(name: &str) -> Result<Self> {
        Self::open(Layout::new(name)?)
    }

    pub(crate) fn from_record(layout: Layout, record: Record) -> Self {
        Self { layout, record, _lock: None }
    }

    /// The same handle, which holds the lock of the cluster until it is dropped.
    pub(crate) fn with_lock(self, lock: ClusterLock) -> Self {
        Self { _lock: Some(lock), ..self }
    }

    pub(crate) fn open(layout: Layout) -> Result<Self> {
        let not_running =
            || Error::NotRunning { what: format!("cluster {}", layout.name()), cluster: layout.name().to_owned() };
        let text = fs::read(layout.record()).map_err(|_| not_running())?;
        let record: Record =
            serde_json::from_slice(&text).map_err(|error| unexpected(layout.record().display().to_string(), error))?;
        // After a reboot of the machine the files are there and nothing else.
        for host in [HostId::Switch, HostId::Control, HostId::Router, HostId::Client] {
            Host::new(&layout, host).pid().map_err(|_| not_running())?;
        }
        Ok(Self::from_record(layout, record))
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
