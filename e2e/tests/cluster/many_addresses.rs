//! Many local addresses on one node.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use e2e::{
    BulkServices, Cluster, Node, eventually,
    testing::{Applied, Undo, installed},
};
use serde_json::json;

/// How many.
const COUNT: usize = 1000;

/// For all of them, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(60);

/// A subnet that only one node is part of.
const GROUP: &str = "
apiVersion: purelb.io/v2
kind: ServiceGroup
metadata: {name: many, namespace: purelb}
spec: {local: {v4pools: [{pool: 10.77.1.0-10.77.8.255, subnet: 10.77.0.0/16}]}}
";

/// An address that makes a node part of the subnet, until this is dropped.
fn joined(node: &Node) -> Undo<'_> {
    const ADDRESS: &str = "10.77.0.11/16";
    node.exec(&["ip", "address", "replace", ADDRESS, "dev", "eth0"]).unwrap();
    Undo::new(|| node.exec(&["ip", "address", "del", ADDRESS, "dev", "eth0"]).map(drop))
}

/// Deletes the Services when it is dropped, if the test did not get that far.
fn cleanup(cluster: &Cluster) -> Undo<'_> {
    let arguments = ["delete", "services", "--namespace", "default", "--selector", "e2e=many", "--wait=false"];
    Undo::new(move || cluster.kubectl(&arguments).map(drop))
}

/// A Service that kube-proxy leaves alone: rules for a thousand of them would take the machine for a while.
fn service(number: usize) -> Vec<u8> {
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": format!("many-{number:04}"),
            "annotations": {"purelb.io/service-group": "many"},
            "labels": {"e2e": "many", "service.kubernetes.io/service-proxy-name": "none"},
        },
        "spec": {
            "type": "LoadBalancer",
            "allocateLoadBalancerNodePorts": false,
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"port": 80}],
        },
    });
    serde_json::to_vec(&service).unwrap()
}

/// Waits until the node has this many addresses of the subnet besides its own, and returns them.
async fn held(node: &Node, count: usize) -> Vec<IpAddr> {
    let pool = Ipv4Addr::new(10, 77, 1, 0)..=Ipv4Addr::new(10, 77, 8, 255);
    eventually(PATIENCE, format!("{count} local addresses on {}", node.name()), async || {
        let found = node.addresses("eth0").map_err(|error| error.to_string())?;
        let ours: Vec<IpAddr> = found
            .iter()
            .map(|found| found.address)
            .filter(|address| matches!(address, IpAddr::V4(address) if pool.contains(address)))
            .collect();
        if ours.len() == count { Ok(ours) } else { Err(format!("{} addresses", ours.len())) }
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_answers_for_a_thousand_local_addresses_and_for_none_when_they_are_gone() {
    let cluster = installed().await;
    let node = cluster.node(1);
    let _joined = joined(&node);
    let _group = Applied::yaml(&cluster, GROUP);
    let services = BulkServices::new(cluster.kube().await.unwrap(), "default");

    let _cleanup = cleanup(&cluster);
    let begin = Instant::now();
    services.create_all((0..COUNT).map(service), drop).await.unwrap();
    let created = begin.elapsed();
    let addresses = held(&node, COUNT).await;
    let there = begin.elapsed();
    let answers = cluster.client().arp_all(&addresses).unwrap();
    assert_eq!(answers.len(), COUNT);
    assert!(answers.values().all(|mac| *mac == node.mac()), "{answers:?}");
    println!(
        "{COUNT} Services created after {created:?}, all addresses on the node after {there:?}, all answered after {:?}",
        begin.elapsed()
    );
    for other in cluster.nodes().filter(|other| other.id() != node.id()) {
        held(&other, 0).await;
    }

    let begin = Instant::now();
    services.delete_all((0..COUNT).map(|number| format!("many-{number:04}"))).await.unwrap();
    let deleted = begin.elapsed();
    held(&node, 0).await;
    println!("{COUNT} Services deleted after {deleted:?}, no address on the node after {:?}", begin.elapsed());
    // One chunk of questions, each with its patience.
    assert!(cluster.client().arp_all(&addresses[..50]).unwrap().is_empty());
}
