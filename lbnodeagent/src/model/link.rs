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
    /// The cable is plugged in (`IFF_LOWER_UP`).
    pub carrier: bool,
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
}

/// A default route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefaultRoute {
    /// Its family.
    pub family: Family,
    /// Its metric; the lowest one is preferred.
    pub metric: u32,
    /// Number of its routing table.
    pub table: u32,
    /// Index of its interface; that of the first next hop, if there are several.
    pub index: u32,
    /// The next hop; nothing if all destinations are on the link.
    pub gateway: Option<IpAddr>,
    /// IPv4: the source address that it gives to packets, if it names one. The kernel drops the route together
    /// with that address.
    pub source: Option<Ipv4Addr>,
}
