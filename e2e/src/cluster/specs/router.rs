//! The top-of-rack router: Debian's FRR and its configuration. It speaks BGP with each node.

use std::{fmt::Write, fs};

use crate::cluster::specs::shape::ClusterShape;
use api_types::Family;

use crate::{
    base::error::{Doing, Result},
    hosts::spec::{HostSpec, Service},
    topology::{family::FamilyNames as _, host_id::HostId},
};

/// The router's own AS number; the nodes have another one, whichever.
const AS: u32 = 64600;

/// FRR's directory for sockets, in the router's own /run.
const RUN: &str = "/run/frr";

pub(crate) fn spec(shape: ClusterShape<'_>) -> Result<HostSpec> {
    let mut spec = HostSpec::new(shape.layout, HostId::Router, shape.programs)
        .on_the_lan()
        .sysctl("net/ipv4/ip_forward", "1")
        .sysctl("net/ipv6/conf/all/forwarding", "1")
        // By connection, so that one client uses all nodes.
        .sysctl("net/ipv4/fib_multipath_hash_policy", "1")
        .sysctl("net/ipv6/fib_multipath_hash_policy", "1");
    spec.network.extend(
        ["addr add 192.168.60.1/24 dev eth1", "addr add fd00:60::1/64 dev eth1 nodad", "link set eth1 up"]
            .map(str::to_owned),
    );
    let directory = shape.layout.host(HostId::Router);
    let path = |name: &str| directory.join(name).display().to_string();
    for (name, text) in [("zebra.conf", "hostname router\n".to_owned()), ("bgpd.conf", bgpd(shape.nodes))] {
        fs::write(directory.join(name), text).doing(|| format!("write {}", path(name)))?;
    }
    // FRR drops its privileges before it reads its configuration, so it gets copies that are its own.
    let install = |words: &[&str]| {
        ["install", "-o", "frr", "-g", "frr"].iter().chain(words).map(|word| (*word).to_owned()).collect()
    };
    spec.commands.push(install(&["-d", RUN]));
    spec.commands.push(install(&["-m", "0640", &path("zebra.conf"), &path("bgpd.conf"), RUN]));
    let daemon = |name: &str| {
        // Port 0: `vtysh` talks to them through sockets, and nothing else has to.
        Service::new(
            name,
            [&format!("/usr/lib/frr/{name}"), "-f", &format!("{RUN}/{name}.conf"), "-P", "0"].map(str::to_owned),
        )
    };
    spec.services = vec![
        daemon("zebra"),
        daemon("bgpd").after(format!("{RUN}/zserv.api").into()),
        // Its log is the history of the routes that clients behind the router have had.
        Service::new("routes", ["ip", "-ts", "monitor", "route"]),
    ];
    Ok(spec)
}

fn bgpd(nodes: u8) -> String {
    let mut text = format!(
        "hostname router
router bgp {AS}
 bgp router-id {}
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 bgp bestpath as-path multipath-relax
",
        HostId::Router.ipv4()
    );
    let neighbors = |family| (1..=nodes).map(move |number| HostId::Node(number).address(family));
    for neighbor in Family::ALL.into_iter().flat_map(neighbors) {
        let _ = writeln!(text, " neighbor {neighbor} remote-as external\n neighbor {neighbor} timers connect 1");
    }
    for family in Family::ALL {
        let _ = writeln!(text, " address-family {} unicast\n  maximum-paths 8", family.frr());
        for neighbor in neighbors(family) {
            let _ = writeln!(text, "  neighbor {neighbor} activate");
        }
        text.push_str(" exit-address-family\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_with_every_node_in_both_families() {
        let text = bgpd(2);
        for line in
            [" neighbor 192.168.50.12 remote-as external", "  neighbor fd00:50::11 activate", "  maximum-paths 8"]
        {
            assert!(text.lines().any(|each| each == line), "{line} in\n{text}");
        }
        assert_eq!(text.matches("activate").count(), 4);
    }
}
