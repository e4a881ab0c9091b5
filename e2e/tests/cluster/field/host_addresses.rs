//! Nodes whose own addresses have the full prefix length, as `DHCPv6` and some clouds give them.

use std::net::IpAddr;

use e2e::{
    Cluster, Family, NAMESPACE, Node,
    testing::{
        Applied, Undo, Watched, installed, nodes_with, service_object, wait_for_address, wait_for_condition,
        wait_for_no_condition,
    },
};
use serde_json::{Value, json};

use crate::failover::local_service::LocalService;

/// The network of the nodes, and the router alone, in both families.
const LAN: [&str; 2] = ["192.168.50.0/24", "fd00:50::/64"];
const ROUTER: [&str; 2] = ["192.168.50.1/32", "fd00:50::1/128"];

/// Lines for `ip` that make a route of ours to what a node reaches without a router.
fn on_link(action: &str, destinations: [&str; 2]) -> [String; 2] {
    destinations.map(|destination| format!("route {action} {destination} dev eth0 proto static metric 50"))
}

fn batch(node: &Node, lines: &[String]) -> e2e::Result<()> {
    node.exec_with_input(&["ip", "-batch", "-"], lines.join("\n")).map(drop)
}

/// A node with host addresses that reaches these networks without a router, until this is dropped.
fn host_addresses<'a>(node: &Node, reached: [&'static str; 2]) -> Undo<'a> {
    let (at, [v4, v6]) = (node.clone(), Family::ALL.map(|family| node.id().address(family)));
    let undone = Undo::new(move || {
        // With its IPv6 address a node loses routes; `plug` puts back what it has from the start.
        let lines = [format!("address add {v4}/24 dev eth0"), format!("address del {v4}/32 dev eth0")];
        batch(&at, &lines)?;
        batch(&at, &[format!("address del {v6}/128 dev eth0"), format!("address add {v6}/64 dev eth0 nodad")])?;
        // Of these only one pair is there.
        for line in [LAN, ROUTER].into_iter().flat_map(|destinations| on_link("del", destinations)) {
            let _ = batch(&at, &[line]);
        }
        at.plug()
    });
    let [route_v4, route_v6] = on_link("add", reached);
    let lines = [
        route_v4,
        format!("address add {v4}/32 dev eth0"),
        format!("address del {v4}/24 dev eth0"),
        // With an IPv6 address the kernel takes a route to its network away, whoever made it.
        format!("address del {v6}/64 dev eth0"),
        format!("address add {v6}/128 dev eth0 nodad"),
        route_v6,
        "route replace default via fd00:50::1 dev eth0".to_owned(),
    ];
    batch(node, &lines).unwrap();
    undone
}

/// A node whose kernel answers on an interface for the addresses of that interface alone, as kube-proxy's `strictARP` has
/// it, until this is dropped.
fn strict_arp<'a>(node: &Node) -> Undo<'a> {
    let at = node.clone();
    let set = |node: &Node, value: u8| {
        node.exec(&["sysctl", "-qw", &format!("net.ipv4.conf.all.arp_ignore={value}")]).map(drop)
    };
    let undone = Undo::new(move || set(&at, 0));
    set(node, 1).unwrap();
    undone
}

/// A node's own address that the kernel chooses as a source for what is far away.
fn source(node: &Node, family: Family) -> IpAddr {
    let (option, far) = match family {
        Family::V4 => ("-4", "198.51.100.1"),
        Family::V6 => ("-6", "2001:db8:99::1"),
    };
    let text = node.exec(&["ip", "-j", option, "route", "get", far]).unwrap();
    let routes: Value = serde_json::from_str(&text).unwrap();
    routes[0]["prefsrc"].as_str().unwrap().parse().unwrap()
}

/// Waits until a node has the address as a host address on its own interface, and chooses its own as a source.
fn is_host_address(node: &Node, address: IpAddr) {
    let found = node.addresses("eth0").unwrap();
    let placed = found.iter().find(|found| found.address == address).unwrap();
    assert_eq!(placed.prefix_length, if address.is_ipv4() { 32 } else { 128 }, "{placed:?}");
    let family = Family::of(address);
    assert_eq!(source(node, family), node.id().address(family), "a Service's address is the node's source");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_87_nodes_with_host_addresses_announce_host_addresses_and_keep_their_source() {
    let cluster: Cluster = installed().await;
    let nodes: Vec<Node> = cluster.nodes().collect();
    let [one, two, apart] = nodes.as_slice() else { panic!("three nodes") };
    // The last one reaches the router alone: it is in no network with the others.
    let _in_the_lan = [one, two].map(|node| host_addresses(node, LAN));
    let _apart = host_addresses(apart, ROUTER);
    // Its cable leads into the same LAN all the same, where it is not to answer for what it has by routes.
    let _strict = strict_arp(apart);
    let named = ["servicegroup", "default", "--namespace", NAMESPACE];

    let local = LocalService::new(&cluster, "host-addresses").await;
    let owner = local.owner();
    assert_ne!(owner.id(), apart.id());
    for address in local.addresses {
        is_host_address(&owner, address);
    }
    wait_for_no_condition(&cluster, &named, "NoNodeInSubnet").await;

    // What v1 means by local: answered for where a node is in the network, routed from everywhere else. A prefix for the
    // whole network on the dummy interface would cut such a node off from it.
    let _either = Applied::yaml(
        &cluster,
        "{apiVersion: purelb.io/v1, kind: ServiceGroup, metadata: {name: either, namespace: purelb}, \
         spec: {local: {pool: 192.168.50.231-192.168.50.232, subnet: 192.168.50.0/24, aggregation: /32}}}",
    );
    let service = service_object("either", &[("service-group", "either")], &json!({})).to_string();
    let _service = Applied::yaml(&cluster, &service);
    let address = cluster.service_addresses("default", "either", 1).await.unwrap()[0];
    let watched = Watched::new(&cluster, [address]);
    watched.answered_by(|[mac]| [one.mac(), two.mac()].contains(&mac)).await;
    wait_for_address(std::slice::from_ref(apart), "kube-lb0", address, true).await;
    wait_for_address(&[one.clone(), two.clone()], "kube-lb0", address, false).await;
    let holders = nodes_with(&cluster, address);
    let holder = [one, two].into_iter().find(|node| holders.contains(&node.name())).unwrap();
    is_host_address(holder, address);

    // Nobody is in the network any more, and the group says so until somebody is again.
    let away = [one, two].map(|node| {
        let at = node.clone();
        let back = Undo::new(move || {
            batch(&at, &on_link("add", LAN))?;
            batch(&at, &on_link("del", ROUTER))
        });
        batch(node, &on_link("add", ROUTER)).unwrap();
        batch(node, &on_link("del", LAN)).unwrap();
        back
    });
    wait_for_condition(&cluster, &named, "NoNodeInSubnet", "192.168.50.").await;
    wait_for_address(&nodes, "kube-lb0", address, true).await;
    drop(away);
    wait_for_no_condition(&cluster, &named, "NoNodeInSubnet").await;
    local.answered_by(|macs| macs.iter().all(|mac| [one.mac(), two.mac()].contains(mac))).await;
    watched.answered_by(|[mac]| [one.mac(), two.mac()].contains(&mac)).await;
}
