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

    /// The subnet in which the two places are neighbours: each is in the other's. Hosts on one wire may be configured with
    /// prefixes of different lengths; the wider subnet is both hosts' name for it.
    #[must_use]
    pub fn shared(&self, other: &Self) -> Option<IpNetwork> {
        let neighbours = self.subnet.contains(other.address) && other.subnet.contains(self.address);
        neighbours.then(|| if self.subnet.prefix() <= other.subnet.prefix() { self.subnet } else { other.subnet })
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

    /// The subnet that it shares with a place (of a peer), if there is one.
    #[must_use]
    pub fn shared(&self, place: &InterfaceAddress) -> Option<IpNetwork> {
        self.places.iter().find_map(|own| own.shared(place))
    }

    /// Whether one of its subnets has addresses of this one.
    #[must_use]
    pub fn is_on(&self, subnet: IpNetwork) -> bool {
        let overlaps = |own: IpNetwork| own.contains(subnet.network()) || subnet.contains(own.network());
        self.places.iter().any(|own| overlaps(own.subnet))
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
    /// The version of the wire that its agent speaks.
    pub wire_version: u16,
}

impl Peer {
    /// The peer's own address on a link of ours: IPv4 first, since every switch floods ARP.
    #[must_use]
    pub fn place_on(&self, link: &Link) -> Option<InterfaceAddress> {
        let shared = || self.places.iter().filter(|place| link.shared(place).is_some());
        shared().find(|place| place.address.is_ipv4()).or_else(|| shared().next()).copied()
    }

    /// Whether it has an address in a subnet with the address.
    #[must_use]
    pub fn reaches(&self, address: IpAddr) -> bool {
        self.places.iter().any(|place| place.subnet.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_different_lengths_are_one_subnet() {
        let place = |address: &str, length| InterfaceAddress::new(address.parse().unwrap(), length).unwrap();
        let (narrow, wide) = (place("192.0.2.1", 24), place("192.0.2.2", 23));
        let subnet = Some("192.0.2.0/23".parse().unwrap());
        assert_eq!((narrow.shared(&wide), wide.shared(&narrow)), (subnet, subnet));
        assert_eq!(narrow.shared(&place("192.0.3.2", 23)), None, "not a neighbour by this prefix");
        assert_eq!(narrow.shared(&place("192.0.2.9", 24)), Some(narrow.subnet));
        let (mac, places) = (Mac([2; 6]), vec![narrow]);
        let link = Link { id: LinkId(1), mac, carrier: true, places, gateways: Vec::new() };
        for (subnet, here) in [("192.0.2.0/23", true), ("192.0.2.128/25", true), ("192.0.3.0/24", false)] {
            assert_eq!(link.is_on(subnet.parse().unwrap()), here, "{subnet}");
        }
    }
}
