//! Where a cluster keeps its things, and what its namespaces are called.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, Result},
    host_id::HostId,
};

/// The directory with one directory per cluster.
const STATE: &str = "/var/lib/purelb-lab";

/// Names and paths of one cluster.
#[derive(Clone, Debug)]
pub struct Layout {
    name: String,
}

impl Layout {
    /// The layout of the cluster `name`: one to 16 lower-case letters and digits, beginning with a letter.
    ///
    /// # Errors
    /// Another name. Without hyphens no cluster's names can be taken for those of another.
    pub fn new(name: &str) -> Result<Self> {
        let fits = (1..=16).contains(&name.len())
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.chars().all(|each| each.is_ascii_lowercase() || each.is_ascii_digit());
        if fits {
            Ok(Self { name: name.to_owned() })
        } else {
            Err(Error::Refused(format!(
                "cluster name {name:?}: takes 1 to 16 lower-case letters and digits, a letter first"
            )))
        }
    }

    /// The cluster's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory of all the cluster's files.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        Path::new(STATE).join(&self.name)
    }

    /// The directory of all clusters.
    pub(crate) fn root() -> &'static Path {
        Path::new(STATE)
    }

    /// Credentials for kubectl and other clients on this machine.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory().join("kubeconfig")
    }

    /// What [`crate::Cluster::attach`] reads. It is written last.
    pub(crate) fn record(&self) -> PathBuf {
        self.directory().join("cluster.json")
    }

    /// Exists as soon as the API server can be used.
    pub(crate) fn api_ready(&self) -> PathBuf {
        self.directory().join("api-ready")
    }

    /// Exists as soon as Calico's custom resources can be used.
    pub(crate) fn calico_ready(&self) -> PathBuf {
        self.directory().join("calico-ready")
    }

    /// Certificates and keys.
    pub(crate) fn pki(&self) -> PathBuf {
        self.directory().join("pki")
    }

    /// The directories of the hosts.
    pub(crate) fn hosts(&self) -> PathBuf {
        self.directory().join("hosts")
    }

    /// The directory of one host: its plan, configuration files, and one log file for each service.
    #[must_use]
    pub fn host(&self, host: HostId) -> PathBuf {
        self.hosts().join(host.to_string())
    }

    /// The name of a host's network namespace, as `ip netns` shows it.
    #[must_use]
    pub fn namespace(&self, host: HostId) -> String {
        format!("{}{host}", self.namespace_prefix())
    }

    /// What the names of all the cluster's network namespaces begin with.
    pub(crate) fn namespace_prefix(&self) -> String {
        format!("plb-{}-", self.name)
    }

    /// The cgroup, in each hierarchy, that holds all of the cluster's pods.
    pub(crate) fn cgroups(&self) -> String {
        format!("/purelb-lab-{}", self.name)
    }

    /// The cgroup, in each hierarchy, that holds a node's pods.
    pub(crate) fn cgroup(&self, host: HostId) -> String {
        format!("{}/{host}", self.cgroups())
    }

    /// Held by who starts, stops or exclusively uses the cluster. It outlives the cluster's directory.
    pub(crate) fn lock(&self) -> PathBuf {
        Path::new("/run/lock").join(format!("purelb-lab-{}", self.name))
    }
}

/// The directory that `prepare.sh` fills.
fn cache() -> PathBuf {
    let directory = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    directory("PURELB_CACHE").unwrap_or_else(|| {
        directory("XDG_CACHE_HOME")
            .unwrap_or_else(|| directory("HOME").unwrap_or_else(|| "/".into()).join(".cache"))
            .join("purelb")
    })
}

/// The directory of the Kubernetes and containerd programs.
///
/// # Errors
/// [`Error::NotPrepared`] when one of them is not there.
pub(crate) fn programs() -> Result<PathBuf> {
    let directory = cache().join("bin");
    for program in ["k8s", "containerd", "containerd-shim-runc-v2", "ctr"] {
        present(&directory.join(program))?;
    }
    Ok(directory)
}

/// The images every node gets.
///
/// # Errors
/// [`Error::NotPrepared`] when one of them is not there.
pub(crate) fn images() -> Result<Vec<PathBuf>> {
    let images = ["pause", "echo"].map(|name| cache().join("images").join(format!("{name}.tar")));
    images.iter().try_for_each(|image| present(image))?;
    Ok(images.into())
}

/// # Errors
/// [`Error::NotPrepared`] when `path` does not exist.
pub(crate) fn present(path: &Path) -> Result<()> {
    if path.exists() { Ok(()) } else { Err(Error::NotPrepared(path.to_owned())) }
}

/// The `lab` program, which the hosts of a cluster run as their first process.
///
/// # Errors
/// This process is not `lab`, and cargo has not built it beside the running test.
pub(crate) fn lab() -> Result<PathBuf> {
    let this = env::current_exe().unwrap_or_default();
    let name = this.file_name().and_then(OsStr::to_str).unwrap_or_default();
    if name == "lab" || name == "lab (deleted)" {
        // Works also when a later build has replaced the file.
        return Ok("/proc/self/exe".into());
    }
    let named_by_test_runner = ["NEXTEST_BIN_EXE_lab", "CARGO_BIN_EXE_lab"].into_iter().find_map(env::var_os);
    // Tests are one directory below the programs.
    let beside = this.ancestors().skip(1).take(2).map(|directory| directory.join("lab"));
    let mut candidates = named_by_test_runner.map(PathBuf::from).into_iter().chain(beside);
    candidates
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| Error::Refused("the program `lab` is not built: run `cargo build -p e2e`".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_confused_are_refused() {
        for name in ["", "Demo", "demo-2", "2demo", "a/b", "..", "averyveryverylongname"] {
            Layout::new(name).unwrap_err();
        }
        assert_eq!(Layout::new("demo2").unwrap().namespace(HostId::Node(1)), "plb-demo2-node1");
    }
}
