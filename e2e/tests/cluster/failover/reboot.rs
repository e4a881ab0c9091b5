//! A node that loses its power, and comes back with an empty kernel.

use std::slice::from_ref;
use std::time::{Duration, Instant};

use crate::failover::local_service::{LocalService, SOON};
use e2e::testing::{Applied, BareService, ROUTED_GROUPS, SETTLE_TIME, installed, wait_for_address, wait_for_next_hops};

/// How long a node takes to start its pods, with room.
const START: Duration = Duration::from_secs(90);

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
    owner.power_on().unwrap();
    cluster.nodes_ready(START).await.unwrap();
    cluster.agents_ready(START).await.unwrap();
    cluster.peered(START).await.unwrap();
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
