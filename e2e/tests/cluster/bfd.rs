//! Routers that notice the death of a node by BFD, beside the BIRD of each node, which has none.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use e2e::{
    BfdSession, Cluster, Family, NAMESPACE, Signal, eventually,
    testing::{
        Applied, DEADLINE, EchoNamespace, ROUTED_GROUPS, SETTLE_TIME, installed, wait_for_event, wait_for_next_hops,
    },
};

/// What most routers have by default.
const INTERVAL: Duration = Duration::from_millis(300);

/// How often a connection is opened to each address.
const EACH: Duration = Duration::from_millis(20);

/// The addresses of all nodes, of both families.
fn node_addresses(cluster: &Cluster) -> Vec<IpAddr> {
    cluster.nodes().flat_map(|node| Family::ALL.map(|family| node.id().address(family))).collect()
}

/// Waits until the BFD sessions of these addresses are up, and returns them.
async fn all_up(cluster: &Cluster, nodes: &[IpAddr]) -> BTreeMap<IpAddr, BfdSession> {
    eventually(DEADLINE, format!("BFD with {nodes:?}"), async || {
        let sessions = cluster.router().bfd_sessions().map_err(|error| error.to_string())?;
        let up = |node| sessions.get(node).is_some_and(|session| session.status == "up");
        if nodes.iter().all(up) { Ok(sessions) } else { Err(format!("{sessions:?}")) }
    })
    .await
    .unwrap()
}

