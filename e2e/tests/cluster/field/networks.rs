//! Networks and routes of the nodes that are odd, or change.

use std::{net::IpAddr, time::Instant};

use e2e::{
    Cluster, Family, KernelLog, NAMESPACE, Node,
    testing::{
        Applied, BareService, ROUTED_GROUPS, SETTLE_TIME, Undo, Watched, delete_events, installed, restart_agents,
        service_object, wait_for_address, wait_for_event_among, wait_for_next_hops,
    },
};
use serde_json::json;

use crate::failover::local_service::LocalService;

/// What the router did to its route to this address, other than keeping the next hops of these nodes.
fn lost_hops(log: &KernelLog, address: IpAddr, nodes: &[Node]) -> Vec<String> {
    let changes = log.about(&[address]);
    let kept = |text: &str| {
        nodes.iter().all(|node| text.contains(&format!("via {} ", node.id().address(Family::of(address)))))
    };
    changes.into_iter().filter(|change| change.is_removal() || !kept(&change.text)).map(|change| change.text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_47_one_node_has_a_wide_network_around_a_routed_pool() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let remote = BareService::new(&cluster, "wide", ROUTED_GROUPS).await;
    let nodes: Vec<Node> = cluster.nodes().collect();
    let [others @ .., odd] = nodes.as_slice() else { panic!("three nodes") };
    for address in &remote.addresses {
        wait_for_next_hops(&cluster, *address, &nodes).await;
    }
    let [v4, v6] = remote.addresses.as_slice() else { panic!("one of each family") };
    let at_router = cluster.router().log_routes().unwrap();
    let wide = Undo::address(odd, "172.30.1.3/16", "eth0");
    tokio::time::sleep(SETTLE_TIME).await;
    for address in &remote.addresses {
        wait_for_address(others, "kube-lb0", *address, true).await;
    }
    let lost = lost_hops(&at_router, *v4, others);
    assert!(lost.is_empty(), "the router lost next hops of {v4}: {lost:?}");
    assert!(at_router.about(&[*v6]).is_empty(), "the other family's route changed: {:?}", at_router.about(&[*v6]));
    let kept = cluster.router().route(*v4).unwrap().map(|route| route.next_hops).unwrap_or_default();
    assert!(others.iter().all(|node| kept.contains(&node.id().address(Family::V4))), "{kept:?}");

    drop(wide);
    for address in &remote.addresses {
        wait_for_next_hops(&cluster, *address, &nodes).await;
        wait_for_address(&nodes, "kube-lb0", *address, true).await;
    }
}

/// Lets these nodes' own IPv6 addresses be deprecated, until this is dropped.
fn deprecated<'a>(nodes: impl IntoIterator<Item = Node>) -> Vec<Undo<'a>> {
    let each = |node: Node| {
        let set = |node: &Node, preferred: &str| {
            let address = format!("{}/64", node.id().ipv6());
            let change = ["ip", "-6", "address", "change", &address, "dev", "eth0", "valid_lft", "forever"];
            node.exec(&[&change[..], &["preferred_lft", preferred]].concat()).map(drop)
        };
        let undo = node.clone();
        let changed = Undo::new(move || set(&undo, "forever"));
        set(&node, "0").unwrap();
        let own = node.addresses("eth0").unwrap();
        let deprecated = own.iter().any(|own| own.address == node.id().ipv6() && own.flags.contains("deprecated"));
        assert!(deprecated, "{own:?}");
        changed
    };
    nodes.into_iter().map(each).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_53_the_router_says_goodbye_and_ipv6_addresses_become_deprecated() {
    let cluster = installed().await;
    let local = LocalService::new(&cluster, "deprecated").await;
    let owner = local.owner();
    let from = Instant::now();
    let all = deprecated(cluster.nodes());
    tokio::time::sleep(SETTLE_TIME).await;
    local.assert_only(owner.mac(), from);
    // Also for agents that begin now.
    restart_agents(&cluster).await;
    local.assert_only(owner.mac(), from);
    drop(all);

    let _one = deprecated([owner.clone()]);
    tokio::time::sleep(SETTLE_TIME).await;
    local.assert_only(owner.mac(), from);
}

/// Takes a node's IPv6 default routes away, until this is dropped.
fn without_default_route(node: &Node) -> Undo<'_> {
    let taken = Undo::new(|| node.plug());
    node.exec(&["ip", "-6", "route", "flush", "default"]).unwrap();
    taken
}

#[tokio::test(flavor = "multi_thread")]
async fn case_09_no_ipv6_default_route_or_one_through_a_tunnel_only() {
    let cluster = installed().await;
    let local = LocalService::new(&cluster, "no-default").await;
    let owner = local.owner();
    let nodes: Vec<Node> = cluster.nodes().collect();
    let from = Instant::now();
    let _without: Vec<_> = nodes.iter().map(without_default_route).collect();
    let restarted = async || {
        restart_agents(&cluster).await;
        local.assert_only(owner.mac(), from);
    };
    restarted().await;

    // Through something that carries none of the node's own addresses.
    let tunnels: Vec<_> = nodes.iter().map(|node| node.spare_network("tun0").unwrap()).collect();
    for node in &nodes {
        node.exec(&["ip", "-6", "route", "replace", "default", "dev", "tun0"]).unwrap();
    }
    restarted().await;
    // A new Service as well.
    let yaml = service_object("tunnelled", &[], &json!({"ipFamilyPolicy": "RequireDualStack"})).to_string();
    let _new = Applied::yaml(&cluster, &yaml);
    let addresses = cluster.service_addresses("default", "tunnelled", 2).await.unwrap();
    let watched = Watched::<2>::new(&cluster, addresses.try_into().unwrap());
    let macs: Vec<_> = nodes.iter().map(Node::mac).collect();
    watched.answered_by(|found| found.iter().all(|mac| macs.contains(mac))).await;
    drop(tunnels);
}

/// Waits for a warning about a Service in `default` with these words.
async fn warned(cluster: &Cluster, name: &str, words: &str) {
    wait_for_event_among(cluster, "default", name, &["ConfigurationWarning", "ReservedAddress"], words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_23_a_remote_address_inside_a_network_of_another_interface() {
    let cluster = installed().await;
    delete_events(&cluster, "default", "inside");
    let node = cluster.node(2);
    let _bridge = node.spare_network("docker0").unwrap();
    node.exec(&["ip", "address", "add", "172.17.0.1/16", "dev", "docker0"]).unwrap();
    let group = |name: &str, range: &str, aggregation: &str| {
        json!({
            "apiVersion": "purelb.io/v2", "kind": "ServiceGroup", "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"remote": {"v4pool": {"pool": range, "subnet": range, "aggregation": aggregation}}},
        })
        .to_string()
    };
    let _group = Applied::yaml(&cluster, &group("inside", "172.17.9.0/28", "/32"));
    let service = service_object("inside", &[("service-group", "inside")], &json!({})).to_string();
    let _service = Applied::yaml(&cluster, &service);
    let addresses = cluster.service_addresses("default", "inside", 1).await.unwrap();
    let nodes: Vec<Node> = cluster.nodes().collect();
    wait_for_address(&nodes, "kube-lb0", addresses[0], true).await;
    warned(&cluster, "inside", "docker0").await;

    // A prefix that covers addresses of that network is another matter: where it is not, it goes on.
    let _wide = Applied::yaml(&cluster, &group("wide", "172.17.8.0/28", "/28"));
    let service = service_object("wide", &[("service-group", "wide")], &json!({})).to_string();
    let _service = Applied::yaml(&cluster, &service);
    let addresses = cluster.service_addresses("default", "wide", 1).await.unwrap();
    let [first, second, third] = nodes.as_slice() else { panic!("three nodes") };
    wait_for_address(&[first.clone(), third.clone()], "kube-lb0", addresses[0], true).await;
    wait_for_address(std::slice::from_ref(second), "kube-lb0", addresses[0], false).await;
}
