//! The hosts of a cluster, their names and their addresses.
//!
//! | host | node LAN (switch) | behind the router |
//! |---|---|---|
//! | router | 192.168.50.1, fd00:50::1 | 192.168.60.1, fd00:60::1 |
//! | control plane | 192.168.50.10, fd00:50::10 | |
//! | node N | 192.168.50.(10+N), fd00:50::(10+N) | |
//! | client | 192.168.50.99, fd00:50::99 | 192.168.60.99, fd00:60::99 |
//! | sender of the client's ARP and neighbour requests | 192.168.50.98, fd00:50::98 | |

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use api_types::Family;
use serde::{Deserialize, Serialize};

use crate::{
    base::error::{Error, Result},
    topology::mac::Mac,
};

/// The most nodes a cluster may have; their last address octet stays below the client's.
pub const MOST_NODES: u8 = 50;

/// One host of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HostId {
    /// The bridge all others are plugged into.
    Switch,
    /// etcd, API server, controller manager, scheduler.
    Control,
    /// The top-of-rack router, the nodes' default gateway and BGP peer.
    Router,
    /// A machine on the node LAN and, with another leg, behind the router.
    Client,
    /// A Kubernetes node, counted from 1.
    Node(u8),
}

impl HostId {
    /// The hosts of a cluster with `nodes` nodes; the switch is first.
    pub fn all(nodes: u8) -> impl Iterator<Item = Self> {
        [Self::Switch, Self::Control, Self::Router, Self::Client].into_iter().chain((1..=nodes).map(Self::Node))
    }

    /// The last octet of the address on the node LAN. The switch has no address.
    fn number(self) -> Option<u8> {
        match self {
            Self::Switch => None,
            Self::Router => Some(1),
            Self::Control => Some(10),
            Self::Client => Some(99),
            Self::Node(number) => number.checked_add(10),
        }
    }

    /// The IPv4 address on the node LAN; unspecified for the switch.
    #[must_use]
    pub fn ipv4(self) -> Ipv4Addr {
        self.number().map_or(Ipv4Addr::UNSPECIFIED, |number| Ipv4Addr::new(192, 168, 50, number))
    }

    /// The IPv6 address on the node LAN; unspecified for the switch.
    #[must_use]
    pub fn ipv6(self) -> Ipv6Addr {
        self.number().map_or(Ipv6Addr::UNSPECIFIED, |number| {
            Ipv6Addr::new(0xfd00, 0x50, 0, 0, 0, 0, 0, decimal_as_hexadecimal(number))
        })
    }

    /// The address of this family on the node LAN; unspecified for the switch.
    #[must_use]
    pub fn address(self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.ipv4().into(),
            Family::V6 => self.ipv6().into(),
        }
    }

    /// The hardware address of `eth0`, the interface on the node LAN. It is the same after each start.
    #[must_use]
    pub fn mac(self) -> Mac {
        Mac([2, 0, 0, 0, 0x50, self.number().unwrap_or_default()])
    }
}

/// 42 becomes 0x42, so that `fd00:50::42` goes with `192.168.50.42`.
fn decimal_as_hexadecimal(number: u8) -> u16 {
    let number = u16::from(number);
    ((number / 100) << 8) | ((number / 10 % 10) << 4) | (number % 10)
}

impl fmt::Display for HostId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch => formatter.write_str("switch"),
            Self::Control => formatter.write_str("control"),
            Self::Router => formatter.write_str("router"),
            Self::Client => formatter.write_str("client"),
            Self::Node(number) => write!(formatter, "node{number}"),
        }
    }
}

impl FromStr for HostId {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "switch" => Ok(Self::Switch),
            "control" | "control-plane" => Ok(Self::Control),
            "router" => Ok(Self::Router),
            "client" => Ok(Self::Client),
            _ => name
                .strip_prefix("node")
                .and_then(|number| number.parse().ok())
                .filter(|number| (1..=MOST_NODES).contains(number))
                .map(Self::Node)
                .ok_or_else(|| {
                    Error::Refused(format!(
                        "no host {name}: there are node1, node2, ..., router, client, control-plane, switch"
                    ))
                }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_families_show_the_same_number() {
        assert_eq!(HostId::Node(3).ipv4().to_string(), "192.168.50.13");
        assert_eq!(HostId::Node(3).ipv6().to_string(), "fd00:50::13");
        assert_eq!(HostId::Node(30).ipv6().to_string(), "fd00:50::40");
        assert_eq!(HostId::Client.ipv6().to_string(), "fd00:50::99");
    }

    #[test]
    fn names_are_read_back() {
        for host in HostId::all(12) {
            assert_eq!(host.to_string().parse::<HostId>().unwrap(), host);
        }
        assert_eq!("control-plane".parse::<HostId>().unwrap(), HostId::Control);
        for name in ["node0", "node51", "node", "nodex", "printer"] {
            name.parse::<HostId>().unwrap_err();
        }
    }
}
