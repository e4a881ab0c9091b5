//! What each host of a cluster consists of.

mod control;
mod node;
mod router;

use std::path::Path;

use crate::{cables, error::Result, host_id::HostId, layout::Layout, plan::Plan};

pub(crate) use control::node_object;

/// Pod networks; each node has a part of them.
const PODS: &str = "10.244.0.0/16,fd00:10:244::/56";
/// Networks of cluster IPs.
const SERVICES: &str = "10.96.0.0/16,fd00:10:96::/112";

/// What the plans depend on besides the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) programs: &'a Path,
    pub(crate) nodes: u8,
}

/// Writes the plan of `host` and its configuration files.
pub(crate) fn write(shape: Shape<'_>, host: HostId) -> Result<()> {
    let plan = match host {
        HostId::Switch => {
            let mut plan = Plan::new(shape.layout, host, shape.programs);
            plan.network.extend(cables::switch());
            plan
        }
        HostId::Control => control::plan(shape),
        HostId::Router => router::plan(shape)?,
        HostId::Client => client(shape),
        HostId::Node(number) => node::plan(shape, number)?,
    };
    plan.write(shape.layout)
}

/// The client has one leg among the nodes, for ARP and for local addresses, and one behind the router, for all else.
fn client(shape: Shape<'_>) -> Plan {
    let mut plan = Plan::new(shape.layout, HostId::Client, shape.programs).on_the_lan();
    plan.network.extend(
        [
            "addr add 192.168.60.99/24 dev eth1",
            "addr add fd00:60::99/64 dev eth1 nodad",
            "link set eth1 up",
            "route add default via 192.168.60.1 dev eth1",
            "route add default via fd00:60::1 dev eth1",
        ]
        .map(str::to_owned),
    );
    plan
}

/// A node's part of the pod networks.
fn pod_networks(number: u8) -> [String; 2] {
    [format!("10.244.{number}.0/24"), format!("fd00:10:244:{number}::/64")]
}

/// Commands for `ip` that lead to the pods of a node.
fn routes_to_pods(number: u8) -> [String; 2] {
    let [v4, v6] = pod_networks(number);
    let node = HostId::Node(number);
    [format!("route add {v4} via {}", node.ipv4()), format!("route add {v6} via {}", node.ipv6())]
}
