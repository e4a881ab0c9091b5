//! An IPAM sidecar for a test: the example, on a socket of this machine, which has bad habits on request.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use e2e::Cluster;
use ipam::{
    allocations::{Allocation, Owner},
    example::Example,
    habits::{Habit, Habitual},
    server::serve,
};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

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

    /// Edits the entries of the leases, as people edit an IPAM behind the sidecar's back.
    pub(crate) fn edit(&self, edit: impl FnOnce(&mut Vec<Value>)) {
        let file = self.directory.join("leases");
        let lock = File::create(file.with_extension("lock")).unwrap();
        lock.lock().unwrap();
        let Ok(text) = std::fs::read_to_string(&file) else { return };
        let mut entries: Vec<Value> = serde_json::from_str(&text).unwrap();
        edit(&mut entries);
        let new = file.with_extension("edited");
        std::fs::write(&new, serde_json::to_string(&entries).unwrap()).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    /// Starts a sidecar, with the leases of the one before.
    pub(crate) fn run(&self) -> Sidecar {
        let ranges = self.ranges.iter().map(|range| range.parse().unwrap()).collect();
        let pools = BTreeMap::from([(self.pool.clone(), ranges)]);
        let inner = Example::new(pools, Some(self.directory.join("leases"))).unwrap();
        let ipam = Arc::new(Habitual::new(inner, Vec::new()));
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
    ipam: Arc<Habitual<Example>>,
    pool: String,
    runtime: Option<Runtime>,
}

impl Sidecar {
    /// From now on it has this habit, or none.
    pub(crate) fn set(&self, habit: Option<Habit>) {
        self.ipam.set(habit.into_iter().collect());
    }

    /// All allocations, by owner.
    pub(crate) fn owners(&self) -> BTreeMap<Owner, Allocation> {
        self.ipam.inner().allocations().remove(&self.pool).unwrap_or_default()
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
