//! A Kubernetes node: containerd, kubelet, kube-proxy, and the two BIRDs of calico-node.

use std::{fs, path::Path};

use crate::cluster::specs::{
    networks::{pod_networks, routes_to_pods},
    shape::ClusterShape,
};
use api_types::Family;

use crate::{
    base::error::{Doing, Result},
    hosts::{
        cables,
        spec::{HostSpec, PROGRAMS, Service},
    },
    kubernetes::credentials::User,
    routing::calico::paths::bird_paths,
    topology::{family::FamilyNames as _, host_id::HostId},
};

const SOCKET: &str = "/run/containerd/containerd.sock";

pub(crate) fn spec(shape: ClusterShape<'_>, number: u8) -> Result<HostSpec> {
    let layout = shape.layout;
    let host = HostId::Node(number);
    let mut spec = HostSpec::new(layout, host, shape.programs)
        .on_the_lan()
        .routed()
        .sysctl("net/ipv4/ip_forward", "1")
        .sysctl("net/ipv6/conf/all/forwarding", "1")
        // As on a Debian with systemd.
        .sysctl("net/ipv4/conf/all/promote_secondaries", "1")
        .sysctl("net/ipv4/conf/default/promote_secondaries", "1");
    spec.network.extend((1..=shape.nodes).filter(|other| *other != number).flat_map(routes_to_pods));
    if !cables::has_dummy(layout) {
        // The agent takes an interface of this name that is there already. An ifb behaves like a dummy: no ARP,
        // addresses, connected routes.
        spec.network.extend(["link add kube-lb0 type ifb", "link set kube-lb0 up"].map(str::to_owned));
    }
    spec.cgroup = Some(layout.cgroup(host));
    for directory in ["kubelet", "containerd", "cni"] {
        spec.directories.push((directory.to_owned(), Path::new("/var/lib").join(directory)));
    }

    let directory = layout.host(host);
    let write = |name: &str, text: String| -> Result<String> {
        let path = directory.join(name);
        fs::write(&path, text).doing(|| format!("write {}", path.display()))?;
        Ok(path.display().to_string())
    };
    fs::create_dir_all(directory.join("cni.d")).doing(|| format!("make {}", directory.display()))?;
    write("cni.d/10-lab.conflist", cni(number))?;
    let containerd = write("containerd.toml", containerd(&directory))?;
    let kubelet = write("kubelet.yaml", kubelet(shape, host))?;
    let proxy = write("kube-proxy.yaml", proxy(shape, host))?;

    spec.services = vec![
        Service::new("containerd", [format!("{PROGRAMS}/containerd"), "--config".into(), containerd]),
        Service::kubernetes(
            "kubelet",
            [
                format!("--config={kubelet}"),
                format!("--kubeconfig={}", User::Kubelet(number).kubeconfig(layout).display()),
                format!("--hostname-override={host}"),
                format!("--node-ip={},{}", host.ipv4(), host.ipv6()),
            ],
        )
        .after(SOCKET.into())
        .after(layout.api_ready()),
        Service::kubernetes("kube-proxy", [format!("--config={proxy}")]).after(layout.api_ready()),
    ];
    for family in Family::ALL {
        let program = family.bird();
        let (configuration, socket) = bird_paths(layout, host, family);
        spec.links.push((socket.clone(), format!("/run/bird/{program}.ctl").into()));
        let command = [&format!("/usr/sbin/{program}"), "-f", "-R", "-c", &configuration.display().to_string(), "-s"]
            .map(str::to_owned);
        let service = Service::new(program, command.into_iter().chain([socket.display().to_string()]));
        spec.services.push(service.after(configuration));
    }
    Ok(spec)
}

fn cni(number: u8) -> String {
    let [v4, v6] = pod_networks(number);
    format!(
        r#"{{"cniVersion": "1.0.0", "name": "lab", "plugins": [
  {{"type": "ptp", "ipMasq": false, "ipam": {{
    "type": "host-local", "dataDir": "/run/cni-addresses",
    "ranges": [[{{"subnet": "{v4}"}}], [{{"subnet": "{v6}"}}]],
    "routes": [{{"dst": "0.0.0.0/0"}}, {{"dst": "::/0"}}]}}}},
  {{"type": "portmap", "capabilities": {{"portMappings": true}}}}]}}
"#
    )
}

fn containerd(directory: &Path) -> String {
    format!(
        r#"version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs",
]
[grpc]
address = "{SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
path = "/var/lib/containerd/opt"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "localhost/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
disable_apparmor = true
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "{}"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "/usr/sbin/runc"
"#,
        directory.join("cni.d").display()
    )
}

fn kubelet(shape: ClusterShape<'_>, host: HostId) -> String {
    let pki = |file: &str| shape.layout.pki().join(file).display().to_string();
    // The nodes share the machine, so none of them may evict pods because the machine's memory or disk is used, and
    // each has its own cgroups. Some machines still have version 1 of those. Tests kill the agents again and again: with
    // the kubelet's usual back-off, of up to five minutes, each would wait for the kills of those before it.
    format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
tlsCertFile: {certificate}
tlsPrivateKeyFile: {key}
containerRuntimeEndpoint: unix://{SOCKET}
cgroupDriver: cgroupfs
cgroupRoot: {cgroup}
cgroupsPerQOS: true
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
localStorageCapacityIsolation: false
crashLoopBackOff: {{maxContainerRestartPeriod: 1s}}
clusterDNS: ["10.96.0.10"]
clusterDomain: cluster.local
resolvConf: ""
volumePluginDir: /var/lib/kubelet/volumeplugins
makeIPTablesUtilChains: false
serializeImagePulls: false
imageGCHighThresholdPercent: 100
evictionHard: {{memory.available: "0%", nodefs.available: "0%", imagefs.available: "0%", nodefs.inodesFree: "0%"}}
"#,
        certificate = pki("server.crt"),
        key = pki("server.key"),
        cgroup = shape.layout.cgroup(host),
    )
}

fn proxy(shape: ClusterShape<'_>, host: HostId) -> String {
    // The sysctls of connection tracking belong to the machine. Cluster IPs are masqueraded because the control plane,
    // which runs no kube-proxy, uses them through any node.
    format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {{kubeconfig: {kubeconfig}}}
hostnameOverride: {host}
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
nftables: {{minSyncPeriod: 0s, masqueradeAll: true}}
",
        kubeconfig = User::Proxy.kubeconfig(shape.layout).display()
    )
}
