//! The part of a Lease that matters here.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use api_types::lease;
use api_types::lease::{ProxyState, Report};
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
    /// Every address that the node's kernel has and that is not from us. Agents of earlier releases publish none.
    pub own: Vec<IpAddr>,
    /// The node's gateways. Agents of earlier releases publish none.
    pub gateways: Vec<IpAddr>,
    /// The hardware addresses of its interfaces. Agents of earlier releases publish none.
    pub macs: Vec<Mac>,
    /// Where its agent listens for gossip, the best endpoint first. Agents of earlier releases publish none.
    pub endpoints: Vec<SocketAddr>,
    /// Whether kube-proxy serves the node, as its agent says.
    pub proxy: Option<ProxyState>,
    /// The version of the wire that its agent speaks.
    pub wire_version: u16,
    /// A page of what its agent refuses and holds.
    pub report: Report,
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
            own: lease::own_addresses(object),
            gateways: lease::gateways(object),
            macs: lease::macs(object).into_iter().map(Mac).collect(),
            endpoints: lease::endpoints(object),
            proxy: lease::proxy(object),
            wire_version: lease::wire_version(object),
            report: lease::report(object),
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

    /// Whether both have the same content, apart from the time, and from the lists that concern single addresses only.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let Self {
            node,
            subnets,
            places,
            own: _,
            gateways: _,
            macs,
            endpoints,
            proxy,
            wire_version,
            report: _,
            renewed: _,
            duration: _,
        } = self;
        (node, subnets, places, macs, endpoints, proxy, wire_version)
            == (
                &other.node,
                &other.subnets,
                &other.places,
                &other.macs,
                &other.endpoints,
                &other.proxy,
                &other.wire_version,
            )
    }

    /// The member as the protocol between the agents knows it; nothing if this cannot be the name of a node.
    pub(crate) fn peer(&self, lease_alive: bool) -> Option<Peer> {
        Some(Peer {
            node: NodeId::new(&self.node)?,
            endpoints: self.endpoints.clone(),
            places: self.places.clone(),
            macs: self.macs.clone(),
            lease_alive,
            wire_version: self.wire_version,
        })
    }
}
