//! Ends a cluster, whatever state it is in.

use std::fs;

use crate::{
    cgroups,
    error::{Doing, Result},
    host,
    layout::Layout,
};

/// Ends everything and removes all files.
pub(crate) fn stop(layout: &Layout) -> Result<()> {
    stop_processes(layout)?;
    let directory = layout.directory();
    match fs::remove_dir_all(&directory) {
        Ok(()) => (),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (),
        Err(error) => return Err(error).doing(|| format!("remove {}", directory.display())),
    }
    // The last cluster takes the directory of all clusters along; others make this fail, rightly.
    let _ = fs::remove_dir(Layout::root());
    Ok(())
}

/// Ends everything but keeps the files, so that the logs of a failed start can be read.
pub(crate) fn stop_processes(layout: &Layout) -> Result<()> {
    // Found by what they run rather than by a record, which a starter that was killed could not have completed.
    host::end(&host::inits_below(&layout.hosts()))?;
    for name in host::namespaces(&layout.namespace_prefix())? {
        host::remove_namespace(&name)?;
    }
    cgroups::remove(&layout.cgroups())
}
