//! A host's own view of the file system: everything it writes is removed with it.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::{
    base::error::{Doing, Result},
    hosts::spec::{HostSpec, PROGRAMS},
};

/// Rearranges the mounts of the calling process, which must be the first one of new mount, process and network
/// namespaces.
///
/// Afterwards `/run`, `/var/log`, `/var/tmp` and `/var/lib` are the host's own and empty but for the cluster's
/// directory and the spec's directories; `/proc` and `/sys` show the host's processes and interfaces, and the machine's
/// cgroups.
///
/// # Errors
/// The kernel refuses a mount.
pub(crate) fn arrange(spec: &HostSpec) -> Result<()> {
    // Nothing done here may reach the machine.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .doing(|| "make the mounts private".into())?;
    // A mount over /run would keep the network namespaces of other hosts that are mounted below it in use, and
    // a host that is switched off would not go away.
    for point in mount_points_below("/run")? {
        umount2(&point, MntFlags::MNT_DETACH).doing(|| format!("unmount {}", point.display()))?;
    }
    fresh("proc", Path::new("/proc"))?;
    fresh("tmpfs", Path::new("/run"))?;
    directory(Path::new("/run/lock"))?;
    bind(&spec.programs, Path::new(PROGRAMS))?;
    bind(&spec.cluster, Path::new("/run/lab/cluster"))?;
    // FRR keeps what it writes in a crash in /var/tmp.
    for path in ["/var/log", "/var/tmp", "/var/lib"] {
        fresh("tmpfs", Path::new(path))?;
    }
    relocate(Path::new("/run/lab/cluster"), &spec.cluster)?;
    bind(Path::new("/sys/fs/cgroup"), Path::new("/run/lab/cgroup"))?;
    fresh("sysfs", Path::new("/sys"))?;
    relocate(Path::new("/run/lab/cgroup"), Path::new("/sys/fs/cgroup"))?;
    for (name, target) in &spec.directories {
        let source = spec.directory().join(name);
        directory(&source)?;
        bind(&source, target)?;
    }
    for (target, link) in &spec.links {
        directory(link.parent().unwrap_or(link))?;
        symlink(target, link).doing(|| format!("link {}", link.display()))?;
    }
    Ok(())
}

fn directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).doing(|| format!("make the directory {}", path.display()))
}

fn fresh(kind: &str, target: &Path) -> Result<()> {
    let options = (kind == "tmpfs").then_some("mode=755");
    mount(Some(kind), target, Some(kind), MsFlags::empty(), options)
        .doing(|| format!("mount {kind} on {}", target.display()))
}

fn bind(source: &Path, target: &Path) -> Result<()> {
    directory(target)?;
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .doing(|| format!("show {} at {}", source.display(), target.display()))
}

fn relocate(from: &Path, to: &Path) -> Result<()> {
    if !to.is_dir() {
        directory(to)?;
    }
    mount(Some(from), to, None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .doing(|| format!("move the mount {} to {}", from.display(), to.display()))
}

/// The mount points below `directory`, the deepest and latest first.
fn mount_points_below(directory: &str) -> Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo").doing(|| "read the mount table".into())?;
    Ok(points(&table, directory))
}

fn points(mountinfo: &str, directory: &str) -> Vec<PathBuf> {
    let below = |point: &&str| point.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
    let mut points: Vec<_> =
        mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).filter(below).map(PathBuf::from).collect();
    points.reverse();
    points
}

/// Where the cgroup hierarchies of this machine are mounted: one for version 2, one per controller for version 1.
///
/// # Errors
/// The mount table cannot be read.
pub(crate) fn cgroup_hierarchies() -> Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo").doing(|| "read the mount table".into())?;
    Ok(hierarchies(&table))
}

fn hierarchies(mountinfo: &str) -> Vec<PathBuf> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (mount, system) = line.split_once(" - ")?;
            matches!(system.split(' ').next(), Some("cgroup" | "cgroup2")).then_some(())?;
            mount.split(' ').nth(4).map(PathBuf::from)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
21 1 254:0 / / rw,relatime - ext4 /dev/vda rw
22 21 0:20 / /run rw,nosuid - tmpfs tmpfs rw
23 22 0:21 / /run/netns rw shared:5 - tmpfs tmpfs rw
24 23 0:4 net:[1] /run/netns/a rw - nsfs nsfs rw
25 21 0:22 / /running rw - tmpfs tmpfs rw
31 21 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
32 21 0:28 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
";

    #[test]
    fn finds_what_is_below_a_directory_deepest_first() {
        assert_eq!(points(TABLE, "/run"), [PathBuf::from("/run/netns/a"), PathBuf::from("/run/netns")]);
    }

    #[test]
    fn finds_both_versions_of_cgroups() {
        assert_eq!(hierarchies(TABLE), [PathBuf::from("/sys/fs/cgroup/cpu"), PathBuf::from("/sys/fs/cgroup/unified")]);
    }
}
