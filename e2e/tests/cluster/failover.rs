//! One answer at a time, always one: local addresses while nodes, agents and the API server fail. Speed is measured by
//! `make bench-failover`; the bounds here are only far from what a user would call an outage.

mod blocked;
mod leaving;
mod moves;
mod reboot;
mod strangers;
mod traffic;

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use e2e::{ArpMonitor, Cluster, KernelLog, Mac, Node, Observations, eventually};

use crate::support::{AFTERWARDS, Applied, Bare, DEADLINE, ROUTED, installed, routed_by};

/// After this time somebody answers again.
const SOON: Duration = Duration::from_secs(5);

/// Longer than anything in the programs waits for the API server before it does something about it.
const OUTAGE: Duration = Duration::from_secs(20);

/// Who has answered alone for this time goes on.
const STEADY: Duration = Duration::from_millis(700);

/// A dual-stack Service without backends, whose two addresses have the same order of nodes, and monitors of both.
struct Local<'a> {
    cluster: &'a Cluster,
    name: &'static str,
    addresses: [IpAddr; 2],
    monitors: [ArpMonitor; 2],
    _service: Applied<'a>,
    _groups: Applied<'a>,
}

/// A Service of this name with these addresses, and this traffic policy.
fn service(name: &str, [v4, v6]: [IpAddr; 2], policy: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default, annotations: {{purelb.io/addresses: "{v4},{v6}"}}}}
spec: {{type: LoadBalancer, ipFamilyPolicy: RequireDualStack, externalTrafficPolicy: {policy}, ports: [{{port: 80}}]}}
"#
    )
}

/// Addresses of the sample's pool for the IPv4 one that ends in `last`.
fn pair(cluster: &Cluster, last: u8) -> [IpAddr; 2] {
    let v4 = IpAddr::from([192, 168, 50, last]);
    let v6 = (0..200_u16).map(|count| IpAddr::from([0xfd00, 0x50, 0, 0, 0, 0, 0, 0x210 + count]));
    [v4, cluster.with_same_order(v4, v6).unwrap()]
}

impl<'a> Local<'a> {
    /// Returns when one node answers for both addresses.
    async fn new(cluster: &'a Cluster, name: &'static str) -> Self {
        let local = Self::with_policy(cluster, name, "Cluster").await;
        local.answered_by(|[v4, v6]| v4 == v6).await;
        local
    }

    /// Returns when the Service has its addresses.
    async fn with_policy(cluster: &'a Cluster, name: &'static str, policy: &str) -> Self {
        let groups = Applied::kustomization(cluster, "manifests/samples/local");
        let addresses = pair(cluster, 220);
        let service = Applied::yaml(cluster, &service(name, addresses, policy));
        cluster.service_addresses("default", name, 2).await.unwrap();
        let monitors = addresses.map(|address| cluster.client().monitor(address).unwrap());
        cluster.agents_ready(DEADLINE).await.unwrap();
        Self { cluster, name, addresses, monitors, _service: service, _groups: groups }
    }

    /// The node that answers for both.
    fn owner(&self) -> Node {
        let macs = self.monitors[0].answering(STEADY);
        self.cluster.nodes().find(|node| macs.contains(&node.mac())).unwrap()
    }

    /// Waits until one host each answers steadily, and these are right.
    async fn answered_by(&self, right: impl Fn([Mac; 2]) -> bool) {
        eventually(DEADLINE, "steady answers by the right hosts", async || {
            let macs = self.monitors.each_ref().map(|monitor| monitor.steady(STEADY));
            match macs {
                [Some(v4), Some(v6)] if right([v4, v6]) => Ok(()),
                _ => Err(format!("{macs:?}")),
            }
        })
        .await
        .unwrap();
    }

    /// What was heard of both since then.
    fn since(&self, from: Instant) -> [Observations; 2] {
        self.monitors.each_ref().map(|monitor| monitor.so_far().since(from))
    }

    /// A moment after which both have answered: what is seen from it on begins with who answers now.
    async fn answers(&self) -> Instant {
        let from = Instant::now();
        eventually(DEADLINE, "an answer from each", async || {
            if self.since(from).iter().all(|observed| observed.last_mac().is_some()) { Ok(()) } else { Err("silence") }
        })
        .await
        .unwrap();
        from
    }

