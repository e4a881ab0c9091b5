//! Messages about routes to changes: default routes, and on-link routes of the main table.

use std::net::{IpAddr, Ipv4Addr};

use api_types::Family;
use ipnetwork::IpNetwork;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteType, RouteVia};

use crate::model::link::{DefaultRoute, OnLinkRoute};
use crate::model::network::counts;
use crate::model::observed::Change;

/// `RT_TABLE_MAIN`.
const MAIN: u32 = 254;

/// What the attributes of a route say.
#[derive(Default)]
struct Attributes {
    metric: u32,
    table: u32,
    destination: Option<IpAddr>,
    source: Option<Ipv4Addr>,
    /// Its next hops: interface and gateway. A nexthop object appears here as well, unless
    /// `net.ipv4.nexthop_compat_mode` is 0.
    hops: Vec<(u32, Option<IpAddr>)>,
    /// It leads into a tunnel.
    encapsulated: bool,
}

/// Hands the changes that a message about a route reports to `found`; `gone` says that the route was deleted.
pub(super) fn changes(message: &RouteMessage, gone: bool, mut found: impl FnMut(Change)) {
    let header = &message.header;
    let family = match header.address_family {
        AddressFamily::Inet => Family::V4,
        AddressFamily::Inet6 => Family::V6,
        _ => return,
    };
    if header.kind != RouteType::Unicast {
        return;
    }
    if header.destination_prefix_length == 0 {
        let Attributes { metric, table, source, hops, .. } = attributes(message);
        for (index, gateway) in hops {
            let route = DefaultRoute { family, metric, table, index, gateway, source };
            found(if gone { Change::NoRoute(route) } else { Change::Route(route) });
        }
    } else if let Some(route) = on_link(message, family) {
        found(if gone { Change::NoOnLink(route) } else { Change::OnLink(route) });
    }
}

/// An on-link route that may make its interface part of a network.
///
/// Host routes do not: a node has one for each of its pods. Routes that the kernel makes for IPv4 addresses do not
/// either, because the addresses say the same, and so do ours. An IPv6 route that the kernel made may be that of a
/// prefix which a router advertises, and no address says that.
fn on_link(message: &RouteMessage, family: Family) -> Option<OnLinkRoute> {
    let header = &message.header;
    let by_kernel = header.protocol == RouteProtocol::Kernel;
    if header.destination_prefix_length >= family.bits() || by_kernel && family == Family::V4 {
        return None;
    }
    let Attributes { metric, table, destination, source, hops, encapsulated } = attributes(message);
    let [(index, None)] = hops.as_slice() else { return None };
    let network = IpNetwork::new(destination?, header.destination_prefix_length).ok()?;
    (table == MAIN && !encapsulated && counts(network)).then_some(OnLinkRoute {
        network,
        index: *index,
        metric,
        source,
        by_kernel,
    })
}

fn attributes(message: &RouteMessage) -> Attributes {
    let mut found = Attributes { table: u32::from(message.header.table), ..Attributes::default() };
    let (mut index, mut via) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Priority(priority) => found.metric = *priority,
            RouteAttribute::Table(number) => found.table = *number,
            RouteAttribute::Oif(number) => index = Some(*number),
            RouteAttribute::PrefSource(RouteAddress::Inet(ip)) => found.source = Some(*ip),
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => found.destination = Some(IpAddr::V4(*ip)),
            RouteAttribute::Destination(RouteAddress::Inet6(ip)) => found.destination = Some(IpAddr::V6(*ip)),
            RouteAttribute::Encap(_) | RouteAttribute::EncapType(_) => found.encapsulated = true,
            RouteAttribute::MultiPath(hops) => {
                let hop = hops.iter().map(|hop| (hop.interface_index, hop.attributes.iter().find_map(gateway)));
                found.hops.extend(hop);
            }
            other => via = via.or_else(|| gateway(other)),
        }
    }
    if found.hops.is_empty() {
        found.hops.extend(index.map(|index| (index, via)));
    }
    found
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
