//! Restarts of the programs: no address moves, no packet is lost.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use e2e::{
    NAMESPACE, Node, eventually,
    testing::{
        Applied, BareService, DEADLINE, EchoNamespace, ROUTED_GROUPS, SETTLE_TIME, WithoutAgents, change_leader,
        installed, node_agent_yaml, object, wait_for_address, wait_for_next_hops,
    },
};
use serde_json::Value;

/// The time between two connections of a client.
const EACH: Duration = Duration::from_millis(1);

/// A Service with routed addresses, and its addresses.
async fn routed(space: &EchoNamespace<'_>, name: &str) -> Vec<IpAddr> {
    let groups = ("purelb.io/service-group", ROUTED_GROUPS);
    space.service(name, &[groups], &[("ipFamilyPolicy", "RequireDualStack")]);
    space.addresses(name, 2).await
}

fn version(space: &EchoNamespace<'_>, name: &str) -> Value {
    object(space.cluster, &["service", name, "--namespace", space.name])["metadata"]["resourceVersion"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_allocator_changes_nothing_and_goes_on() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let space = EchoNamespace::new(&cluster, "allocator-restart");
    let before = routed(&space, "before").await;
    let untouched = version(&space, "before");

    let pods = [
        "delete",
        "pods",
        "--namespace",
        NAMESPACE,
        "--selector",
        "component=allocator",
        "--grace-period=0",
        "--force",
    ];
    cluster.kubectl(&pods).unwrap();
    cluster.installation_ready().unwrap();
    let after = routed(&space, "after").await;
    assert!(after.iter().all(|address| !before.contains(address)), "{before:?} {after:?}");
    assert_eq!(space.addresses("before", 2).await, before);
    assert_eq!(version(&space, "before"), untouched, "the restarted allocator wrote to a Service that was all right");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_leader_dies_the_other_replica_allocates() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let space = EchoNamespace::new(&cluster, "leader-death");
    routed(&space, "before").await;
    change_leader(&cluster).await;
    routed(&space, "after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_update_and_a_crash_of_all_agents_lose_no_packet_and_withdraw_no_route() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let _local = Applied::kustomization(&cluster, "manifests/samples/local");
    let space = EchoNamespace::new(&cluster, "agent-restart");
    let remote = routed(&space, "routed").await;
    space.service("local", &[], &[("ipFamilyPolicy", "RequireDualStack")]);
    let local = space.addresses("local", 2).await;
    for address in remote.iter().chain(&local) {
        space.answers(*address).await;
    }
    for address in &remote {
        wait_for_next_hops(&cluster, *address, cluster.nodes()).await;
    }

    let at_router = cluster.router().log_routes().unwrap();
    let begin = Instant::now();
    let monitors: Vec<_> = local.iter().map(|address| cluster.client().monitor(*address).unwrap()).collect();
    // The local ones are asked for by ARP that often already.
    let connect = |address: &IpAddr, each| cluster.client().connect_every(each, SocketAddr::new(*address, 80));
    let mut connectors: Vec<_> = remote.iter().map(|address| connect(address, EACH)).collect();
    connectors.extend(local.iter().map(|address| connect(address, EACH * 10)));
    cluster.kubectl(&["rollout", "restart", "--namespace", NAMESPACE, "daemonset/lbnodeagent"]).unwrap();
    cluster.installation_ready().unwrap();
    println!("the rolling update took {:?}", begin.elapsed());
    // The pods are new, so the kubelet restarts them without a back-off.
    for node in cluster.nodes() {
        node.crash_agent().unwrap();
    }
    cluster.agents_ready(DEADLINE).await.unwrap();
    println!("all agents ran again {:?} after the beginning", begin.elapsed());
    // What a new agent has to sweep or to ask it does soon after it is ready.
    tokio::time::sleep(SETTLE_TIME).await;

    for (address, connector) in remote.iter().chain(&local).zip(connectors) {
        let connections = connector.stop().unwrap();
        println!("{address}: {} connections, {} failed", connections.count(), connections.failures().len());
        assert!(connections.failures().is_empty(), "connections to {address} failed");
    }
    for (address, monitor) in local.iter().zip(monitors) {
        let observed = monitor.stop().unwrap();
        let silence = observed.longest_silence();
        println!("{address}: {} requests, the longest time without an answer {silence:?}", observed.requests.len());
        assert_eq!(observed.macs().len(), 1, "{address} moved: {:?}", observed.macs());
        assert!(silence < Duration::from_millis(100), "{address}: no answer for {silence:?}");
    }
    let changes = at_router.about(&remote);
    assert!(changes.is_empty(), "the router's routes changed: {changes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_or_changed_while_no_agent_ran_is_swept_at_the_next_start() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let _local = Applied::kustomization(&cluster, "manifests/samples/local");
    let _group = Applied::yaml(&cluster, &group(["/32", "/128"]));
    let nodes: Vec<Node> = cluster.nodes().collect();
    let kept = BareService::new(&cluster, "kept", ROUTED_GROUPS).await;
    let regrouped = BareService::new(&cluster, "regrouped", GROUP).await;
    let gone = [
        BareService::new(&cluster, "gone", ROUTED_GROUPS).await,
        BareService::new(&cluster, "gone-local", "default").await,
    ];
    for address in kept.addresses.iter().chain(&gone[0].addresses) {
        wait_for_next_hops(&cluster, *address, &nodes).await;
    }
    eventually(DEADLINE, "the local address somewhere", async || {
        cluster.client().arp(gone[1].addresses[0]).unwrap().ok_or("nobody answers")
    })
    .await
    .unwrap();

    let stopped = WithoutAgents::new(&cluster).await;
    let went: Vec<IpAddr> = gone.iter().flat_map(|service| service.addresses.clone()).collect();
    drop(gone);
    cluster.apply(&group(["/28", "/120"])).unwrap();
    let lifetime = "addressConfig: {dummyInterface: {validLifetime: 120, preferredLifetime: 120}}";
    let _config = Applied::yaml(&cluster, &node_agent_yaml(None, lifetime));
    // Nobody runs who could have withdrawn them.
    for address in kept.addresses.iter().chain(&went[..2]) {
        wait_for_next_hops(&cluster, *address, &nodes).await;
    }
    let at_router = cluster.router().log_routes().unwrap();
    drop(stopped);
    cluster.installation_ready().unwrap();
    for address in &went {
        for interface in ["kube-lb0", "eth0"] {
            wait_for_address(&nodes, interface, *address, false).await;
        }
    }
    for node in &nodes {
        eventually(DEADLINE, format!("the new configuration on {}", node.name()), async || {
            let found = node.addresses("kube-lb0").map_err(|error| error.to_string())?;
            let limited = |address: &IpAddr| {
                found.iter().any(|f| f.address == *address && f.valid_for.is_some_and(|left| left.as_secs() <= 120))
            };
            let placed: Vec<_> = found.iter().filter(|found| regrouped.addresses.contains(&found.address)).collect();
            let wide = placed.len() == 2 && placed.iter().all(|found| [28, 120].contains(&found.prefix_length));
            if wide && kept.addresses.iter().all(limited) { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await
        .unwrap();
    }
    let changes = at_router.about(&kept.addresses);
    assert!(changes.is_empty(), "the router's routes changed: {changes:?}");
}

/// A group of remote addresses that Calico does not export.
const GROUP: &str = "regrouped";

/// It, with a prefix for all of its addresses.
fn group([v4, v6]: [&str; 2]) -> String {
    format!(
        "{{apiVersion: purelb.io/v2, kind: ServiceGroup, metadata: {{name: {GROUP}, namespace: {NAMESPACE}}}, spec: {{remote: {{\
         v4pools: [{{pool: 10.128.9.0/24, subnet: 10.128.9.0/24, aggregation: {v4}}}], \
         v6pools: [{{pool: \"fd00:128:9::/120\", subnet: \"fd00:128:9::/64\", aggregation: {v6}}}]}}}}}}"
    )
}
