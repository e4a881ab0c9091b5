//! Routers that notice the death of a node by BFD, beside the BIRD of each node, which has none.
//!
//! - `dead_nodes`: a node is cut off, loses its cable or its power, is shut down.
//! - `restarts`: our programs and the router's are replaced or crash.
//! - `living_nodes`: a node is drained, its BIRD restarts, the API server stops, packets are lost.

mod dead_nodes;
mod living_nodes;
mod restarts;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use e2e::testing::{Applied, DEADLINE, EchoNamespace, ROUTED_GROUPS, wait_for_next_hops};
use e2e::{BfdSession, Cluster, Connector, Family, FollowedBfd, KernelLog, eventually};

/// What most routers have by default.
const INTERVAL: Duration = Duration::from_millis(300);

/// How often a connection is opened to each address.
const EACH: Duration = Duration::from_millis(20);

/// A Service with routed addresses of both families, which all nodes announce, and a router that follows all nodes.
struct Followed<'a> {
    cluster: &'a Cluster,
    addresses: Vec<IpAddr>,
    /// Of both families, of all nodes.
    nodes: Vec<IpAddr>,
    _bfd: FollowedBfd,
    _space: EchoNamespace<'a>,
    _seed: Applied<'a>,
}

impl<'a> Followed<'a> {
    async fn new(cluster: &'a Cluster, name: &'static str, interval: Duration) -> Self {
        let seed = Applied::kustomization(cluster, "manifests/samples/calico");
        let space = EchoNamespace::new(cluster, name);
        let groups = ("purelb.io/service-group", ROUTED_GROUPS);
        // Each node answers with its own pod, so a node that is gone harms only those that are sent to it.
        let spec = [("ipFamilyPolicy", "RequireDualStack"), ("externalTrafficPolicy", "Local")];
        space.service("web", &[groups], &spec);
        let addresses = space.addresses("web", 2).await;
        for address in &addresses {
            space.answers(*address).await;
            wait_for_next_hops(cluster, *address, cluster.nodes()).await;
        }
        let nodes: Vec<IpAddr> =
            cluster.nodes().flat_map(|node| Family::ALL.map(|family| node.id().address(family))).collect();
        let before = cluster.router().resets().unwrap();
        let bfd = cluster.router().follow_bfd(&nodes, interval, 3).unwrap();
        let followed = Self { cluster, addresses, nodes, _bfd: bfd, _space: space, _seed: seed };
        followed.all_up().await;
        assert_eq!(cluster.router().resets().unwrap(), before, "BFD that comes up resets BGP");
        followed
    }

    /// Waits until all BFD sessions are up, and returns them.
    async fn all_up(&self) -> BTreeMap<IpAddr, BfdSession> {
        eventually(DEADLINE, format!("BFD with {:?}", self.nodes), async || {
            let sessions = self.cluster.router().bfd_sessions().map_err(|error| error.to_string())?;
            let up = |node| sessions.get(node).is_some_and(|session| session.status == "up");
            if self.nodes.iter().all(up) { Ok(sessions) } else { Err(format!("{sessions:?}")) }
        })
        .await
        .unwrap()
    }

    /// Waits until the router uses all nodes.
    async fn all_used(&self) {
        for address in &self.addresses {
            wait_for_next_hops(self.cluster, *address, self.cluster.nodes()).await;
        }
    }

    /// Opens connections to the addresses until these are stopped.
    fn connect(&self) -> Vec<Connector> {
        let connect = |address: &IpAddr| self.cluster.client().connect_every(EACH, SocketAddr::new(*address, 80));
        self.addresses.iter().map(connect).collect()
    }

    /// What the router has now.
    async fn steady(&self) -> Steady<'_, 'a> {
        Steady {
            sessions: self.all_up().await,
            resets: self.cluster.router().resets().unwrap(),
            routes: self.cluster.router().log_routes().unwrap(),
            followed: self,
        }
    }
}

/// What a router has that nothing disturbs.
struct Steady<'f, 'a> {
    followed: &'f Followed<'a>,
    sessions: BTreeMap<IpAddr, BfdSession>,
    resets: BTreeMap<IpAddr, u64>,
    routes: KernelLog,
}

impl Steady<'_, '_> {
    /// Asserts that no session of BFD or BGP was lost.
    fn assert_sessions(&self, what: &str) {
        assert_eq!(self.followed.cluster.router().resets().unwrap(), self.resets, "{what}: BGP was reset");
        self.assert_bfd(what);
    }

    /// Asserts that no session of BFD was lost.
    fn assert_bfd(&self, what: &str) {
        let now = self.followed.cluster.router().bfd_sessions().unwrap();
        let identity = |all: &BTreeMap<IpAddr, BfdSession>| {
            all.iter().map(|(node, session)| (*node, session.status.clone(), session.remote_id)).collect::<Vec<_>>()
        };
        assert_eq!(identity(&now), identity(&self.sessions), "{what}: a session is another one");
    }

    /// Asserts that nothing at all has changed.
    fn assert_unchanged(&self, what: &str) {
        self.assert_sessions(what);
        self.assert_routes(what);
    }

    /// Asserts that the router has used all nodes at each moment.
    fn assert_routes(&self, what: &str) {
        let nodes = self.followed.cluster.nodes().count();
        for address in &self.followed.addresses {
            let interruptions = self.routes.interruptions(*address, nodes);
            assert!(interruptions.is_empty(), "{what}: the router's routes changed: {interruptions:?}");
        }
    }
}
