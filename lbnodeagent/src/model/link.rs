//! Network interfaces and the routes through them.

use std::net::{IpAddr, Ipv4Addr};

use api_types::Family;
use ipnetwork::IpNetwork;

/// A network interface.
#[allow(clippy::struct_excessive_bools, reason = "they are the kernel's flags")]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Further names of it (`ip link property add dev NAME altname`).
    pub altnames: Vec<String>,
    /// Set up by the administrator (`IFF_UP`).
    pub up: bool,
    /// The cable is plugged in (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// The bond that it is a port of. Some bonds answer with the addresses of their ports (`balance-alb`).
    pub bond: Option<u32>,
    /// The loopback interface.
    pub loopback: bool,
    /// Uses ARP and neighbour discovery. Dummy interfaces do not: they have the flag `IFF_NOARP`.
    pub resolves: bool,
    /// Its Ethernet address, if it has one.
    pub mac: Option<[u8; 6]>,
}

impl Link {
    /// Whether packets can pass.
    #[must_use]
    pub const fn works(&self) -> bool {
        self.up && self.carrier
    }

    /// Its name, and then its further names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.altnames).map(String::as_str)
    }
}

/// A default route, or one next hop of a default route that has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefaultRoute {
    /// Its family.
    pub family: Family,
    /// Its metric; the lowest one is preferred.
    pub metric: u32,
    /// Number of its routing table.
    pub table: u32,
    /// Index of its interface.
    pub index: u32,
    /// The next hop; nothing if all destinations are on the link.
    pub gateway: Option<IpAddr>,
    /// IPv4: the source address that it gives to packets, if it names one. The kernel drops the route together
    /// with that address.
    pub source: Option<Ipv4Addr>,
}

/// A route of the main table to a network whose hosts are on the link: it has no gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OnLinkRoute {
    /// The network.
    pub network: IpNetwork,
    /// Index of its interface.
    pub index: u32,
    /// Its metric.
    pub metric: u32,
    /// IPv4: the source address that it gives to packets, if it names one.
    pub source: Option<Ipv4Addr>,
    /// The kernel made it, for an address or because a router advertises the prefix. Only IPv6 routes of this kind are
    /// kept.
    pub by_kernel: bool,
}
