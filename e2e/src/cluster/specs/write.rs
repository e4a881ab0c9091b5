//! Writes what a host is made of into its directory; also describes the two hosts that need no file of their own.

use crate::{
    base::error::Result,
    cluster::specs::{control_plane, node, router, shape::ClusterShape},
    hosts::{cables, spec::HostSpec},
    topology::host_id::HostId,
};

/// Writes the plan of `host` and its configuration files.
pub(crate) fn write(shape: ClusterShape<'_>, host: HostId) -> Result<()> {
    let spec = match host {
        HostId::Switch => {
            let mut spec = HostSpec::new(shape.layout, host, shape.programs);
            spec.network.extend(cables::switch());
            spec
        }
        HostId::Control => control_plane::spec(shape),
        HostId::Router => router::spec(shape)?,
        HostId::Client => client(shape),
        HostId::Node(number) => node::spec(shape, number)?,
    };
    spec.write(shape.layout)
}

/// The client has one leg among the nodes, for ARP and for local addresses, and one behind the router, for all else.
fn client(shape: ClusterShape<'_>) -> HostSpec {
    let mut spec = HostSpec::new(shape.layout, HostId::Client, shape.programs).on_the_lan();
    spec.network.extend(
        [
            "addr add 192.168.60.99/24 dev eth1",
            "addr add fd00:60::99/64 dev eth1 nodad",
            "link set eth1 up",
            "route add default via 192.168.60.1 dev eth1",
            "route add default via fd00:60::1 dev eth1",
        ]
        .map(str::to_owned),
    );
    spec
}
