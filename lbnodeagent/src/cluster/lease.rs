//! The part of a Lease that matters here.

use std::net::SocketAddr;
use std::time::Duration;

use api_types::lease;
use ipnetwork::IpNetwork;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use ownership::{InterfaceAddress, Mac, NodeId, Peer};

/// The part of a Lease that matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseView {
    /// The node whose Lease it is.
    pub node: String,
    /// Its subnets.
    pub subnets: Vec<IpNetwork>,
    /// The node's own addresses. Agents of earlier releases publish none.
    pub places: Vec<InterfaceAddress>,
    /// The hardware addresses of its interfaces. Agents of earlier releases publish none.
    pub macs: Vec<Mac>,
    /// Where its agent listens for gossip, the best endpoint first. Agents of earlier releases publish none.
    pub endpoints: Vec<SocketAddr>,
    /// The time of its last renewal by that node's clock.
    pub renewed: Option<Timestamp>,
    /// How long it is valid after a renewal.
    pub duration: Duration,
}

impl LeaseView {
    /// Reads a Lease; nothing if it is not an agent's.
    #[must_use]
    pub fn new(object: &Lease) -> Option<Self> {
        let spec = object.spec.as_ref();
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or(0);
        let places = lease::addresses(object);
        Some(Self {
            node: lease::node(object)?.to_owned(),
            subnets: lease::subnets(object),
            places: places.iter().filter_map(|network| InterfaceAddress::new(network.ip(), network.prefix())).collect(),
            macs: lease::macs(object).into_iter().map(Mac).collect(),
            endpoints: lease::endpoints(object),
            renewed: spec.and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0),
            duration: Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
        })
    }

    /// Whether it is valid by the wall clocks. The clocks of two nodes may differ, so this counts only until a
    /// renewal is seen.
    pub(crate) fn unexpired(&self, now: Timestamp) -> bool {
        self.renewed.is_some_and(|renewed| {
            Duration::try_from(now.duration_since(renewed)).unwrap_or(Duration::ZERO) < self.duration
        })
    }

    /// Whether both have the same content, apart from the time.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let Self { node, subnets, places, macs, endpoints, renewed: _, duration: _ } = self;
        (node, subnets, places, macs, endpoints)
            == (&other.node, &other.subnets, &other.places, &other.macs, &other.endpoints)
    }

    /// The member as the protocol between the agents knows it; nothing if this cannot be the name of a node.
    pub(crate) fn peer(&self, lease_alive: bool) -> Option<Peer> {
        Some(Peer {
            node: NodeId::new(&self.node)?,
            endpoints: self.endpoints.clone(),
            places: self.places.clone(),
            macs: self.macs.clone(),
            lease_alive,
        })
    }
}
