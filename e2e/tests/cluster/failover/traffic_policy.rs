//! `externalTrafficPolicy: Local`: a local address is where the endpoints are.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use e2e::{
    Node,
    testing::{Applied, DEADLINE, SETTLE_TIME, installed},
};

use crate::failover::local_service::LocalService;

/// The endpoints of a Service: ready ones on some nodes, and on others such as end and still serve.
fn slice(service: &str, ready: &[&Node], ending: &[&Node]) -> String {
    let mut yaml = format!(
        r"
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {service}, namespace: default, labels: {{kubernetes.io/service-name: {service}}}}}
addressType: IPv4
ports: [{{port: 80}}]
endpoints:
"
    );
    for (nodes, ready) in [(ready, true), (ending, false)] {
        for node in nodes {
            let (name, address) = (node.name(), node.id().ipv4());
            let ending = !ready;
            writeln!(yaml, "- {{addresses: [{address}], nodeName: {name}, conditions: {{ready: {ready}, serving: true, terminating: {ending}}}}}").unwrap();
        }
    }
    yaml
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_address_follows_the_endpoints_and_stays_when_there_are_none() {
    let cluster = installed().await;
    let name = "follows";
    let local = LocalService::with_policy(&cluster, name, "Local").await;
    // Not the ones that would have it anyway.
    let order = cluster.order(local.addresses[0]);
    let [_, second, third] = order.as_slice() else { panic!("three nodes") };
    let endpoints = Applied::yaml(&cluster, &slice(name, &[third], &[]));
    local.answered_by(|macs| macs == [third.mac(); 2]).await;

    // Its last endpoint ends, and no other is ready: it still serves.
    let from = Instant::now();
    cluster.apply(&slice(name, &[], &[third])).unwrap();
    tokio::time::sleep(SETTLE_TIME).await;
    local.assert_undisturbed(from);

    let from = local.answers().await;
    cluster.apply(&slice(name, &[second], &[third])).unwrap();
    local.answered_by(|macs| macs == [second.mac(); 2]).await;
    local.assert_moved_once(from, Duration::from_millis(500));

    // Agents that start anew do not give away what they do not know the endpoints of yet.
    let from = Instant::now();
    for node in cluster.nodes() {
        node.crash_agent().unwrap();
    }
    cluster.agents_ready(DEADLINE).await.unwrap();
    cluster.apply("{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: follows, namespace: default, labels: {kubernetes.io/service-name: follows}}, addressType: IPv4, endpoints: []}").unwrap();
    tokio::time::sleep(SETTLE_TIME).await;
    local.assert_undisturbed(from);
    drop(endpoints);
}
