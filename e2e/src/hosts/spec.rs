//! The specification of a host: what it consists of, as data. The start of the cluster writes it, the host's init reads
//! it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    base::error::{Doing, Result, unexpected},
    topology::{host_id::HostId, layout::Layout},
};

/// Where the programs of Kubernetes and containerd are on every host.
pub(crate) const PROGRAMS: &str = "/run/lab/bin";

/// What one host consists of. It is kept across a [`crate::Node::power_off`], so that the host can be switched on
/// again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct HostSpec {
    pub(crate) host: HostId,
    /// The cluster's directory, the one part of `/var/lib` that hosts and machine share.
    pub(crate) cluster: PathBuf,
    /// Shown at [`PROGRAMS`].
    pub(crate) programs: PathBuf,
    /// Directories below the host's own that it sees at a usual place: (`kubelet`, `/var/lib/kubelet`).
    pub(crate) directories: Vec<(String, PathBuf)>,
    /// (target, link) pairs of symbolic links in the host's own `/run`.
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    /// The cgroup for its pods, if it has pods; made in each hierarchy.
    pub(crate) cgroup: Option<String>,
    /// Names below `/proc/sys`, and values.
    pub(crate) sysctls: Vec<(String, String)>,
    /// Arguments of `ip`, one command each, run once the host's cables are plugged in.
    pub(crate) network: Vec<String>,
    /// Other programs to run before the services.
    pub(crate) commands: Vec<Vec<String>>,
    pub(crate) services: Vec<Service>,
}

/// A program that runs as long as its host does; it is started again when it ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Service {
    /// Also the name of its log file in the host's directory, before `.log`.
    pub(crate) name: String,
    pub(crate) command: Vec<String>,
    /// Files that must exist before it is started.
    pub(crate) after: Vec<PathBuf>,
    /// Whether its standard input is the init's, a listening socket of the machine.
    pub(crate) takes_listener: bool,
}

impl Service {
    pub(crate) fn new<S: Into<String>>(name: &str, command: impl IntoIterator<Item = S>) -> Self {
        Self {
            name: name.to_owned(),
            command: command.into_iter().map(Into::into).collect(),
            after: Vec::new(),
            takes_listener: false,
        }
    }

    /// One of the programs in the multi-call binary of Kubernetes, with its arguments.
    pub(crate) fn kubernetes(name: &str, arguments: impl IntoIterator<Item = String>) -> Self {
        Self::new(name, [format!("{PROGRAMS}/k8s"), name.to_owned()].into_iter().chain(arguments))
    }

    /// One of the hidden subcommands of `lab` itself.
    pub(crate) fn lab(subcommand: &str, argument: &str) -> Self {
        // The init of each host is this program, and its path may have gone with a later build.
        Self::new(subcommand, ["/proc/1/exe", subcommand, argument])
    }

    pub(crate) fn after(mut self, file: PathBuf) -> Self {
        self.after.push(file);
        self
    }
}

impl HostSpec {
    pub(crate) fn new(layout: &Layout, host: HostId, programs: &Path) -> Self {
        Self {
            host,
            cluster: layout.directory(),
            programs: programs.to_owned(),
            directories: Vec::new(),
            links: Vec::new(),
            cgroup: None,
            sysctls: Vec::new(),
            network: vec!["link set lo up".to_owned()],
            commands: Vec::new(),
            services: Vec::new(),
        }
    }

    /// Gives `eth0` its addresses on the node LAN and brings it up.
    pub(crate) fn on_the_lan(mut self) -> Self {
        let host = self.host;
        self.network.extend([
            format!("addr add {}/24 dev eth0", host.ipv4()),
            // Nobody else can have it, and detection would delay the start by a second.
            format!("addr add {}/64 dev eth0 nodad", host.ipv6()),
            "link set eth0 up".to_owned(),
        ]);
        // As on a Debian with systemd. A new network namespace has the machine's values or the kernel's, by kernel.
        self.sysctl("net/ipv4/conf/all/rp_filter", "2").sysctl("net/ipv4/conf/default/rp_filter", "2")
    }

    /// Sends everything that is not on the LAN to the router.
    pub(crate) fn routed(mut self) -> Self {
        self.network.push(format!("route add default via {}", HostId::Router.ipv4()));
        self.network.push(format!("route add default via {}", HostId::Router.ipv6()));
        self
    }

    pub(crate) fn sysctl(mut self, name: &str, value: &str) -> Self {
        self.sysctls.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The host's own directory.
    pub(crate) fn directory(&self) -> PathBuf {
        self.cluster.join("hosts").join(self.host.to_string())
    }

    /// Where the spec of `host` is stored.
    pub(crate) fn path(layout: &Layout, host: HostId) -> PathBuf {
        layout.host(host).join("spec.json")
    }

    pub(crate) fn write(&self, layout: &Layout) -> Result<()> {
        let path = Self::path(layout, self.host);
        let text = serde_json::to_vec_pretty(self).map_err(|error| unexpected(format!("{}", path.display()), error))?;
        fs::write(&path, text).doing(|| format!("write {}", path.display()))
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).doing(|| format!("read {}", path.display()))?;
        serde_json::from_slice(&text).map_err(|error| unexpected(format!("{}", path.display()), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_its_file() {
        let layout = Layout::new("demo").unwrap();
        let mut spec = HostSpec::new(&layout, HostId::Node(2), Path::new("/programs")).on_the_lan().routed();
        spec.services.push(Service::kubernetes("kubelet", ["--v=1".to_owned()]).after(layout.api_ready()));
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<HostSpec>(&text).unwrap(), spec);
    }

    #[test]
    fn a_host_on_the_lan_has_both_addresses_and_reaches_the_rest_by_the_router() {
        let spec = HostSpec::new(&Layout::new("demo").unwrap(), HostId::Node(2), Path::new("/programs"));
        assert_eq!(
            spec.on_the_lan().routed().network,
            [
                "link set lo up",
                "addr add 192.168.50.12/24 dev eth0",
                "addr add fd00:50::12/64 dev eth0 nodad",
                "link set eth0 up",
                "route add default via 192.168.50.1",
                "route add default via fd00:50::1",
            ]
        );
    }
}
