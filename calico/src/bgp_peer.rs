//! The object `BGPPeer`: a router, and the nodes that speak with it.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;
use thiserror::Error;

use crate::as_number::as_number;
use crate::labels::Labels;
use crate::selector::{Selector, SelectorError};

/// The API groups that have the objects, with their versions: that of the definitions in the cluster, and that of
/// Calico's own API server, which newer releases also serve without that server.
pub const GROUPS: [(&str, &str); 2] = [("crd.projectcalico.org", "v1"), ("projectcalico.org", "v3")];

/// The kind of the object.
pub const KIND: &str = "BGPPeer";
/// Its plural, in paths of the API.
pub const PLURAL: &str = "bgppeers";

/// Why a `BGPPeer` names no router.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PeerError {
    /// It peers nodes with each other.
    #[error("it has a peerSelector, so its peers are nodes")]
    Nodes,
    /// It peers nodes with pods.
    #[error("it has a localWorkloadSelector, so its peers are pods")]
    Workloads,
    /// It has neither.
    #[error("it has no peerIP")]
    NoAddress,
    /// The address cannot be read.
    #[error("peerIP {0:?} is no address: write 192.0.2.1, 192.0.2.1:179, 2001:db8::1 or [2001:db8::1]:179")]
    Address(String),
    /// The nodes cannot be selected.
    #[error("nodeSelector {text:?}: {error}")]
    Selector {
        /// As written.
        text: String,
        /// What is wrong.
        error: SelectorError,
    },
}

/// A router that nodes speak BGP with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    /// Its address.
    pub address: IpAddr,
    /// The interface of a link-local address, if the object names it.
    pub interface: Option<String>,
    /// Its BGP port, if it is not 179.
    pub port: Option<u16>,
    /// Whether the node speaks from the address that Calico chose for it. Otherwise the kernel chooses one.
    pub from_node_address: bool,
    /// Its AS number, if the object has one.
    pub as_number: Option<u32>,
    /// The names of the filters, in their order.
    pub filters: Vec<String>,
    /// How many hops the router is away at most, if TTL security is demanded of it.
    pub ttl_security: Option<u8>,
}

/// The nodes that speak with a router.
#[derive(Debug, Clone, PartialEq)]
enum Nodes {
    All,
    Named(String),
    Selected(Selector),
}

/// A `BGPPeer` that names a router.
#[derive(Debug, Clone, PartialEq)]
pub struct BgpPeer {
    /// The router.
    pub router: Router,
    nodes: Nodes,
}

impl BgpPeer {
    /// Reads the `spec` of an object of either API group.
    ///
    /// # Errors
    /// When it names no router, or nodes that cannot be determined.
    ///
    /// # Examples
    /// ```
    /// let spec = serde_json::json!({"peerIP": "192.0.2.1", "nodeSelector": "rack == 'a'"});
    /// let peer = calico::BgpPeer::new(&spec).unwrap();
    /// assert!(peer.applies_to("node1", &[("rack".to_owned(), "a".to_owned())].into()));
    /// ```
    pub fn new(spec: &Value) -> Result<Self, PeerError> {
        let text = |field: &str| spec.get(field).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
        if text("peerSelector").is_some() {
            return Err(PeerError::Nodes);
        }
        let Some(peer_ip) = text("peerIP") else {
            let workloads = text("localWorkloadSelector").is_some();
            return Err(if workloads { PeerError::Workloads } else { PeerError::NoAddress });
        };
        let (address, interface, port) = endpoint(peer_ip).ok_or_else(|| PeerError::Address(peer_ip.to_owned()))?;
        let nodes = match (text("nodeSelector"), text("node")) {
            (Some(text), _) => {
                let wrong = |error| PeerError::Selector { text: text.to_owned(), error };
                Nodes::Selected(Selector::new(text).map_err(wrong)?)
            }
            (None, Some(name)) => Nodes::Named(name.to_owned()),
            (None, None) => Nodes::All,
        };
        let hops = spec.get("ttlSecurity").and_then(Value::as_u64).and_then(|hops| u8::try_from(hops).ok());
        let filters = spec.get("filters").and_then(Value::as_array).into_iter().flatten();
        let router = Router {
            address,
            interface,
            port,
            as_number: spec.get("asNumber").and_then(as_number),
            filters: filters.filter_map(Value::as_str).map(str::to_owned).collect(),
            from_node_address: text("sourceAddress") != Some("None"),
            ttl_security: hops.filter(|hops| *hops > 0),
        };
        Ok(Self { router, nodes })
    }

    /// Whether the node of this name and with these labels speaks with the router.
    #[must_use]
    pub fn applies_to(&self, node: &str, labels: &Labels) -> bool {
        match &self.nodes {
            Nodes::All => true,
            Nodes::Named(name) => name == node,
            Nodes::Selected(selector) => selector.selects(labels),
        }
    }
}

/// An address, its interface and a port: `192.0.2.1`, `192.0.2.1:179`, `2001:db8::1`, `[2001:db8::1]:179`,
/// `fe80::1%eth0`.
fn endpoint(text: &str) -> Option<(IpAddr, Option<String>, Option<u16>)> {
    // The interface is taken out first: no other part has a per cent sign.
    let (bare, interface) = match text.split_once('%') {
        None => (text.to_owned(), None),
        Some((address, rest)) => {
            let end = rest.find(']').unwrap_or(rest.len());
            let (interface, rest) = rest.split_at_checked(end)?;
            let fine = (1..=15).contains(&interface.len()) && !interface.contains(['/', ':', ' ', '%']);
            if !fine {
                return None;
            }
            (format!("{address}{rest}"), Some(interface.to_owned()))
        }
    };
    let (address, port) = match bare.parse::<IpAddr>() {
        Ok(address) => (address, None),
        Err(_) => match bare.parse::<SocketAddr>() {
            Ok(endpoint) => (endpoint.ip(), Some(endpoint.port()).filter(|port| *port != 0)),
            Err(_) => (bare.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?, None),
        },
    };
    let usable = !address.is_unspecified() && !address.is_multicast() && !address.is_loopback();
    usable.then_some((address, interface, port))
}
