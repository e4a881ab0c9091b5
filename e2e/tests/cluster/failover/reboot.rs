//! Nodes that lose their power, and come back with an empty kernel.

use std::slice::from_ref;
use std::time::{Duration, Instant};

use e2e::{
    Cluster, Mac, Node,
    testing::{
        Applied, BareService, ROUTED_GROUPS, SETTLE_TIME, Watched, WithoutAllocator, installed, wait_for_address,
        wait_for_next_hops,
    },
};

use crate::{
    failover::local_service::{LocalService, SOON},
    field::announced::Announced,
};

/// How long a node takes to start its pods, with room.
const START: Duration = Duration::from_secs(90);

/// Switches a node on that was off, and returns when it is Ready, its agent runs and it speaks BGP.
async fn switched_on(cluster: &Cluster, node: &Node) {
    node.power_on().unwrap();
    cluster.nodes_ready(START).await.unwrap();
    cluster.agents_ready(START).await.unwrap();
    cluster.peered(START).await.unwrap();
}

/// Reboots all nodes one by one. The next one follows when what this one announced is announced by it again, or by
/// another.
pub(crate) async fn reboot_all(announced: &Announced<'_>) {
    let Announced { cluster, local, remote, .. } = announced;
    let macs: Vec<Mac> = cluster.nodes().map(|node| node.mac()).collect();
    for node in cluster.nodes() {
        node.power_off().unwrap();
        local.answered_by(|found| found.iter().all(|mac| macs.contains(mac) && *mac != node.mac())).await;
        switched_on(cluster, &node).await;
        for address in &remote.addresses {
            wait_for_address(from_ref(&node), "kube-lb0", *address, true).await;
            wait_for_next_hops(cluster, *address, cluster.nodes()).await;
        }
        println!("{} was rebooted {:?} after the beginning", node.name(), announced.from.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_of_all_nodes_one_by_one_loses_nothing_even_without_annotations_and_without_allocator() {
    let cluster = installed().await;
    let announced = Announced::new(&cluster, "all-off-remote", "all-off").await;
    let kept = BareService::new(&cluster, "all-off-marked", "default").await;
    let kept_routed = BareService::new(&cluster, "all-off-marked-remote", ROUTED_GROUPS).await;
    let [v4, v6] = kept.addresses.as_slice() else { panic!("one of each family") };
    let watched = Watched::new(&cluster, [*v4, *v6]);
    let macs: Vec<Mac> = cluster.nodes().map(|node| node.mac()).collect();
    let by_a_node = |found: [Mac; 2]| found.iter().all(|mac| macs.contains(mac));
    watched.answered_by(by_a_node).await;
    let from = watched.answers().await;
    let stopped = WithoutAllocator::new(&cluster).await;
    announced.without_our_annotations();
    reboot_all(&announced).await;
    drop(stopped);
    cluster.installation_ready().unwrap();
    announced.marked().await;
    announced.assert_kept().await;
    for address in &kept_routed.addresses {
        wait_for_next_hops(&cluster, *address, cluster.nodes()).await;
    }
    watched.answered_by(by_a_node).await;
    for (address, observed) in watched.addresses.iter().zip(watched.since(from)) {
        let gap = observed.longest_silence();
        assert!(gap < SOON, "{address}: no answer for {gap:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebooted_node_has_its_remote_addresses_again_and_no_local_one() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let remote = BareService::new(&cluster, "reboot-remote", ROUTED_GROUPS).await;
    let local = LocalService::new(&cluster, "reboot").await;
    let owner = local.owner();
    for address in &remote.addresses {
        wait_for_next_hops(&cluster, *address, cluster.nodes()).await;
    }

    let off = local.answers().await;
    owner.power_off().unwrap();
    local.answered_by(|macs| !macs.contains(&owner.mac())).await;
    local.assert_moved_once(off, SOON);

    let on = Instant::now();
    switched_on(&cluster, &owner).await;
    for address in &remote.addresses {
        wait_for_address(from_ref(&owner), "kube-lb0", *address, true).await;
        wait_for_next_hops(&cluster, *address, cluster.nodes()).await;
    }
    println!("{} has its remote addresses and routes {:?} after its start", owner.name(), on.elapsed());
    tokio::time::sleep(SETTLE_TIME).await;
    local.assert_undisturbed(on);
    for address in local.addresses {
        wait_for_address(from_ref(&owner), "eth0", address, false).await;
    }
}
