//! Endpoints that are odd, and Services that share an address, under the traffic policy `Local`.

use std::{iter, net::IpAddr};

use e2e::{
    Cluster, Family, Node, eventually,
    testing::{
        Applied, DEADLINE, ROUTED_GROUPS, Watched, delete_events, endpoint_slice, events, group_object, installed,
        service_object, wait_for_event_among, wait_for_next_hops,
    },
};
use ipnetwork::IpNetwork;
use serde_json::{Value, json};

use crate::failover::local_service::pair;

const LOCAL: &str = "Local";

/// A dual-stack Service with this traffic policy.
fn dual_stack(policy: &str) -> Value {
    json!({"ipFamilyPolicy": "RequireDualStack", "externalTrafficPolicy": policy})
}

/// Applies a Service of this name, and returns its addresses, IPv4 first.
async fn with_addresses<'a>(
    cluster: &'a Cluster,
    name: &str,
    annotations: &[(&str, &str)],
    spec: &Value,
) -> (Applied<'a>, Vec<IpAddr>) {
    let applied = Applied::yaml(cluster, &service_object(name, annotations, spec).to_string());
    let count = if spec["ipFamilyPolicy"] == "RequireDualStack" { 2 } else { 1 };
    let mut addresses = cluster.service_addresses("default", name, count).await.unwrap();
    addresses.sort();
    (applied, addresses)
}

