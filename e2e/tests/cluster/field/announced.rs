//! Two Services that are announced, one by routes and one by a node of the LAN, and what must go on while something
//! happens to them.

use std::time::{Duration, Instant};

use e2e::{
    Cluster, KernelLog, Node, eventually,
    testing::{Applied, BareService, DEADLINE, ROUTED_GROUPS, object, wait_for_next_hops},
};

use crate::failover::local_service::{LocalService, SOON};

/// A new leader leaves a Service alone for the rest of the minute in which its predecessor wrote it.
const A_MINUTE: Duration = Duration::from_secs(60);

/// Annotations of users.
const OF_USERS: [&str; 2] = ["purelb.io/service-group", "purelb.io/addresses"];

/// Both Services, with the observers of their addresses.
pub(crate) struct Announced<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) local: LocalService<'a>,
    pub(crate) remote: BareService<'a>,
    /// The node that answers for the local one.
    pub(crate) owner: Node,
    /// The router's routes.
    pub(crate) at_router: KernelLog,
    /// When the observation began.
    pub(crate) from: Instant,
    _seed: Applied<'a>,
}

impl<'a> Announced<'a> {
    /// Returns when the router has all routes and one node answers.
    pub(crate) async fn new(cluster: &'a Cluster, remote: &'a str, local: &'static str) -> Self {
        let seed = Applied::kustomization(cluster, "manifests/samples/calico");
        let remote = BareService::new(cluster, remote, ROUTED_GROUPS).await;
        let local = LocalService::new(cluster, local).await;
        let owner = local.owner();
        for address in &remote.addresses {
            wait_for_next_hops(cluster, *address, cluster.nodes()).await;
        }
        let at_router = cluster.router().log_routes().unwrap();
        Self { cluster, local, remote, owner, at_router, from: Instant::now(), _seed: seed }
    }

    /// The names of both.
    pub(crate) fn names(&self) -> [&str; 2] {
        [self.remote.name, self.local.name]
    }

    /// The same node has answered all the time, and alone, and no route has changed.
    pub(crate) fn assert_undisturbed(&self) {
        self.local.assert_only(self.owner.mac(), self.from);
        let changes = self.at_router.about(&self.remote.addresses);
        assert!(changes.is_empty(), "the router's routes changed: {changes:?}");
    }

    /// Somebody has answered all the time but for the seconds in which a node died, the routes were never gone, and both
    /// have the same addresses as before.
    pub(crate) async fn assert_kept(&self) {
        for (address, observed) in self.local.addresses.iter().zip(self.local.since(self.from)) {
            let gap = observed.longest_silence();
            assert!(gap < SOON, "{address}: no answer for {gap:?}");
        }
        for address in &self.remote.addresses {
            wait_for_next_hops(self.cluster, *address, self.cluster.nodes()).await;
            let gone = self.at_router.absences(*address);
            assert!(gone.is_empty(), "the route to {address} was gone: {gone:?}");
        }
        let shown = async |name: &str| self.cluster.service_addresses("default", name, 2).await.unwrap();
        assert_eq!(shown(self.remote.name).await, self.remote.addresses);
        assert_eq!(shown(self.local.name).await, self.local.addresses);
    }

    /// Takes all annotations that our programs write off both, as one does who does not know them.
    pub(crate) fn without_our_annotations(&self) {
        for name in self.names() {
            let annotations = object(self.cluster, &["service", name])["metadata"]["annotations"].clone();
            let all = annotations.as_object().unwrap().keys().filter(|key| key.starts_with("purelb.io/"));
            let ours: Vec<String> =
                all.filter(|key| !OF_USERS.contains(&key.as_str())).map(|key| format!("{key}-")).collect();
            let ours: Vec<&str> = ours.iter().map(String::as_str).collect();
            self.cluster.kubectl(&[&["annotate", "service", name][..], &ours].concat()).unwrap();
        }
    }

    /// Waits until both are marked as given these addresses.
    pub(crate) async fn marked(&self) {
        for (name, addresses) in
            [(self.remote.name, &self.remote.addresses[..]), (self.local.name, &self.local.addresses)]
        {
            let list = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            eventually(DEADLINE + A_MINUTE, format!("the marks of {name}"), async || {
                let annotations = object(self.cluster, &["service", name])["metadata"]["annotations"].clone();
                let back = annotations["purelb.io/allocated-addresses"] == *list;
                if back { Ok(()) } else { Err(annotations.to_string()) }
            })
            .await
            .unwrap();
        }
    }
}
