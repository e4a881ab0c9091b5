//! Agents that are evicted from their node.

use std::time::{Duration, Instant};

use e2e::{Cluster, Family, Node, eventually};

use super::{AFTERWARDS, Local};
use crate::support::{Applied, DEADLINE, Space, installed};

const TAINT: &str = "e2e.purelb.io/maintenance:NoExecute";

/// A node that evicts its pods, until this is dropped.
struct Tainted<'a>(&'a Cluster, &'a Node);

impl<'a> Tainted<'a> {
    fn new(cluster: &'a Cluster, node: &'a Node) -> Self {
        let tainted = Self(cluster, node);
        cluster.kubectl(&["taint", "node", &node.name(), TAINT]).unwrap();
        tainted
    }
}

impl Drop for Tainted<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.kubectl(&["taint", "node", &self.1.name(), &format!("{TAINT}-")]) {
            eprintln!("clean-up: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evicted_agent_hands_local_addresses_over_and_withdraws_remote_ones() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let space = Space::new(&cluster, "evicted");
    space.service("web", &[("purelb.io/service-group", "ipv4-routed")], &[]);
    let routed = space.addresses("web", 1).await[0];
    let local = Local::new(&cluster, "evicted").await;
    let owner = local.owner();
    routed_by(&cluster, routed, |hops| hops.len() == 3).await;

    let from = Instant::now();
    let tainted = Tainted::new(&cluster, &owner);
    local.answered_by(|macs| !macs.contains(&owner.mac())).await;
    local.moved_once(from, Duration::from_millis(500));
    let gateway = owner.id().ipv4().into();
    routed_by(&cluster, routed, |hops| hops.len() == 2 && !hops.contains(&gateway)).await;

    let back = Instant::now();
    drop(tainted);
    cluster.agents_ready(DEADLINE).await.unwrap();
    routed_by(&cluster, routed, |hops| hops.len() == 3).await;
    tokio::time::sleep(AFTERWARDS).await;
    local.nothing_happened(back);
}

/// Waits until the router has right next hops for an address.
async fn routed_by(cluster: &Cluster, address: std::net::IpAddr, right: impl Fn(&[std::net::IpAddr]) -> bool) {
    eventually(DEADLINE, format!("next hops of {address}"), async || {
        let routes = cluster.router().routes(Family::of(address)).map_err(|error| error.to_string())?;
        let route = routes.iter().find(|route| route.prefix.ip() == address);
        let hops: Vec<_> = route.into_iter().flat_map(|route| route.next_hops.iter().copied()).collect();
        if right(&hops) { Ok(()) } else { Err(format!("{hops:?}")) }
    })
    .await
    .unwrap();
}