    /// Both moved from one node to another since then, a moment of [`Self::answers`], with no more than this long without an answer, and never two.
    fn moved_once(&self, from: Instant, longest: Duration) {
        for (address, observed) in self.addresses.iter().zip(self.since(from)) {
            let owners = observed.owners();
            assert_eq!(owners.len(), 2, "{address}: {owners:?}");
            let (gap, double) = (observed.longest_silence(), observed.overlap());
            assert!(gap < longest, "{address}: no answer for {gap:?}");
            assert!(double < Duration::from_millis(100), "{address}: two answers for {double:?}");
        }
    }

    /// The same node answered all the time, and alone.
    fn nothing_happened(&self, from: Instant) {
        for (address, observed) in self.addresses.iter().zip(self.since(from)) {
            assert_eq!(observed.macs().len(), 1, "{address} was answered for by {:?}", observed.macs());
            let gap = observed.longest_silence();
            assert!(gap < Duration::from_millis(100), "{address}: no answer for {gap:?}");
        }
    }
}

/// An API server that is frozen until this is dropped.
struct Paused<'a>(&'a Cluster);

impl<'a> Paused<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        cluster.control_plane().pause_api().unwrap();
        Self(cluster)
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.control_plane().resume_api() {
            eprintln!("clean-up: {error}");
        }
    }
}

/// Cuts the owner off and joins it again.
async fn owner_goes_and_comes_back(local: &Local<'_>) {
    let owner = local.owner();
    let cut = local.answers().await;
    owner.isolate().unwrap();
    local.answered_by(|macs| !macs.contains(&owner.mac())).await;
    local.moved_once(cut, SOON);
    let back = Instant::now();
    owner.rejoin().unwrap();
    tokio::time::sleep(AFTERWARDS).await;
    for (address, observed) in local.addresses.iter().zip(local.since(back)) {
        let (gap, double) = (observed.longest_silence(), observed.overlap());
        assert!(gap < Duration::from_millis(100), "{address}: no answer for {gap:?} after the return");
        assert!(double < Duration::from_millis(500), "{address}: two answers for {double:?} after the return");
        assert_ne!(observed.last_mac(), Some(owner.mac()), "{address} moved back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_answers_when_the_owner_is_cut_off_and_goes_on_when_it_is_back() {
    let cluster = installed().await;
    let local = Local::new(&cluster, "owner-cut").await;
    owner_goes_and_comes_back(&local).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_api_server_nothing_changes_on_any_node_and_nothing_moves_but_what_has_to() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let remote = Bare::new(&cluster, "no-api-remote", ROUTED).await;
    let local = Local::new(&cluster, "no-api").await;
    for address in &remote.addresses {
        routed_by(&cluster, *address, cluster.nodes()).await;
    }
    let at_router = cluster.router().log_routes().unwrap();
    let on_nodes: Vec<KernelLog> = cluster.nodes().map(|node| node.log_addresses().unwrap()).collect();
    let untouched = |log: &KernelLog| {
        let changes = log.about(&remote.addresses);
        assert!(changes.is_empty(), "{changes:?}");
    };
    let from = Instant::now();
    let paused = Paused::new(&cluster);
    tokio::time::sleep(OUTAGE).await;
    local.nothing_happened(from);
    on_nodes.iter().chain([&at_router]).for_each(untouched);
    // Lifetimes of local addresses are renewed all the while.
    let changes: Vec<_> = on_nodes.iter().flat_map(|log| log.about(&local.addresses)).collect();
    assert!(changes.iter().all(|change| !change.is_removal()), "{changes:?}");
    owner_goes_and_comes_back(&local).await;
    drop(paused);
    let awake = Instant::now();
    tokio::time::sleep(AFTERWARDS).await;
    local.nothing_happened(awake);
    on_nodes.iter().for_each(untouched);
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_die_or_stand_still_lose_nothing() {
    let cluster = installed().await;
    let local = Local::new(&cluster, "agents-die").await;
    let from = Instant::now();
    let owner = local.owner();
    let frozen = owner.freeze_agent().unwrap();
    tokio::time::sleep(Duration::from_secs(8)).await;
    drop(frozen);
    tokio::time::sleep(AFTERWARDS).await;
    local.nothing_happened(from);

    for node in cluster.nodes() {
        node.crash_agent().unwrap();
    }
    cluster.agents_ready(DEADLINE).await.unwrap();
    tokio::time::sleep(AFTERWARDS).await;
    local.nothing_happened(from);
}
