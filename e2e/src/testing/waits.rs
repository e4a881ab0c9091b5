//! Conditions that many tests wait for.

use std::{borrow::Borrow, collections::BTreeSet, net::IpAddr, time::Duration};

use api_types::Family;
use serde_json::Value;

use crate::{
    base::{error::Result, wait::eventually},
    cluster::{handle::Cluster, installation::NAMESPACE},
    hosts::network_state::KernelRoute,
    nodes::node::Node,
    testing::objects::object,
};

/// Long enough for a machine that does other things too; a test that meets it has failed.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// What would come late has come within this time.
pub const SETTLE_TIME: Duration = Duration::from_secs(3);

/// Waits until the router's next hops for an address are exactly these nodes.
pub async fn wait_for_next_hops(
    cluster: &Cluster,
    address: IpAddr,
    nodes: impl IntoIterator<Item = impl Borrow<Node>>,
) {
    let wanted: BTreeSet<IpAddr> =
        nodes.into_iter().map(|node| node.borrow().id().address(Family::of(address))).collect();
    eventually(DEADLINE, format!("{wanted:?} as next hops of {address}"), async || {
        let route = cluster.router().route(address).map_err(|error| error.to_string())?;
        let hops = route.map(|route| route.next_hops).unwrap_or_default();
        // Its kernel learns them some time after BGP.
        let routes = cluster.router().kernel_routes(Family::of(address)).map_err(|error| error.to_string())?;
        let routes = routes.iter().filter(|route| route.destination == Some(address.into()));
        let installed = routes.flat_map(KernelRoute::gateways).count();
        if hops == wanted && installed == wanted.len() {
            Ok(())
        } else {
            Err(format!("{hops:?}, {installed} installed"))
        }
    })
    .await
    .unwrap();
}

/// Waits until `interface` of each of these nodes has `address` once, or no address of that kind at all.
pub async fn wait_for_address(nodes: &[Node], interface: &str, address: IpAddr, there: bool) {
    for node in nodes {
        let what = format!("{address} {} {interface} of {}", if there { "on" } else { "not on" }, node.name());
        eventually(DEADLINE, what, async || {
            let found = node.addresses(interface).map_err(|error| error.to_string())?;
            let count = found.iter().filter(|found| found.address == address).count();
            if count == usize::from(there) { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await
        .unwrap();
    }
}

/// Waits until exactly one node has an address on its own interface, and returns it.
pub async fn only_node_with(cluster: &Cluster, address: IpAddr) -> Node {
    eventually(DEADLINE, format!("one node with {address}"), async || {
        let holders = nodes_with(cluster, address);
        let holder = cluster.nodes().find(|node| holders.contains(&node.name()));
        holder.filter(|_| holders.len() == 1).ok_or(format!("{holders:?}"))
    })
    .await
    .unwrap()
}

/// The names of the nodes that have an address on their own interface.
pub fn nodes_with(cluster: &Cluster, address: IpAddr) -> BTreeSet<String> {
    let holds = |node: &Node| node.addresses("eth0").unwrap().iter().any(|found| found.address == address);
    cluster.nodes().filter(holds).map(|node| node.name()).collect()
}

/// Waits for an event about an object whose text contains these words.
pub async fn wait_for_event(cluster: &Cluster, namespace: &str, object: &str, reason: &str, words: &str) {
    wait_for_event_among(cluster, namespace, object, &[reason], words).await;
}

/// Waits for an event about an object with one of these reasons, whose text contains these words.
pub async fn wait_for_event_among(cluster: &Cluster, namespace: &str, object: &str, reasons: &[&str], words: &str) {
    eventually(DEADLINE, format!("an event {reasons:?} about {object} with {words:?}"), async || {
        let events = events(cluster, namespace, object).map_err(|error| error.to_string())?;
        let fits = |(reason, message): &(String, String)| reasons.contains(&reason.as_str()) && message.contains(words);
        if events.iter().any(fits) { Ok(()) } else { Err(format!("{events:?}")) }
    })
    .await
    .unwrap();
}

/// Reason and message of each event about the objects of this name.
///
/// # Errors
/// The API server does not answer.
pub fn events(cluster: &Cluster, namespace: &str, object: &str) -> Result<Vec<(String, String)>> {
    let selector = format!("involvedObject.name={object}");
    let path = "jsonpath={range .items[*]}{.reason}{\"\\t\"}{.message}{\"\\n\"}{end}";
    let arguments = ["get", "events", "--namespace", namespace, "--field-selector", &selector, "-o", path];
    let lines = cluster.kubectl(&arguments)?;
    Ok(lines.lines().filter_map(|line| line.split_once('\t')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect())
}

/// Waits until an object, as `kubectl get` names it, has a true condition of this type whose message contains these
/// words.
pub async fn wait_for_condition(cluster: &Cluster, named: &[&str], kind: &str, words: &str) {
    eventually(DEADLINE, format!("{named:?} with {kind} that says {words:?}"), async || {
        let found = true_condition(cluster, named, kind);
        if found.as_ref().is_some_and(|message| message.contains(words)) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
    .unwrap();
}

/// Waits until an object has no true condition of this type.
pub async fn wait_for_no_condition(cluster: &Cluster, named: &[&str], kind: &str) {
    eventually(DEADLINE, format!("{named:?} without {kind}"), async || {
        true_condition(cluster, named, kind).map_or(Ok(()), Err)
    })
    .await
    .unwrap();
}

/// The message of an object's condition of this type, if that is true.
fn true_condition(cluster: &Cluster, named: &[&str], kind: &str) -> Option<String> {
    let object = object(cluster, named);
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array)?;
    let found = conditions.iter().find(|condition| condition["type"] == kind && condition["status"] == "True")?;
    Some(found["message"].as_str().unwrap_or_default().to_owned())
}

/// Waits until the condition `Ready` of a ServiceGroup has this status, and returns (reason, message).
pub async fn wait_for_group_ready(cluster: &Cluster, name: &str, status: &str) -> (String, String) {
    eventually(DEADLINE, format!("ServiceGroup {name} with Ready={status}"), async || {
        let group = object(cluster, &["servicegroup", name, "--namespace", NAMESPACE]);
        let conditions = group.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready" && condition["status"] == status);
        let text = |field: &str| ready.and_then(|ready| ready[field].as_str()).unwrap_or_default().to_owned();
        if ready.is_some() { Ok((text("reason"), text("message"))) } else { Err(group["status"].to_string()) }
    })
    .await
    .unwrap()
}
