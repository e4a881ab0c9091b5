//! An IPAM sidecar for a test: the example, on a socket of this machine, which misbehaves on request.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use e2e::Cluster;
use ipam::{
    Status,
    allocations::{Allocation, Owner},
    example::Example,
    message::{
        AllocateRequest, AllocateResponse, AllocatedIP, ListRequest, ListResponse, ReleaseRequest, ReleaseResponse,
        StatsRequest, StatsResponse,
    },
    server::{Ipam, serve},
};
use tokio::runtime::{Builder, Runtime};

/// How it answers calls for addresses.
#[derive(Clone, Debug)]
pub(crate) enum Behavior {
    Fine,
    Hangs,
    /// It does not answer calls for this Service.
    HangsFor(&'static str),
    /// It takes nothing back.
    RefusesReleases,
    /// It refuses everything but the question for its numbers.
    Refuses,
    /// Every caller gets this address.
    Gives(&'static str),
}

struct ControlledIpam {
    inner: Example,
    behavior: Mutex<Behavior>,
}

impl Ipam for ControlledIpam {
    async fn allocate(&self, request: AllocateRequest) -> Result<AllocateResponse, Status> {
        let behavior = self.behavior.lock().unwrap().clone();
        match behavior {
            Behavior::Hangs => std::future::pending().await,
            Behavior::HangsFor(name) if is_about(&request.service, name) => std::future::pending().await,
            Behavior::Refuses => Err(Status::permission_denied("locked by an operator")),
            Behavior::Fine | Behavior::HangsFor(_) | Behavior::RefusesReleases => self.inner.allocate(request).await,
            Behavior::Gives(ip) => Ok(AllocateResponse { ips: vec![AllocatedIP { ip: ip.to_owned() }] }),
        }
    }

    async fn release(&self, request: ReleaseRequest) -> Result<ReleaseResponse, Status> {
        let behavior = self.behavior.lock().unwrap().clone();
        match behavior {
            Behavior::HangsFor(name) if is_about(&request.service, name) => std::future::pending().await,
            Behavior::Refuses | Behavior::RefusesReleases => Err(Status::permission_denied("locked by an operator")),
            _ => self.inner.release(request).await,
        }
    }

    async fn stats(&self, request: StatsRequest) -> Result<StatsResponse, Status> {
        self.inner.stats(request).await
    }

    async fn list(&self, request: ListRequest) -> Result<ListResponse, Status> {
        self.inner.list(request).await
    }
}

/// Whether the Service, with its namespace, has the name.
fn is_about(service: &str, name: &str) -> bool {
    service.rsplit_once('/').is_some_and(|(_, found)| found == name)
}

/// The socket and the file of a sidecar. Both are removed when this is dropped.
pub(crate) struct SidecarFiles {
    directory: PathBuf,
    pool: String,
    ranges: Vec<&'static str>,
}

impl SidecarFiles {
    pub(crate) fn new(cluster: &Cluster, pool: &str, ranges: &[&'static str]) -> Self {
        // A socket's path has 107 bytes at most.
        let directory = cluster.layout().directory().join(format!("ipam-{pool}"));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        Self { directory, pool: pool.to_owned(), ranges: ranges.to_vec() }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("ipam.sock")
    }

    /// Starts a sidecar, with the leases of the one before.
    pub(crate) fn run(&self) -> Sidecar {
        let ranges = self.ranges.iter().map(|range| range.parse().unwrap()).collect();
        let pools = BTreeMap::from([(self.pool.clone(), ranges)]);
        let inner = Example::new(pools, Some(self.directory.join("leases"))).unwrap();
        let ipam = Arc::new(ControlledIpam { inner, behavior: Mutex::new(Behavior::Fine) });
        let (socket, served) = (self.socket(), ipam.clone());
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move { serve(&socket, served, std::future::pending()).await.unwrap() });
        Sidecar { ipam, pool: self.pool.clone(), runtime: Some(runtime) }
    }
}

impl Drop for SidecarFiles {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(Path::new(&self.directory));
    }
}

/// A sidecar that runs. It ends with all its connections when this is dropped, as a process does.
pub(crate) struct Sidecar {
    ipam: Arc<ControlledIpam>,
    pool: String,
    runtime: Option<Runtime>,
}

impl Sidecar {
    pub(crate) fn set(&self, behavior: Behavior) {
        *self.ipam.behavior.lock().unwrap() = behavior;
    }

    /// All allocations, by owner.
    pub(crate) fn owners(&self) -> BTreeMap<Owner, Allocation> {
        self.ipam.inner.allocations().remove(&self.pool).unwrap_or_default()
    }

    /// All allocations, by Service.
    pub(crate) fn allocations(&self) -> BTreeMap<String, Allocation> {
        self.owners().into_iter().map(|(owner, allocation)| (owner.service, allocation)).collect()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
