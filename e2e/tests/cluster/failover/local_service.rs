//! A Service with local addresses, watched from the client, and what must be true of the answers.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use e2e::{
    ArpMonitor, Cluster, Mac, Node, Observations, eventually,
    testing::{Applied, DEADLINE, SETTLE_TIME},
};

/// After this time a node answers again.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// A host that has answered alone for this time is taken for the owner.
pub(crate) const STEADY: Duration = Duration::from_millis(700);

/// A dual-stack Service without backends, whose two addresses have the same order of nodes, and monitors of both.
pub(crate) struct LocalService<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) name: &'static str,
    pub(crate) addresses: [IpAddr; 2],
    pub(crate) monitors: [ArpMonitor; 2],
    _service: Applied<'a>,
    _groups: Applied<'a>,
}

/// A Service of this name with these addresses, and this traffic policy.
pub(crate) fn service(name: &str, [v4, v6]: [IpAddr; 2], policy: &str) -> String {
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
pub(crate) fn pair(cluster: &Cluster, last: u8) -> [IpAddr; 2] {
    let v4 = IpAddr::from([192, 168, 50, last]);
    let v6 = (0..200_u16).map(|count| IpAddr::from([0xfd00, 0x50, 0, 0, 0, 0, 0, 0x210 + count]));
    [v4, cluster.with_same_order(v4, v6).unwrap()]
}

impl<'a> LocalService<'a> {
    /// Returns when one node answers for both addresses.
    pub(crate) async fn new(cluster: &'a Cluster, name: &'static str) -> Self {
        let local = Self::with_policy(cluster, name, "Cluster").await;
        local.answered_by(|[v4, v6]| v4 == v6).await;
        local
    }

    /// Returns when the Service has its addresses.
    pub(crate) async fn with_policy(cluster: &'a Cluster, name: &'static str, policy: &str) -> Self {
        let groups = Applied::kustomization(cluster, "manifests/samples/local");
        let addresses = pair(cluster, 220);
        let service = Applied::yaml(cluster, &service(name, addresses, policy));
        cluster.service_addresses("default", name, 2).await.unwrap();
        let monitors = addresses.map(|address| cluster.client().monitor(address).unwrap());
        cluster.agents_ready(DEADLINE).await.unwrap();
        Self { cluster, name, addresses, monitors, _service: service, _groups: groups }
    }

    /// The node that answers for both.
    pub(crate) fn owner(&self) -> Node {
        let macs = self.monitors[0].answering(STEADY);
        self.cluster.nodes().find(|node| macs.contains(&node.mac())).unwrap()
    }

    /// Waits until one host each answers steadily, and these are right.
    pub(crate) async fn answered_by(&self, right: impl Fn([Mac; 2]) -> bool) {
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

    /// What was observed of both since then.
    pub(crate) fn since(&self, from: Instant) -> [Observations; 2] {
        self.monitors.each_ref().map(|monitor| monitor.so_far().since(from))
    }

    /// A moment after which both have answered: what is seen from it on begins with who answers now.
    pub(crate) async fn answers(&self) -> Instant {
        let from = Instant::now();
        eventually(DEADLINE, "an answer from each", async || {
            if self.since(from).iter().all(|observed| observed.last_mac().is_some()) { Ok(()) } else { Err("silence") }
        })
        .await
        .unwrap();
        from
    }

    /// Both moved from one node to another since then, a moment of [`Self::answers`], with no more than this long
    /// without an answer, and never two.
    pub(crate) fn assert_moved_once(&self, from: Instant, longest: Duration) {
        for (address, observed) in self.addresses.iter().zip(self.since(from)) {
            let owners = observed.owners();
            assert_eq!(owners.len(), 2, "{address}: {owners:?}");
            let (gap, double) = (observed.longest_silence(), observed.overlap());
            assert!(gap < longest, "{address}: no answer for {gap:?}");
            assert!(double < Duration::from_millis(100), "{address}: two answers for {double:?}");
        }
    }

    /// The same node answered all the time, and alone.
    pub(crate) fn assert_undisturbed(&self, from: Instant) {
        for (address, observed) in self.addresses.iter().zip(self.since(from)) {
            assert_eq!(observed.macs().len(), 1, "{address} was answered for by {:?}", observed.macs());
            let gap = observed.longest_silence();
            assert!(gap < Duration::from_millis(100), "{address}: no answer for {gap:?}");
        }
    }
}

/// Cuts the owner off and joins it again.
pub(crate) async fn owner_goes_and_comes_back(local: &LocalService<'_>) {
    let owner = local.owner();
    let cut = local.answers().await;
    owner.isolate().unwrap();
    local.answered_by(|macs| !macs.contains(&owner.mac())).await;
    local.assert_moved_once(cut, SOON);
    let back = Instant::now();
    owner.rejoin().unwrap();
    tokio::time::sleep(SETTLE_TIME).await;
    for (address, observed) in local.addresses.iter().zip(local.since(back)) {
        let (gap, double) = (observed.longest_silence(), observed.overlap());
        assert!(gap < Duration::from_millis(100), "{address}: no answer for {gap:?} after the return");
        assert!(double < Duration::from_millis(500), "{address}: two answers for {double:?} after the return");
        assert_ne!(observed.last_mac(), Some(owner.mac()), "{address} moved back");
    }
}
