//! The paths of a cluster's files, and the names of its namespaces.

use std::path::{Path, PathBuf};

use crate::{
    base::error::{Error, Result},
    topology::host_id::HostId,
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

    /// The directory of one host: its spec, configuration files, and one log file for each service.
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
