//! Addresses that nodes and other programs have: never handed out, never announced by somebody else.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use e2e::{
    Cluster, Family, ForeignHost, Mac, NAMESPACE, Node, eventually,
    testing::{
        Applied, DEADLINE, SETTLE_TIME, STEADY, Watched, WithoutAgents, delete_events, events, group_object, installed,
        nodes_with, object, service_object, wait_for_condition, wait_for_event, wait_for_event_among,
    },
};
use serde_json::json;

use crate::failover::local_service::{LocalService, SOON};

/// The subnets of the nodes.
const SUBNETS: [&str; 2] = ["192.168.50.0/24", "fd00:50::/64"];

/// A node's own addresses.
fn own(node: &Node) -> [IpAddr; 2] {
    Family::ALL.map(|family| node.id().address(family))
}

/// A local group with these ranges.
fn local_group(name: &str, [v4, v6]: [&str; 2]) -> String {
    group_object(name, "local", &[(v4, SUBNETS[0]), (v6, SUBNETS[1])]).to_string()
}

/// A dual-stack Service with these annotations.
fn service(name: &str, annotations: &[(&str, &str)]) -> String {
    service_object(name, annotations, &json!({"ipFamilyPolicy": "RequireDualStack"})).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_01_a_pool_with_a_nodes_address() {
    let cluster = installed().await;
    for name in ["own-one", "own-pin", "own-free"] {
        delete_events(&cluster, "default", name);
    }
    let node = cluster.node(2);
    let watched = Watched::new(&cluster, own(&node));
    watched.answered_by(|macs| macs == [node.mac(); 2]).await;
    let from = Instant::now();
    let group = Applied::yaml(&cluster, &local_group("own", ["192.168.50.12/32", "fd00:50::12/128"]));
    let _service = Applied::yaml(&cluster, &service("own-one", &[("service-group", "own")]));
    let _pinned = Applied::yaml(&cluster, &service("own-pin", &[("addresses", "192.168.50.12,fd00:50::12")]));
    wait_for_event(&cluster, "default", "own-one", "AllocationFailed", "own").await;
    wait_for_event(&cluster, "default", "own-pin", "AllocationFailed", &node.name()).await;
    for address in watched.addresses {
        let named = ["servicegroup", "own", "--namespace", NAMESPACE];
        wait_for_condition(&cluster, &named, "ReservedAddresses", &address.to_string()).await;
        wait_for_condition(&cluster, &named, "ReservedAddresses", &node.name()).await;
    }

    // A pool with addresses of all nodes and one that is free.
    drop(group);
    let _more = Applied::yaml(
        &cluster,
        &local_group("own-and-free", ["192.168.50.11-192.168.50.14", "fd00:50::11-fd00:50::14"]),
    );
    let _free = Applied::yaml(&cluster, &service("own-free", &[("service-group", "own-and-free")]));
    let addresses = cluster.service_addresses("default", "own-free", 2).await.unwrap();
    assert_eq!(addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.168.50.14", "fd00:50::14"]);
    tokio::time::sleep(SETTLE_TIME).await;
    watched.assert_only(node.mac(), from);
    for address in own(&node) {
        assert_eq!(nodes_with(&cluster, address), [node.name()].into());
    }
}

/// Waits until exactly these hosts have answered within a short time.
async fn answering(watched: &Watched<2>, macs: &[Mac]) {
    eventually(DEADLINE, format!("answers by {macs:?}"), async || {
        let found = watched.monitors.each_ref().map(|monitor| monitor.answering(STEADY));
        if found.iter().all(|found| found.iter().eq(macs)) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
    .unwrap();
}

/// Waits until an agent's Lease says that its node has the address. A change is written twice a minute at most.
async fn published_as_own(cluster: &Cluster, node: &Node, address: IpAddr) {
    let lease = format!("purelb-node-{}", node.name());
    eventually(Duration::from_secs(60), format!("{address} in Lease {lease}"), async || {
        let lease = object(cluster, &["lease", &lease, "--namespace", NAMESPACE]);
        let own = lease["metadata"]["annotations"]["purelb.io/own-addresses"].as_str().unwrap_or_default();
        if own.split(',').any(|word| word == address.to_string()) { Ok(()) } else { Err(own.to_owned()) }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn case_03_a_nodes_kernel_has_the_address_from_another_program() {
    let cluster = installed().await;
    for name in ["kernel-has", "kernel-pin", "kernel-free"] {
        delete_events(&cluster, "default", name);
    }
    let (two, three) = (cluster.node(2), cluster.node(3));
    let _group =
        Applied::yaml(&cluster, &local_group("kernel", ["192.168.50.235-192.168.50.236", "fd00:50::235-fd00:50::236"]));
    let pin = "192.168.50.235,fd00:50::235";
    let addresses: [IpAddr; 2] = ["192.168.50.235".parse().unwrap(), "fd00:50::235".parse().unwrap()];
    let watched = Watched::new(&cluster, addresses);

    // The Service has its addresses before a program on node2 takes them, and no agent has announced them.
    let stopped = WithoutAgents::new(&cluster).await;
    let service_with_addresses = Applied::yaml(&cluster, &service("kernel-has", &[("addresses", pin)]));
    cluster.service_addresses("default", "kernel-has", 2).await.unwrap();
    let on_two = addresses.map(|address| cluster.foreign_program(&two, address).unwrap());
    watched.answered_by(|macs| macs == [two.mac(); 2]).await;
    let from = Instant::now();
    drop(stopped);
    cluster.installation_ready().unwrap();
    let reasons = ["AddressConflict", "ReservedAddress", "NotAnnounced"];
    wait_for_event_among(&cluster, "default", "kernel-has", &reasons, &two.name()).await;
    tokio::time::sleep(SETTLE_TIME).await;
    watched.assert_only(two.mac(), from);

    // The program moves them to node3, without a gap.
    let on_three = addresses.map(|address| cluster.foreign_program(&three, address).unwrap());
    answering(&watched, &[two.mac(), three.mac()]).await;
    on_two.into_iter().try_for_each(ForeignHost::leave).unwrap();
    answering(&watched, &[three.mac()]).await;
    let moved = Instant::now();
    wait_for_event_among(&cluster, "default", "kernel-has", &reasons, &three.name()).await;
    tokio::time::sleep(SETTLE_TIME).await;
    watched.assert_only(three.mac(), moved);

    // Another Service is given what is free, and is refused what is not.
    for address in addresses {
        published_as_own(&cluster, &three, address).await;
    }
    let _free = Applied::yaml(&cluster, &service("kernel-free", &[("service-group", "kernel")]));
    let free = cluster.service_addresses("default", "kernel-free", 2).await.unwrap();
    assert!(free.iter().all(|address| !addresses.contains(address)), "{free:?}");
    drop(service_with_addresses);
    let _pinned = Applied::yaml(&cluster, &service("kernel-pin", &[("addresses", pin)]));
    wait_for_event(&cluster, "default", "kernel-pin", "AllocationFailed", &three.name()).await;
    watched.assert_only(three.mac(), moved);

    let strict: Vec<_> = events(&cluster, "default", "kernel-has").unwrap();
    assert!(strict.iter().all(|(reason, _)| reason != "StrictARPNeeded"), "{strict:?}");

    // Nobody else has them: now they are given and announced.
    on_three.into_iter().try_for_each(ForeignHost::leave).unwrap();
    eventually(Duration::from_secs(60), "an allocation after the program gave the addresses up", async || {
        let service = object(&cluster, &["service", "kernel-pin"]);
        let ingress = service["status"]["loadBalancer"]["ingress"].as_array().map_or(0, Vec::len);
        if ingress == 2 { Ok(()) } else { Err(service["status"].to_string()) }
    })
    .await
    .unwrap();
    let nodes: Vec<Mac> = cluster.nodes().map(|node| node.mac()).collect();
    watched.answered_by(|macs| macs.iter().all(|mac| nodes.contains(mac))).await;
}

/// Lets a Node's status list these addresses, as a cloud provider or a kubelet does. The kubelet corrects it within
/// seconds, so it is done again and again.
async fn listed_in_status(cluster: &Cluster, node: &Node, addresses: [IpAddr; 2], during: Duration) {
    let add = |address: IpAddr| json!({"op": "add", "path": "/status/addresses/-", "value": {"type": "InternalIP", "address": address}});
    let patch = json!(addresses.map(add)).to_string();
    let end = Instant::now() + during;
    while Instant::now() < end {
        let all = "jsonpath={.status.addresses[*].address}";
        let found = cluster.kubectl(&["get", "node", &node.name(), "-o", all]).unwrap();
        let there = |address: &IpAddr| found.split_whitespace().any(|word| word == address.to_string());
        if !addresses.iter().any(there) {
            let arguments = ["patch", "node", &node.name(), "--subresource=status", "--type=json", "--patch", &patch];
            cluster.kubectl(&arguments).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_04_a_nodes_status_lists_what_we_announce_there() {
    let cluster = installed().await;
    for node in cluster.nodes() {
        delete_events(&cluster, "default", &node.name());
    }
    let local = LocalService::new(&cluster, "in-node-status").await;
    let owner = local.owner();
    let from = Instant::now();
    listed_in_status(&cluster, &owner, local.addresses, Duration::from_secs(12)).await;
    local.assert_only(owner.mac(), from);
    wait_for_event_among(&cluster, "default", &owner.name(), &["NodeAddress"], &local.addresses[0].to_string()).await;
    // It is an address like any other still: when its node goes, another takes over.
    let from = local.answers().await;
    owner.isolate().unwrap();
    local.answered_by(|macs| !macs.contains(&owner.mac())).await;
    local.assert_moved_once(from, SOON);
    owner.rejoin().unwrap();
}