/// A dual-stack Service with routed addresses, which all nodes announce.
async fn routed(space: &EchoNamespace<'_>) -> Vec<IpAddr> {
    let groups = ("purelb.io/service-group", ROUTED_GROUPS);
    space.service("web", &[groups], &[("ipFamilyPolicy", "RequireDualStack")]);
    let addresses = space.addresses("web", 2).await;
    for address in &addresses {
        space.answers(*address).await;
        wait_for_next_hops(space.cluster, *address, space.cluster.nodes()).await;
    }
    addresses
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_speaks_bfd_notices_a_node_that_is_cut_off() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let space = EchoNamespace::new(&cluster, "bfd-cut");
    let addresses = routed(&space).await;
    let nodes = node_addresses(&cluster);
    let before = cluster.router().resets().unwrap();
    let _followed = cluster.router().follow_bfd(&nodes, INTERVAL, 3).unwrap();
    all_up(&cluster, &nodes).await;
    assert_eq!(cluster.router().resets().unwrap(), before, "BFD that comes up resets BGP");
    for node in cluster.nodes() {
        wait_for_event(&cluster, "default", &node.name(), "SessionUp", "would notice this node's death after 0.9 s")
            .await;
        let page = node.agent_page("/state").unwrap();
        assert_eq!(page.matches("\"wouldNoticeAfterSeconds\":0.9").count(), 2, "{page}");
        let page = node.agent_page("/metrics").unwrap();
        assert_eq!(
            page.lines().filter(|line| line.starts_with("purelb_bfd_peer_up") && line.ends_with(" 1")).count(),
            2
        );
    }

    let connect = |address: &IpAddr| cluster.client().connect_every(EACH, SocketAddr::new(*address, 80));
    let connectors: Vec<_> = addresses.iter().map(connect).collect();
    let victim = cluster.node(2);
    let cut = Instant::now();
    victim.isolate().unwrap();
    let others = || cluster.nodes().filter(|node| node.id() != victim.id());
    for address in &addresses {
        wait_for_next_hops(&cluster, *address, others()).await;
    }
    let noticed = cut.elapsed();
    tokio::time::sleep(SETTLE_TIME).await;
    for (address, connector) in addresses.iter().zip(connectors) {
        let connections = connector.stop().unwrap();
        let failures = connections.failures();
        let last = failures.iter().max().map(|last| last.duration_since(cut));
        println!(
            "{address}: {} of {} connections failed, the last after {last:?}",
            failures.len(),
            connections.count()
        );
        assert!(last.is_none_or(|last| last < Duration::from_millis(1300)), "{address}: {last:?}");
    }
    println!("the router's routes were gone after {noticed:?}");
    // Asking the router takes its time too.
    assert!(noticed < Duration::from_millis(1500), "{noticed:?}");

    victim.rejoin().unwrap();
    all_up(&cluster, &nodes).await;
    for address in &addresses {
        wait_for_next_hops(&cluster, *address, cluster.nodes()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_upgrades_nor_crashes_of_our_programs_reset_bgp() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let space = EchoNamespace::new(&cluster, "bfd-restart");
    let addresses = routed(&space).await;
    let nodes = node_addresses(&cluster);
    let _followed = cluster.router().follow_bfd(&nodes, INTERVAL, 3).unwrap();
    let sessions = all_up(&cluster, &nodes).await;
    let resets = cluster.router().resets().unwrap();
    let at_router = cluster.router().log_routes().unwrap();
    let unchanged = |what: &str| {
        assert_eq!(cluster.router().resets().unwrap(), resets, "{what}: BGP was reset");
        let changes = at_router.about(&addresses);
        assert!(changes.is_empty(), "{what}: the router's routes changed: {changes:?}");
        let now = cluster.router().bfd_sessions().unwrap();
        let identity = |all: &BTreeMap<IpAddr, BfdSession>| {
            all.iter().map(|(node, session)| (*node, session.remote_id)).collect::<Vec<_>>()
        };
        assert_eq!(identity(&now), identity(&sessions), "{what}: a session is another one");
    };
    let connect = |address: &IpAddr| cluster.client().connect_every(EACH, SocketAddr::new(*address, 80));
    let connectors: Vec<_> = addresses.iter().map(connect).collect();

    for workload in ["daemonset/bfd-speaker", "daemonset/lbnodeagent"] {
        cluster.kubectl(&["rollout", "restart", "--namespace", NAMESPACE, workload]).unwrap();
        cluster.installation_ready().unwrap();
        tokio::time::sleep(SETTLE_TIME).await;
        unchanged(workload);
    }
    for node in cluster.nodes() {
        node.crash_agent().unwrap();
    }
    cluster.agents_ready(DEADLINE).await.unwrap();
    tokio::time::sleep(SETTLE_TIME).await;
    unchanged("all agents crashed");
    for connector in connectors {
        assert!(connector.stop().unwrap().failures().is_empty(), "a connection failed");
    }
}

/// A container that crashes comes back after a second or more, so this is for routers with patience only.
#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_speaker_is_back_in_the_same_session() {
    let cluster = installed().await;
    let nodes = node_addresses(&cluster);
    let _followed = cluster.router().follow_bfd(&nodes, Duration::from_secs(1), 3).unwrap();
    // The speaker's multiplier makes the router's patience: 3 s.
    let sessions = all_up(&cluster, &nodes).await;
    let resets = cluster.router().resets().unwrap();
    let victim = cluster.node(1);
    let [pid] = victim.processes("bfd-speaker").unwrap().try_into().unwrap();
    let killed = Instant::now();
    victim.kill(pid, Signal::SIGKILL).unwrap();
    eventually(DEADLINE, "another bfd-speaker", async || {
        let pids = victim.processes("bfd-speaker").map_err(|error| error.to_string())?;
        if pids.len() == 1 && pids[0] != pid { Ok(()) } else { Err(format!("{pids:?}")) }
    })
    .await
    .unwrap();
    println!("bfd-speaker ran again after {:?}", killed.elapsed());
    tokio::time::sleep(SETTLE_TIME).await;
    let now = all_up(&cluster, &nodes).await;
    assert_eq!(cluster.router().resets().unwrap(), resets);
    for node in &nodes {
        assert_eq!(now[node].remote_id, sessions[node].remote_id, "{node}");
    }
}
