//! `externalTrafficPolicy: Local`: a local address is where the endpoints are.

use std::time::{Duration, Instant};

use e2e::{
    Family, Node,
    testing::{Applied, DEADLINE, SETTLE_TIME, installed},
};
use serde_json::json;

use crate::failover::local_service::LocalService;

/// The endpoints of a Service, in both families: ready ones on some nodes, and on others such as end and still serve.
fn slices(service: &str, ready: &[&Node], ending: &[&Node]) -> String {
    let nodes = ready.iter().map(|node| (node, true)).chain(ending.iter().map(|node| (node, false)));
    let slice = |family: Family| {
        let endpoints = nodes.clone().map(|(node, ready)| {
            let conditions = json!({"ready": ready, "serving": true, "terminating": !ready});
            json!({"addresses": [node.id().address(family)], "nodeName": node.name(), "conditions": conditions})
        });
        let name = format!("{service}-{}", family.to_string().to_lowercase());
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family.to_string(),
            "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": service}},
            "ports": [{"port": 80}], "endpoints": endpoints.collect::<Vec<_>>(),
        })
    };
    json!({"apiVersion": "v1", "kind": "List", "items": Family::ALL.map(slice)}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_address_follows_the_endpoints_and_stays_when_there_are_none() {
    let cluster = installed().await;
    let name = "follows";
    let local = LocalService::with_policy(&cluster, name, "Local").await;
    // Not the ones that would have it anyway.
    let order = cluster.order(local.addresses[0]);
    let [_, second, third] = order.as_slice() else { panic!("three nodes") };
    let endpoints = Applied::yaml(&cluster, &slices(name, &[third], &[]));
    local.answered_by(|macs| macs == [third.mac(); 2]).await;

    // Its last endpoint ends, and no other is ready: it still serves.
    let from = Instant::now();
    cluster.apply(&slices(name, &[], &[third])).unwrap();
    tokio::time::sleep(SETTLE_TIME).await;
    local.assert_undisturbed(from);

    // Connections live as long as their pod, also when another node has a ready one.
    let from = Instant::now();
    cluster.apply(&slices(name, &[second], &[third])).unwrap();
    tokio::time::sleep(SETTLE_TIME).await;
    local.assert_undisturbed(from);

    let from = local.answers().await;
    cluster.apply(&slices(name, &[second], &[])).unwrap();
    local.answered_by(|macs| macs == [second.mac(); 2]).await;
    local.assert_moved_once(from, Duration::from_millis(500));

    // Agents that start anew do not give away what they do not know the endpoints of yet.
    let from = Instant::now();
    for node in cluster.nodes() {
        node.crash_agent().unwrap();
    }
    cluster.agents_ready(DEADLINE).await.unwrap();
    cluster.apply(&slices(name, &[], &[])).unwrap();
    tokio::time::sleep(SETTLE_TIME).await;
    local.assert_undisturbed(from);
    drop(endpoints);
}
