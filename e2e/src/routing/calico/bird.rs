//! The configuration of one node's BIRD 1.6, for one family.

use std::{fmt::Write, net::IpAddr};

use crate::routing::calico::{
    filter::export_filter,
    objects::{Calico, NodeAddresses},
};
use api_types::Family;

/// A node and all others.
#[derive(Clone, Copy, Debug)]
pub struct Neighborhood<'a> {
    /// The node whose BIRD is configured.
    pub node: &'a NodeAddresses,
    /// All nodes of the cluster; the node itself may be among them.
    pub all: &'a [NodeAddresses],
}

/// The configuration of a node's `bird` or `bird6`. `None` when the node has no address of the family.
#[must_use]
pub fn bird_config(nodes: Neighborhood<'_>, calico: &Calico, family: Family) -> Option<String> {
    let node = nodes.node;
    let local = address(node, family)?;
    let configuration = &calico.configuration;
    let system = configuration.autonomous_system();
    let port = configuration.listen_port.unwrap_or(179);
    let mut text = format!("log stderr all;\nrouter id {};\nlisten bgp port {port};\n", node.ipv4);
    text.push_str(
        "
protocol device { scan time 2; }
# Addresses of every interface but those of pods and of kube-proxy in IPVS mode. kube-lb0 is one of the others.
protocol direct { interface -\"cali*\", -\"kube-ipvs*\", \"*\"; }
protocol kernel {
  learn;
  persist;
  scan time 2;
  import all;
  export all;
  graceful restart;
  merge paths on;
}

",
    );
    text.push_str(&export_filter(calico, family));
    let mut session = |kind: &str, neighbor: IpAddr, neighbor_port: u16, neighbor_system: u32| {
        let name = neighbor.to_string().replace(['.', ':'], "_");
        let _ = write!(
            text,
            "
protocol bgp {kind}_{name} {{
  local {local} as {system};
  neighbor {neighbor} port {neighbor_port} as {neighbor_system};
  multihop;
  gateway recursive;
  source address {local};
  import all;
  export filter to_peers;
  add paths on;
  graceful restart;
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 5;
}}
"
        );
    };
    for peer in &calico.peers {
        let ours = peer.node.as_ref().is_none_or(|name| *name == node.name);
        if ours && Family::of(peer.peer_ip) == family {
            session("peer", peer.peer_ip, 179, peer.as_number);
        }
    }
    if configuration.node_to_node_mesh_enabled.unwrap_or(true) {
        for other in nodes.all.iter().filter(|other| other.name != node.name) {
            if let Some(neighbor) = address(other, family) {
                session("mesh", neighbor, port, system);
            }
        }
    }
    Some(text)
}

fn address(node: &NodeAddresses, family: Family) -> Option<IpAddr> {
    match family {
        Family::V4 => Some(node.ipv4.into()),
        Family::V6 => node.ipv6.map(IpAddr::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::calico::objects::{BgpConfiguration, BgpPeer};

    fn nodes() -> Vec<NodeAddresses> {
        (1..=3_u8)
            .map(|number| NodeAddresses {
                name: format!("node{number}"),
                ipv4: [192, 168, 50, 10 + number].into(),
                ipv6: Some(format!("fd00:50::1{number}").parse().unwrap()),
            })
            .collect()
    }

    fn peer(address: &str, node: Option<&str>) -> BgpPeer {
        BgpPeer { peer_ip: address.parse().unwrap(), as_number: 64600, node: node.map(str::to_owned) }
    }

    fn configure(calico: &Calico, family: Family) -> String {
        let all = nodes();
        bird_config(Neighborhood { node: &all[0], all: &all }, calico, family).unwrap()
    }

    fn sessions(text: &str) -> Vec<&str> {
        text.lines().filter_map(|line| line.strip_prefix("protocol bgp ")?.strip_suffix(" {")).collect()
    }

    #[test]
    fn imports_all_interfaces_but_those_of_pods_and_ipvs() {
        let text = configure(&Calico::default(), Family::V4);
        assert!(text.contains(r#"protocol direct { interface -"cali*", -"kube-ipvs*", "*"; }"#));
    }

    #[test]
    fn the_router_id_is_the_ipv4_address_in_both_families() {
        for family in Family::ALL {
            assert!(configure(&Calico::default(), family).contains("\nrouter id 192.168.50.11;\n"));
        }
    }

    #[test]
    fn each_family_peers_over_its_own_addresses() {
        let peers = vec![peer("192.168.50.1", None), peer("fd00:50::1", None)];
        let configuration = BgpConfiguration { node_to_node_mesh_enabled: Some(false), ..Default::default() };
        let calico = Calico { configuration, peers, ..Calico::default() };
        let v4 = configure(&calico, Family::V4);
        assert_eq!(sessions(&v4), ["peer_192_168_50_1"]);
        assert!(
            v4.contains("local 192.168.50.11 as 64512;") && v4.contains("neighbor 192.168.50.1 port 179 as 64600;")
        );
        let v6 = configure(&calico, Family::V6);
        assert_eq!(sessions(&v6), ["peer_fd00_50__1"]);
        assert!(v6.contains("local fd00:50::11 as 64512;"));
    }

    #[test]
    fn sessions_have_calicos_options() {
        let text = configure(&Calico { peers: vec![peer("192.168.50.1", None)], ..Calico::default() }, Family::V4);
        for line in ["multihop;", "gateway recursive;", "source address 192.168.50.11;", "graceful restart;"] {
            assert!(text.contains(&format!("  {line}\n")), "{line}");
        }
    }

    #[test]
    fn a_peer_may_be_for_one_node_only() {
        let configuration = BgpConfiguration { node_to_node_mesh_enabled: Some(false), ..Default::default() };
        let peers = vec![peer("192.168.50.1", Some("node2"))];
        assert!(sessions(&configure(&Calico { configuration, peers, ..Calico::default() }, Family::V4)).is_empty());
    }

    #[test]
    fn the_seed_decides_as_number_port_and_mesh() {
        let configuration = BgpConfiguration {
            as_number: Some(4_200_000_101),
            listen_port: Some(1790),
            node_to_node_mesh_enabled: None,
            ..Default::default()
        };
        let text = configure(&Calico { configuration, ..Calico::default() }, Family::V4);
        assert!(text.contains("listen bgp port 1790;") && text.contains("local 192.168.50.11 as 4200000101;"));
        assert_eq!(sessions(&text), ["mesh_192_168_50_12", "mesh_192_168_50_13"]);
        assert!(text.contains("neighbor 192.168.50.13 port 1790 as 4200000101;"));
    }

    #[test]
    fn a_node_without_ipv6_has_no_bird6() {
        let node = NodeAddresses { name: "node1".into(), ipv4: [192, 168, 50, 11].into(), ipv6: None };
        assert_eq!(bird_config(Neighborhood { node: &node, all: &[] }, &Calico::default(), Family::V6), None);
    }
}
