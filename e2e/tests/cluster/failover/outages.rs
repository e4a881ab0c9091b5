//! Nodes, agents and the API server fail.

use std::time::{Duration, Instant};

use e2e::{
    Cluster, KernelLog,
    testing::{Applied, BareService, DEADLINE, ROUTED_GROUPS, SETTLE_TIME, Undo, installed, wait_for_next_hops},
};

use crate::failover::local_service::{LocalService, owner_goes_and_comes_back};

/// Longer than any program waits for the API server before it acts on its absence.
const OUTAGE: Duration = Duration::from_secs(20);

/// An API server that is frozen until this is dropped.
fn frozen_api(cluster: &Cluster) -> Undo<'_> {
    cluster.control_plane().pause_api().unwrap();
    Undo::new(|| cluster.control_plane().resume_api())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_answers_when_the_owner_is_cut_off_and_goes_on_when_it_is_back() {
    let cluster = installed().await;
    let local = LocalService::new(&cluster, "owner-cut").await;
    owner_goes_and_comes_back(&local).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_api_server_nothing_changes_on_any_node_and_nothing_moves_but_what_has_to() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let remote = BareService::new(&cluster, "no-api-remote", ROUTED_GROUPS).await;
    let local = LocalService::new(&cluster, "no-api").await;
    for address in &remote.addresses {
        wait_for_next_hops(&cluster, *address, cluster.nodes()).await;
    }
    let at_router = cluster.router().log_routes().unwrap();
    let on_nodes: Vec<KernelLog> = cluster.nodes().map(|node| node.log_addresses().unwrap()).collect();
    let untouched = |log: &KernelLog| {
        let changes = log.about(&remote.addresses);
        assert!(changes.is_empty(), "{changes:?}");
    };
    let from = Instant::now();
    let frozen = frozen_api(&cluster);
    tokio::time::sleep(OUTAGE).await;
    local.assert_undisturbed(from);
    on_nodes.iter().chain([&at_router]).for_each(untouched);
    // Lifetimes of local addresses are renewed all the while.
    let changes: Vec<_> = on_nodes.iter().flat_map(|log| log.about(&local.addresses)).collect();
    assert!(changes.iter().all(|change| !change.is_removal()), "{changes:?}");
    owner_goes_and_comes_back(&local).await;
    drop(frozen);
    let awake = Instant::now();
    tokio::time::sleep(SETTLE_TIME).await;
    local.assert_undisturbed(awake);
    on_nodes.iter().for_each(untouched);
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_die_or_stand_still_lose_nothing() {
    let cluster = installed().await;
    let local = LocalService::new(&cluster, "agents-die").await;
    let from = Instant::now();
    let owner = local.owner();
    let frozen = owner.freeze_agent().unwrap();
    tokio::time::sleep(Duration::from_secs(8)).await;
    drop(frozen);
    tokio::time::sleep(SETTLE_TIME).await;
    local.assert_undisturbed(from);

    for node in cluster.nodes() {
        node.crash_agent().unwrap();
    }
    cluster.agents_ready(DEADLINE).await.unwrap();
    tokio::time::sleep(SETTLE_TIME).await;
    local.assert_undisturbed(from);
}
