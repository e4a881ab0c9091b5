//! The cgroups of pods, in each hierarchy of the machine: one for version 2, one per controller for version 1.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    base::{
        error::{Doing, Result},
        wait::eventually_blocking,
    },
    hosts::mounts,
};

/// Where version 2 is mounted when it is the only one.
const UNIFIED: &str = "/sys/fs/cgroup";

/// Makes a cgroup, which the kubelet wants to find, with every controller that there is.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn make(cgroup: &str) -> Result<()> {
    for directory in everywhere(cgroup)? {
        fs::create_dir_all(&directory).doing(|| format!("make the cgroup {}", directory.display()))?;
    }
    // With version 2 a cgroup has the controllers that its parent passes on, from the root down.
    let mut directory = PathBuf::from(UNIFIED);
    for name in cgroup.trim_start_matches('/').split('/') {
        pass_on_controllers(&directory)?;
        directory.push(name);
    }
    Ok(())
}

fn pass_on_controllers(directory: &Path) -> Result<()> {
    let Ok(controllers) = fs::read_to_string(directory.join("cgroup.controllers")) else {
        return Ok(());
    };
    let wanted: Vec<_> = controllers.split_whitespace().map(|controller| format!("+{controller}")).collect();
    fs::write(directory.join("cgroup.subtree_control"), wanted.join(" "))
        .doing(|| format!("pass on the controllers of {}", directory.display()))
}

/// Removes a cgroup and all below it. Its processes must have been killed.
///
/// # Errors
/// A cgroup stays busy.
pub(crate) fn remove(cgroup: &str) -> Result<()> {
    for directory in everywhere(cgroup)? {
        // A cgroup is busy until the kernel has done with the last process.
        eventually_blocking(Duration::from_secs(5), format!("removal of {}", directory.display()), || {
            tree(&directory)
        })?;
    }
    Ok(())
}

fn everywhere(cgroup: &str) -> Result<Vec<PathBuf>> {
    let below = cgroup.trim_start_matches('/');
    Ok(mounts::cgroup_hierarchies()?.into_iter().map(|hierarchy| hierarchy.join(below)).collect())
}

fn tree(directory: &Path) -> Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).doing(|| format!("list {}", directory.display())),
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            tree(&entry.path())?;
        }
    }
    fs::remove_dir(directory).doing(|| format!("remove {}", directory.display()))
}
