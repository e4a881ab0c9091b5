//! An IPAM sidecar for a test: the example, on a socket of this machine, with moods.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use e2e::Cluster;
use ipam::{
    Status,
    example::{Allocation, Example},
    message::{
        AllocateRequest, AllocateResponse, AllocatedIP, ReleaseRequest, ReleaseResponse, StatsRequest, StatsResponse,
    },
    server::{Ipam, serve},
};
use tokio::runtime::{Builder, Runtime};

/// What it does to calls for addresses.
#[derive(Clone, Debug)]
pub(crate) enum Mood {
    Fine,
    Hangs,
    /// Everybody gets this address.
    Gives(&'static str),
}

struct Moody {
    inner: Example,
    mood: Mutex<Mood>,
}

impl Ipam for Moody {
    async fn allocate(&self, request: AllocateRequest) -> Result<AllocateResponse, Status> {
        let mood = self.mood.lock().unwrap().clone();
        match mood {
            Mood::Fine => self.inner.allocate(request).await,
            Mood::Hangs => std::future::pending().await,
            Mood::Gives(ip) => Ok(AllocateResponse { ips: vec![AllocatedIP { ip: ip.to_owned() }] }),
        }
    }

    async fn release(&self, request: ReleaseRequest) -> Result<ReleaseResponse, Status> {
        self.inner.release(request).await
    }

    async fn stats(&self, request: StatsRequest) -> Result<StatsResponse, Status> {
        self.inner.stats(request).await
    }
}

/// A place for a sidecar: its socket and its file. Both go when this does.
pub(crate) struct Place {
    directory: PathBuf,
    pool: String,
    ranges: Vec<&'static str>,
}

impl Place {
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
        let moody = Arc::new(Moody { inner, mood: Mutex::new(Mood::Fine) });
        let (socket, served) = (self.socket(), moody.clone());
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move { serve(&socket, served, std::future::pending()).await.unwrap() });
        Sidecar { moody, pool: self.pool.clone(), runtime: Some(runtime) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(Path::new(&self.directory));
    }
}

/// A sidecar that runs. It ends with all its connections when this is dropped, as a process does.
pub(crate) struct Sidecar {
    moody: Arc<Moody>,
    pool: String,
    runtime: Option<Runtime>,
}

impl Sidecar {
    pub(crate) fn set(&self, mood: Mood) {
        *self.moody.mood.lock().unwrap() = mood;
    }

    /// Who has what.
    pub(crate) fn leases(&self) -> BTreeMap<String, Allocation> {
        self.moody.inner.allocations().remove(&self.pool).unwrap_or_default()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
