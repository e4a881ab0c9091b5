//! Links: the segments (broadcast domains) on which this node has an interface with subnets, and what peers say
//! in their Leases about their own place on them.

use std::net::{IpAddr, SocketAddr};

use ipnetwork::IpNetwork;

use crate::model::node::{Mac, NodeId};

/// An interface of this node, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

/// An own address and its subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfaceAddress {
    /// The address; never a VIP.
    pub address: IpAddr,
    /// Its network.
    pub subnet: IpNetwork,
}

impl InterfaceAddress {
    /// An address with its prefix length; nothing if that is too long.
    #[must_use]
    pub fn new(address: IpAddr, prefix_len: u8) -> Option<Self> {
        let network = IpNetwork::new(address, prefix_len).ok()?;
        Some(Self { address, subnet: IpNetwork::new(network.network(), prefix_len).ok()? })
    }
}

/// An interface of this node and its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Which.
    pub id: LinkId,
    /// Its hardware address.
    pub mac: Mac,
    /// Whether it has carrier and is up.
    pub carrier: bool,
    /// Its own addresses, VIPs left out.
    pub places: Vec<InterfaceAddress>,
    /// Next hops on this link: asked as witnesses that we hear.
    pub gateways: Vec<IpAddr>,
}

impl Link {
    /// Whether one of its subnets contains the address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.places.iter().any(|place| place.subnet.contains(address))
    }

    /// Whether a place (of a peer) is on one of its subnets.
    #[must_use]
    pub fn shares(&self, place: &InterfaceAddress) -> bool {
        self.places.iter().any(|own| own.subnet == place.subnet)
    }
}

/// A peer as its Lease describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub node: NodeId,
    /// Where its agent listens, the best first.
    pub endpoints: Vec<SocketAddr>,
    /// Its own addresses.
    pub places: Vec<InterfaceAddress>,
    /// The hardware addresses of all its interfaces.
    pub macs: Vec<Mac>,
    /// Whether the Lease was seen to be renewed in time, by our own clock.
    pub lease_alive: bool,
}

impl Peer {
    /// The peer's own address on a link of ours: IPv4 first, since every switch floods ARP.
    #[must_use]
    pub fn place_on(&self, link: &Link) -> Option<InterfaceAddress> {
        let shared = || self.places.iter().filter(|place| link.shares(place));
        shared().find(|place| place.address.is_ipv4()).or_else(|| shared().next()).copied()
    }

    /// Whether it has an address in a subnet with the address.
    #[must_use]
    pub fn reaches(&self, address: IpAddr) -> bool {
        self.places.iter().any(|place| place.subnet.contains(address))
    }
}
