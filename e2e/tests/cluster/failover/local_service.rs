//! A Service with local addresses, watched from the client, and what must be true of the answers.

use std::{
    net::IpAddr,
    ops::Deref,
    time::{Duration, Instant},
};

use e2e::{
    Cluster, Node,
    testing::{Applied, DEADLINE, SETTLE_TIME, STEADY, Watched},
};

/// After this time a node answers again.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// A dual-stack Service without backends, whose two addresses have the same order of nodes, and monitors of both.
pub(crate) struct LocalService<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) name: &'static str,
    watched: Watched<2>,
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

impl Deref for LocalService<'_> {
    type Target = Watched<2>;

    fn deref(&self) -> &Watched<2> {
        &self.watched
    }
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
        let watched = Watched::new(cluster, addresses);
        cluster.agents_ready(DEADLINE).await.unwrap();
        Self { cluster, name, watched, _service: service, _groups: groups }
    }

    /// The node that answers for both.
    pub(crate) fn owner(&self) -> Node {
        let macs = self.monitors[0].answering(STEADY);
        self.cluster.nodes().find(|node| macs.contains(&node.mac())).unwrap()
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
