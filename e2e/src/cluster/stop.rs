//! Ends a cluster, whatever state it is in.

use std::{fs, time::Duration};

use crate::{
    base::error::{Doing, Result},
    cluster::{handle::Cluster, lock::ClusterLock},
    hosts::{cgroups, teardown},
    topology::layout::Layout,
};

impl Cluster {
    /// Ends everything that belongs to the cluster and removes its files. One that is not running is fine.
    ///
    /// # Errors
    /// Something cannot be ended.
    pub fn stop(self) -> Result<()> {
        stop(self.layout())?;
        remove_root();
        Ok(())
    }

    /// [`Self::stop`] by name, also for what a start left that failed or was killed.
    ///
    /// # Errors
    /// Something cannot be ended.
    pub fn stop_named(name: &str) -> Result<()> {
        let layout = Layout::new(name)?;
        let _lock = ClusterLock::acquire(&layout, Duration::from_secs(60))?;
        stop(&layout)?;
        remove_root();
        Ok(())
    }
}

/// The directory of all clusters goes with the last of them; as long as there are others, this fails. A start does not
/// do it: another one may have made the directory just before.
fn remove_root() {
    let _ = fs::remove_dir(Layout::root());
}

/// Ends everything and removes all files.
pub(crate) fn stop(layout: &Layout) -> Result<()> {
    stop_processes(layout)?;
    let directory = layout.directory();
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).doing(|| format!("remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

/// Ends everything but keeps the files, so that the logs of a failed start can be read.
pub(crate) fn stop_processes(layout: &Layout) -> Result<()> {
    // Found by what they run rather than by a record, which a starter that was killed could not have completed.
    teardown::end(&teardown::inits_below(&layout.hosts()))?;
    for name in teardown::namespaces(&layout.namespace_prefix())? {
        teardown::remove_namespace(&name)?;
    }
    cgroups::remove(&layout.cgroups())
}
