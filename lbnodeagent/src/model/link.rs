//! Network interfaces and the default routes through them.

use std::net::{IpAddr, Ipv4Addr};

use api_types::Family;

/// A network interface.
#[allow(clippy::struct_excessive_bools, reason = "they are the kernel's flags")]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Set up by the administrator (`IFF_UP`).
    pub up: bool,
    /// The cable is in (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// The loopback interface.
    pub loopback: bool,
    /// Asks and answers by ARP and neighbour discovery: no `IFF_NOARP`, which dummy interfaces have.
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
}

/// A route to everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefaultRoute {
    /// Its family.
    pub family: Family,
    /// The lowest metric wins.
    pub metric: u32,
    /// Number of its routing table.
    pub table: u32,
    /// Index of its interface; of a route with several next hops, of the first.
    pub index: u32,
    /// The next hop there; nothing if the network itself is on the link.
    pub gateway: Option<IpAddr>,
    /// IPv4: the source address that it gives to packets, if it says so. It does not outlive that address.
    pub source: Option<Ipv4Addr>,
}
