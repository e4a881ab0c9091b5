//! Addresses and interfaces that are removed by hand come back.

use std::net::IpAddr;
use std::slice::from_ref;
use std::time::Duration;

use e2e::{
    Cluster, Node, eventually,
    testing::{
        Applied, BareService, DEADLINE, ROUTED_GROUPS, delete_events, installed, nodes_with, wait_for_address,
        wait_for_event, wait_for_next_hops,
    },
};

/// Takes an address off an interface as an administrator would.
fn take_away(node: &Node, interface: &str, address: IpAddr) {
    let found = node.addresses(interface).unwrap();
    let found = found.iter().find(|found| found.address == address).unwrap();
    let text = format!("{address}/{}", found.prefix_length);
    node.exec(&["ip", "address", "del", &text, "dev", interface]).unwrap();
}

/// Waits until one node and no other has it on its own interface.
async fn only_holder(cluster: &Cluster, address: IpAddr) -> Node {
    eventually(DEADLINE, format!("one node with {address}"), async || {
        let holders = nodes_with(cluster, address);
        let holder = cluster.nodes().find(|node| holders.contains(&node.name()));
        holder.filter(|_| holders.len() == 1).ok_or(format!("{holders:?}"))
    })
    .await
    .unwrap()
}

/// Takes the addresses off one node's kube-lb0.
async fn remote_addresses_come_back(cluster: &Cluster, remote: &BareService<'_>) {
    let node = cluster.node(1);
    for address in &remote.addresses {
        take_away(&node, "kube-lb0", *address);
        let words = format!("node {} found {address} missing or changed on interface kube-lb0", node.name());
        wait_for_event(cluster, "default", remote.name, "AddressRepaired", &words).await;
        wait_for_address(from_ref(&node), "kube-lb0", *address, true).await;
    }
}

/// Takes the addresses off their owner's interface, who stays the owner.
async fn local_addresses_come_back(cluster: &Cluster, local: &BareService<'_>) {
    for address in &local.addresses {
        let owner = only_holder(cluster, *address).await;
        take_away(&owner, "eth0", *address);
        let words = format!("node {} found {address} missing or changed on interface eth0", owner.name());
        wait_for_event(cluster, "default", local.name, "AddressRepaired", &words).await;
        assert_eq!(only_holder(cluster, *address).await.name(), owner.name());
    }
}

/// Takes the interface with all that is on it.
async fn the_dummy_interface_comes_back(cluster: &Cluster, remote: &BareService<'_>) {
    let node = cluster.node(2);
    node.exec(&["ip", "link", "del", "kube-lb0"]).unwrap();
    node.ensure_dummy("kube-lb0").unwrap();
    for address in &remote.addresses {
        wait_for_address(from_ref(&node), "kube-lb0", *address, true).await;
    }
}

/// Takes the owner's interface down and up, whose local addresses another node has by then.
async fn a_node_comes_back(cluster: &Cluster, local: &BareService<'_>) {
    let owner = only_holder(cluster, local.addresses[0]).await;
    let monitor = cluster.client().monitor(local.addresses[0]).unwrap();
    owner.unplug().unwrap();
    eventually(DEADLINE, "another node that answers", async || {
        let mac = cluster.client().arp(local.addresses[0]).map_err(|error| error.to_string())?;
        if mac.is_some_and(|mac| mac != owner.mac()) { Ok(()) } else { Err(format!("{mac:?}")) }
    })
    .await
    .unwrap();
    owner.plug().unwrap();
    for address in &local.addresses {
        let holder = only_holder(cluster, *address).await;
        assert_eq!(cluster.client().arp(*address).unwrap(), Some(holder.mac()));
    }
    cluster.peered(DEADLINE).await.unwrap();
    let both = monitor.stop().unwrap().overlap();
    println!("two nodes answered for {both:?} after one had its interface again");
    assert!(both < Duration::from_millis(500), "{both:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_away_by_hand_is_put_back_and_an_event_says_so() {
    let cluster = installed().await;
    // The events of a first try of this test would pass for those of this one.
    for name in ["heal-remote", "heal-local"] {
        delete_events(&cluster, "default", name);
    }
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let _local = Applied::kustomization(&cluster, "manifests/samples/local");
    let remote = BareService::new(&cluster, "heal-remote", ROUTED_GROUPS).await;
    let local = BareService::new(&cluster, "heal-local", "default").await;
    let nodes: Vec<Node> = cluster.nodes().collect();
    for address in &remote.addresses {
        wait_for_next_hops(&cluster, *address, &nodes).await;
    }
    remote_addresses_come_back(&cluster, &remote).await;
    local_addresses_come_back(&cluster, &local).await;
    the_dummy_interface_comes_back(&cluster, &remote).await;
    a_node_comes_back(&cluster, &local).await;
    for address in &remote.addresses {
        wait_for_address(&nodes, "kube-lb0", *address, true).await;
        wait_for_next_hops(&cluster, *address, &nodes).await;
    }
}
