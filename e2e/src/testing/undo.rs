//! Changes that a test makes to a cluster, and that end with the test.

use crate::{base::error::Result, cluster::handle::Cluster};

/// Undoes a change when it is dropped, also after a failure.
#[must_use = "the change is undone when this is dropped"]
pub struct Undo<'a>(Box<dyn FnMut() -> Result<()> + 'a>);

impl std::fmt::Debug for Undo<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Undo")
    }
}

impl<'a> Undo<'a> {
    /// Calls `undo` when it is dropped. A failure is printed: the next test repairs the cluster, or gets a new one.
    pub fn new(undo: impl FnMut() -> Result<()> + 'a) -> Self {
        Self(Box::new(undo))
    }

    /// Runs `kubectl` with the arguments `change` now, and with `undo` when it is dropped, even if `change` has failed.
    pub fn kubectl(cluster: &'a Cluster, change: &[&str], undo: &[&str]) -> Self {
        let arguments: Vec<String> = undo.iter().copied().map(str::to_owned).collect();
        let undone = Self::new(move || {
            let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
            cluster.kubectl(&words).map(drop)
        });
        cluster.kubectl(change).unwrap();
        undone
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if let Err(error) = (self.0)() {
            eprintln!("clean-up: {error}");
        }
    }
}
