//! The allocator that leads.

use nix::sys::signal::Signal;

use crate::{
    base::wait::eventually,
    cluster::{handle::Cluster, installation::NAMESPACE},
    testing::{objects::object, waits::DEADLINE},
};

/// The name of the pod that holds the Lease; it may be gone already.
fn holder(cluster: &Cluster) -> String {
    let lease = object(cluster, &["lease", "purelb-allocator", "--namespace", NAMESPACE]);
    let identity = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    identity.split('_').next().unwrap_or_default().to_owned()
}

/// Kills the allocator that leads, for good and without giving up the Lease: another pod replaces it. Returns when
/// another one leads.
pub async fn change_leader(cluster: &Cluster) {
    let leader = holder(cluster);
    let node = object(cluster, &["pod", &leader, "--namespace", NAMESPACE])["spec"]["nodeName"].clone();
    let node = cluster.nodes().find(|host| host.name() == node.as_str().unwrap_or_default()).unwrap();
    let environment = format!("HOSTNAME={leader}");
    for pid in node.processes("allocator").unwrap() {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        if environ.split(|byte| *byte == 0).any(|variable| variable == environment.as_bytes()) {
            node.kill(pid, Signal::SIGKILL).unwrap();
        }
    }
    cluster.kubectl(&["delete", "pod", &leader, "--namespace", NAMESPACE, "--grace-period=0", "--force"]).unwrap();
    eventually(DEADLINE, format!("another leader than {leader}"), async || {
        let now = holder(cluster);
        if now.is_empty() || now == leader { Err(now) } else { Ok(()) }
    })
    .await
    .unwrap();
}
