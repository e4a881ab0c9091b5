//! The lock of a cluster: one process at a time starts it, stops it, or has it for itself.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::Write,
    time::Duration,
};

use crate::{
    base::{
        error::{Doing, Result},
        wait::eventually_blocking,
    },
    topology::layout::Layout,
};

/// The right to start, stop, or exclusively use a cluster, until it is dropped.
#[derive(Debug)]
pub(crate) struct ClusterLock {
    file: File,
    in_use: bool,
    left_in_use: bool,
}

impl ClusterLock {
    /// Waits until no other process has the lock.
    ///
    /// # Errors
    /// [`crate::Error::Deadline`] when another process keeps it longer than `patience`.
    pub(crate) fn acquire(layout: &Layout, patience: Duration) -> Result<Self> {
        let path = layout.lock();
        let what = || format!("lock {}", path.display());
        fs::create_dir_all(path.parent().unwrap_or(&path)).doing(what)?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).doing(what)?;
        eventually_blocking(patience, format!("the lock of cluster {}", layout.name()), || match file.try_lock() {
            Ok(()) => Ok(Ok(())),
            Err(TryLockError::WouldBlock) => Err("another process has it"),
            Err(TryLockError::Error(error)) => Ok(Err(error)),
        })?
        .doing(what)?;
        Ok(Self { file, in_use: false, left_in_use: false })
    }

    /// Notes in the file that the cluster is in use, until the lock is dropped. A process that is killed leaves the
    /// note.
    pub(crate) fn mark_in_use(mut self) -> Result<Self> {
        let what = || "note the use of the cluster".to_owned();
        self.left_in_use = self.file.metadata().doing(what)?.len() > 0;
        self.file.write_all(b"in use\n").doing(what)?;
        self.in_use = true;
        Ok(self)
    }

    /// Whether the user before this one was killed, and may have left the cluster in any state.
    pub(crate) fn previous_user_was_killed(&self) -> bool {
        self.left_in_use
    }
}

impl Drop for ClusterLock {
    fn drop(&mut self) {
        // If the note cannot be removed, the next user makes a new cluster.
        let _ = if self.in_use { self.file.set_len(0) } else { Ok(()) };
    }
}
