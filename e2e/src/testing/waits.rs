//! Conditions that many tests wait for.

use std::{borrow::Borrow, collections::BTreeSet, net::IpAddr, time::Duration};

use api_types::Family;
use serde_json::Value;

use crate::{
    base::wait::eventually,
    cluster::{handle::Cluster, installation::NAMESPACE},
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
        if hops == wanted { Ok(()) } else { Err(format!("{hops:?}")) }
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

/// The names of the nodes that have an address on their own interface.
pub fn nodes_with(cluster: &Cluster, address: IpAddr) -> BTreeSet<String> {
    let holds = |node: &Node| node.addresses("eth0").unwrap().iter().any(|found| found.address == address);
    cluster.nodes().filter(holds).map(|node| node.name()).collect()
}

/// Waits for an event about an object whose text contains these words.
pub async fn wait_for_event(cluster: &Cluster, namespace: &str, object: &str, reason: &str, words: &str) {
    let selector = format!("involvedObject.name={object},reason={reason}");
    let arguments = ["get", "events", "--namespace", namespace, "--field-selector", &selector, "-o"];
    eventually(DEADLINE, format!("an event {reason} about {object} with {words:?}"), async || {
        let path = "jsonpath={range .items[*]}{.message}{\"\\n\"}{end}";
        let messages = cluster.kubectl(&[&arguments[..], &[path]].concat()).map_err(|error| error.to_string())?;
        if messages.contains(words) { Ok(()) } else { Err(messages) }
    })
    .await
    .unwrap();
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
