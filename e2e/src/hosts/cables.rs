//! The cables of a cluster: virtual Ethernet pairs between hosts.

use std::process::Command;

use crate::{
    base::{command, error::Result},
    topology::{host_id::HostId, layout::Layout},
};

/// The bridge inside the switch.
const BRIDGE: &str = "br0";

/// Commands for `ip` that set up the inside of the switch.
pub(crate) fn switch() -> Vec<String> {
    // Snooping would drop neighbour solicitations until a querier appears, and there is none.
    vec![format!("link add {BRIDGE} type bridge mcast_snooping 0"), format!("link set {BRIDGE} up")]
}

/// Plugs a host into the switch. The port is named like the host, the host's interface is `eth0`.
pub(crate) fn plug_in(layout: &Layout, host: HostId) -> Result<()> {
    let (switch, namespace) = (layout.namespace(HostId::Switch), layout.namespace(host));
    batch(
        &switch,
        &[
            format!("link add {host} type veth peer name eth0 address {} netns {namespace}", host.mac()),
            format!("link set {host} master {BRIDGE} up"),
        ],
    )
}

/// Takes a host's cable away altogether, if it is there. The kernel would do so as well, but only when the last
/// connection that the host's processes left behind has timed out.
pub(crate) fn pull_out(layout: &Layout, host: HostId) -> Result<()> {
    let switch = layout.namespace(HostId::Switch);
    if batch(&switch, &[format!("link show {host}")]).is_ok() {
        batch(&switch, &[format!("link del {host}")])?;
    }
    Ok(())
}

/// The cable from the router's second interface to the client's.
pub(crate) fn behind_the_router(layout: &Layout) -> Result<()> {
    let client = layout.namespace(HostId::Client);
    batch(&layout.namespace(HostId::Router), &[format!("link add eth1 type veth peer name eth1 netns {client}")])
}

/// Runs `ip` commands in a namespace.
pub(crate) fn batch(namespace: &str, lines: &[String]) -> Result<()> {
    let input = lines.join("\n").into_bytes();
    command::run_with_input(Command::new("ip").args(["-netns", namespace, "-batch", "-"]), input).map(drop)
}

/// Whether the kernel can make `dummy` interfaces. A node's agent makes `kube-lb0` then, and else finds one there.
pub(crate) fn has_dummy(layout: &Layout) -> bool {
    batch(&layout.namespace(HostId::Switch), &["link add trial type dummy".to_owned(), "link del trial".to_owned()])
        .is_ok()
}