/// Endpoints of a Service, IPv4 on one node and IPv6 on another.
fn apart<'a>(cluster: &'a Cluster, service: &str, nodes: [&Node; 2]) -> Vec<Applied<'a>> {
    let each = Family::ALL.into_iter().zip(nodes);
    each.map(|(family, node)| Applied::yaml(cluster, &endpoint_slice(service, family, &[Some(node)]).to_string()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_54_each_family_goes_by_its_own_endpoints() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let _groups = Applied::kustomization(&cluster, "manifests/samples/local");
    for (name, last, policy) in [("apart", 221, LOCAL), ("apart-affine", 222, "Cluster")] {
        let [v4, v6] = pair(&cluster, last);
        // If the families were mixed up, both addresses would be on the first of these.
        let order = cluster.order(v4);
        let [_, one, two] = order.as_slice() else { panic!("three nodes") };
        let _endpoints = apart(&cluster, name, [one, two]);
        let pins = format!("{v4},{v6}");
        let annotations = [("addresses", &*pins), ("node-affinity", "service-endpoints")];
        let _service = with_addresses(&cluster, name, &annotations, &dual_stack(policy)).await;
        Watched::new(&cluster, [v4, v6]).answered_by(|macs| macs == [one.mac(), two.mac()]).await;
    }

    let nodes: Vec<Node> = cluster.nodes().collect();
    let [one, two, _] = nodes.as_slice() else { panic!("three nodes") };
    let _endpoints = apart(&cluster, "apart-routed", [one, two]);
    let groups = [("service-group", ROUTED_GROUPS)];
    let (_routed, routed) = with_addresses(&cluster, "apart-routed", &groups, &dual_stack(LOCAL)).await;
    wait_for_next_hops(&cluster, routed[0], [one]).await;
    wait_for_next_hops(&cluster, routed[1], [two]).await;
    // One family loses its endpoints: the other goes on as before.
    cluster.apply(&endpoint_slice("apart-routed", Family::V6, &[]).to_string()).unwrap();
    wait_for_next_hops(&cluster, routed[1], iter::empty::<Node>()).await;
    wait_for_next_hops(&cluster, routed[0], [one]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_17_endpoints_that_name_no_node() {
    let cluster = installed().await;
    delete_events(&cluster, "default", "nameless");
    let _groups = Applied::kustomization(&cluster, "manifests/samples/local");
    let nodes: Vec<_> = cluster.nodes().map(|node| node.mac()).collect();
    let slices = ["nameless", "nameless-cluster"]
        .map(|service| Applied::yaml(&cluster, &endpoint_slice(service, Family::V4, &[None, None]).to_string()));
    let (_anywhere, anywhere) = with_addresses(&cluster, "nameless-cluster", &[], &json!({})).await;
    Watched::new(&cluster, [anywhere[0]]).answered_by(|[mac]| nodes.contains(&mac)).await;
    let policy = json!({"externalTrafficPolicy": LOCAL});
    let (_local, local) = with_addresses(&cluster, "nameless", &[], &policy).await;
    Watched::new(&cluster, [local[0]]).answered_by(|[mac]| nodes.contains(&mac)).await;
    let reasons = ["ConfigurationWarning", "NoEligibleNodes", "NotAnnounced"];
    wait_for_event_among(&cluster, "default", "nameless", &reasons, "node").await;
    drop(slices);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_11_who_serves_most_of_the_sharers_answers_when_the_owner_dies() {
    let cluster = installed().await;
    for name in ["sharer-one", "sharer-two", "sharer-three"] {
        delete_events(&cluster, "default", name);
    }
    let _groups = Applied::kustomization(&cluster, "manifests/samples/local");
    let nodes: Vec<Node> = cluster.nodes().collect();
    let [all, most, one] = nodes.as_slice() else { panic!("three nodes") };
    // node1 serves all three, node2 the first two, node3 the last.
    let places = [
        ("sharer-one", 80, vec![Some(all), Some(most)]),
        ("sharer-two", 81, vec![Some(all), Some(most)]),
        ("sharer-three", 82, vec![Some(all), Some(one)]),
    ];
    let key = [("allow-shared-ip", "field")];
    let (mut applied, mut shared) = (Vec::new(), Vec::new());
    for (name, port, nodes) in places {
        applied.push(Applied::yaml(&cluster, &endpoint_slice(name, Family::V4, &nodes).to_string()));
        let spec = json!({"externalTrafficPolicy": LOCAL, "ports": [{"name": "http", "port": port}]});
        let (service, addresses) = with_addresses(&cluster, name, &key, &spec).await;
        applied.push(service);
        shared.extend(addresses);
    }
    assert_eq!(shared, [shared[0]; 3]);
    let watched = Watched::new(&cluster, [shared[0]]);
    watched.answered_by(|[mac]| mac == all.mac()).await;
    all.isolate().unwrap();
    watched.answered_by(|[mac]| mac == most.mac()).await;
    wait_for_event_among(
        &cluster,
        "default",
        "sharer-three",
        &["NoEligibleNodes", "NotAnnounced"],
        &shared[0].to_string(),
    )
    .await;
    all.rejoin().unwrap();
    watched.answered_by(|[mac]| mac == all.mac()).await;
}

/// A group of routed addresses that the router learns as one prefix.
const AGGREGATE: &str = "172.30.200.32/28";

#[tokio::test(flavor = "multi_thread")]
async fn case_83_each_address_under_the_policy_local_has_its_host_route_beside_the_aggregate() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let mut group = group_object("aggregated", "remote", &[(AGGREGATE, "172.30.200.0/24")]);
    group["spec"]["remote"]["v4pools"][0]["aggregation"] = json!("/28");
    let _group = Applied::yaml(&cluster, &group.to_string());
    let nodes: Vec<Node> = cluster.nodes().collect();
    let [one, two, third] = nodes.as_slice() else { panic!("three nodes") };
    let policy = json!({"externalTrafficPolicy": LOCAL});
    let annotations = [("service-group", "aggregated")];
    let mut applied = Vec::new();
    let mut given = Vec::new();
    for (name, node) in [("aggregated-one", one), ("aggregated-two", two)] {
        applied.push(Applied::yaml(&cluster, &endpoint_slice(name, Family::V4, &[Some(node)]).to_string()));
        let (service, addresses) = with_addresses(&cluster, name, &annotations, &policy).await;
        applied.push(service);
        given.extend(addresses);
    }
    wait_for_next_hops(&cluster, given[0], [one]).await;
    wait_for_next_hops(&cluster, given[1], [two]).await;
    let aggregate: IpNetwork = AGGREGATE.parse().unwrap();
    let hops = cluster.router().route(aggregate).unwrap().map(|route| route.next_hops).unwrap_or_default();
    assert_eq!(hops, [one, two].map(|node| node.id().address(Family::V4)).into());

    // It goes where the endpoint goes.
    cluster.apply(&endpoint_slice("aggregated-one", Family::V4, &[Some(third)]).to_string()).unwrap();
    wait_for_next_hops(&cluster, given[0], [third]).await;
    wait_for_next_hops(&cluster, given[1], [two]).await;
}

/// The endpoints of one port of a Service.
fn of_port(service: &str, port: &str, nodes: &[&Node]) -> String {
    let nodes: Vec<Option<&Node>> = nodes.iter().copied().map(Some).collect();
    let mut slice = endpoint_slice(service, Family::V4, &nodes);
    slice["metadata"]["name"] = json!(format!("{service}-{port}"));
    slice["ports"][0]["name"] = json!(port);
    slice.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_94_nodes_that_serve_all_ports_are_preferred_and_a_dark_port_is_told() {
    let cluster = installed().await;
    let name = "two-ports";
    delete_events(&cluster, "default", name);
    let _groups = Applied::kustomization(&cluster, "manifests/samples/local");
    let [address, _] = pair(&cluster, 223);
    // The first candidate lacks a port.
    let order = cluster.order(address);
    let [first, second, third] = order.as_slice() else { panic!("three nodes") };
    let _http = Applied::yaml(&cluster, &of_port(name, "http", &[first, second]));
    let _https = Applied::yaml(&cluster, &of_port(name, "https", &[second]));
    let pin = address.to_string();
    let ports = json!([{"name": "http", "port": 80}, {"name": "https", "port": 443}]);
    let spec = json!({"externalTrafficPolicy": LOCAL, "ports": ports});
    let _service = with_addresses(&cluster, name, &[("addresses", &*pin)], &spec).await;
    let watched = Watched::new(&cluster, [address]);
    watched.answered_by(|[mac]| mac == second.mac()).await;

    // No node serves both any more.
    cluster.apply(&of_port(name, "https", &[third])).unwrap();
    watched.answered_by(|[mac]| order.iter().any(|node| node.mac() == mac)).await;
    eventually(DEADLINE, "an event that names the dark port", async || {
        let events = events(&cluster, "default", name).map_err(|error| error.to_string())?;
        let tells = |(_, message): &(String, String)| message.contains("https") && message.contains("node");
        if events.iter().any(tells) { Ok(()) } else { Err(format!("{events:?}")) }
    })
    .await
    .unwrap();
}
