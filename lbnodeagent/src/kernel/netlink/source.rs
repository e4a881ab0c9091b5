//! Which source address the kernel gives to packets that the default route takes.
//!
//! The kernel knows best: its choice depends on the route, on the order in which interfaces were made, and on scopes
//! (`inet_select_addr`, `ipv6_dev_get_saddr`). So it is asked, as `ip route get` does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use api_types::Family;
use netlink_packet_core::{NLM_F_REQUEST, NetlinkPayload};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::error::KernelError;
use super::requests::Kernel;

/// Destinations to which nobody has a route of their own: of the addresses that are reserved for future use (RFC 1112,
/// section 4), and of those that are not given to anybody.
const FAR_V4: Ipv4Addr = Ipv4Addr::new(240, 0, 0, 1);
const FAR_V6: Ipv6Addr = Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 1);

impl Kernel {
    /// The source address of packets of this host that the default route takes; nothing if they cannot be sent.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn default_source(&mut self, family: Family) -> Result<Option<IpAddr>, KernelError> {
        let mut message = RouteMessage::default();
        let (header, destination) = match family {
            Family::V4 => (AddressFamily::Inet, RouteAddress::Inet(FAR_V4)),
            Family::V6 => (AddressFamily::Inet6, RouteAddress::Inet6(FAR_V6)),
        };
        message.header.address_family = header;
        message.header.destination_prefix_length = family.bits();
        message.attributes.push(RouteAttribute::Destination(destination));
        let answer = self.ask(RouteNetlinkMessage::GetRoute(message), NLM_F_REQUEST)?;
        let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) = answer else { return Ok(None) };
        Ok(route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::PrefSource(RouteAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
            RouteAttribute::PrefSource(RouteAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
            _ => None,
        }))
    }
}
