//! Messages of the kernel to changes.

use std::net::IpAddr;

use api_types::Family;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType, RouteVia};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use runtime::BootTime;

use crate::model::address::{AddressKey, KernelAddress};
use crate::model::link::{DefaultRoute, Link};
use crate::model::observed::Change;

/// A lifetime that never ends.
const FOREVER: u32 = u32::MAX;

/// The change that a message reports; nothing if it does not matter.
pub(super) fn change(message: RouteNetlinkMessage, now: BootTime) -> Option<Change> {
    match message {
        // Bridges report their ports in messages of their own family.
        RouteNetlinkMessage::NewLink(message) if message.header.interface_family == AddressFamily::Unspec => {
            Some(Change::Link(message.header.index, link(message)))
        }
        RouteNetlinkMessage::DelLink(message) if message.header.interface_family == AddressFamily::Unspec => {
            Some(Change::NoLink(message.header.index))
        }
        RouteNetlinkMessage::NewAddress(message) => {
            address(&message, now).map(|(key, address)| Change::Address(key, address))
        }
        RouteNetlinkMessage::DelAddress(message) => address(&message, now).map(|(key, _)| Change::NoAddress(key)),
        RouteNetlinkMessage::NewRoute(message) => default_route(&message).map(Change::Route),
        RouteNetlinkMessage::DelRoute(message) => default_route(&message).map(Change::NoRoute),
        _ => None,
    }
}

fn link(message: LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        name: String::new(),
        // The port of a bond (IFF_SLAVE) is set up only for the bond. Ports of bridges and VRFs do not have
        // the flag.
        up: flags.contains(LinkFlags::Up) && !flags.contains(LinkFlags::Port),
        carrier: flags.contains(LinkFlags::LowerUp),
        loopback: flags.contains(LinkFlags::Loopback),
        resolves: !flags.contains(LinkFlags::Noarp),
        mac: None,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(bytes) => link.mac = <[u8; 6]>::try_from(bytes.as_slice()).ok(),
            _ => {}
        }
    }
    link
}

fn address(message: &AddressMessage, now: BootTime) -> Option<(AddressKey, KernelAddress)> {
    let (mut local, mut peer) = (None, None);
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    let mut found = KernelAddress {
        mark: None,
        valid: None,
        preferred: None,
        seen: now,
        secondary: false,
        no_prefix_route: false,
        usable: true,
        scope: message.header.scope.into(),
        broadcast: None,
        label: None,
    };
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(ip) => peer = Some(*ip),
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Flags(all) => flags = *all,
            AddressAttribute::Protocol(mark) => found.mark = Some(u8::from(*mark)).filter(|mark| *mark != 0),
            AddressAttribute::Broadcast(ip) => found.broadcast = Some(*ip),
            // An address without a label has the name of its interface as the label.
            AddressAttribute::Label(label) if label.contains(':') => found.label = Some(label.as_str().into()),
            AddressAttribute::CacheInfo(info) => {
                let finite = |seconds: u32| Some(seconds).filter(|seconds| *seconds != FOREVER);
                (found.valid, found.preferred) = (finite(info.ifa_valid), finite(info.ifa_preferred));
            }
            _ => {}
        }
    }
    // On point-to-point links IFA_ADDRESS is the other end.
    let ip: IpAddr = local.or(peer)?;
    let ipv6 = ip.is_ipv6();
    // For IPv6 the bit has another meaning: a temporary address (IFA_F_TEMPORARY).
    found.secondary = !ipv6 && flags.contains(AddressFlags::Secondary);
    found.no_prefix_route = flags.contains(AddressFlags::Noprefixroute);
    found.usable = !flags.intersects(AddressFlags::Tentative | AddressFlags::Deprecated | AddressFlags::Dadfailed);
    Some((AddressKey { ip, index: message.header.index, prefix_len: message.header.prefix_len }, found))
}

fn default_route(message: &RouteMessage) -> Option<DefaultRoute> {
    let header = &message.header;
    let family = match header.address_family {
        AddressFamily::Inet => Family::V4,
        AddressFamily::Inet6 => Family::V6,
        _ => return None,
    };
    if header.destination_prefix_length != 0 || header.kind != RouteType::Unicast {
        return None;
    }
    let (mut metric, mut table, mut index, mut via) = (0, u32::from(header.table), None, None);
    let mut source = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Oif(number) => index = Some(*number),
            RouteAttribute::PrefSource(RouteAddress::Inet(ip)) => source = Some(*ip),
            RouteAttribute::MultiPath(hops) => {
                let Some(hop) = hops.first() else { continue };
                index = index.or(Some(hop.interface_index));
                via = via.or_else(|| hop.attributes.iter().find_map(gateway));
            }
            other => via = via.or_else(|| gateway(other)),
        }
    }
    Some(DefaultRoute { family, metric, table, index: index?, gateway: via, source })
}

/// The next hop. That of an IPv4 route may be an IPv6 address (`RTA_VIA`, RFC 5549).
const fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(ip)) | RouteAttribute::Via(RouteVia::Inet(ip)) => {
            Some(IpAddr::V4(*ip))
        }
        RouteAttribute::Gateway(RouteAddress::Inet6(ip)) | RouteAttribute::Via(RouteVia::Inet6(ip)) => {
            Some(IpAddr::V6(*ip))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_a_bond_is_not_up_for_itself() {
        let up = LinkFlags::Up | LinkFlags::LowerUp;
        for (flags, works) in [(up, true), (up | LinkFlags::Port, false), (up | LinkFlags::Controller, true)] {
            let mut message = LinkMessage::default();
            message.header.flags = flags;
            assert_eq!(link(message).works(), works, "{flags:?}");
        }
    }
}
