//! Messages of the kernel to changes.

use std::net::IpAddr;

use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, Prop};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use runtime::BootTime;

use super::routes;
use crate::model::address::{AddressKey, KernelAddress};
use crate::model::link::Link;
use crate::model::observed::Change;

/// A lifetime that never ends.
const FOREVER: u32 = u32::MAX;

/// Hands the changes that a message reports to `found`: none if it does not matter, several for a route with several
/// next hops.
pub(super) fn changes(message: RouteNetlinkMessage, now: BootTime, mut found: impl FnMut(Change)) {
    match message {
        // Bridges report their ports in messages of their own family.
        RouteNetlinkMessage::NewLink(message) if message.header.interface_family == AddressFamily::Unspec => {
            found(Change::Link(message.header.index, link(message)));
        }
        RouteNetlinkMessage::DelLink(message) if message.header.interface_family == AddressFamily::Unspec => {
            found(Change::NoLink(message.header.index));
        }
        RouteNetlinkMessage::NewAddress(message) => {
            if let Some((key, address)) = address(&message, now) {
                found(Change::Address(key, address));
            }
        }
        RouteNetlinkMessage::DelAddress(message) => {
            if let Some((key, _)) = address(&message, now) {
                found(Change::NoAddress(key));
            }
        }
        RouteNetlinkMessage::NewRoute(message) => routes::changes(&message, false, found),
        RouteNetlinkMessage::DelRoute(message) => routes::changes(&message, true, found),
        _ => {}
    }
}

fn link(message: LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        name: String::new(),
        altnames: Vec::new(),
        // The port of a bond (IFF_SLAVE) is set up only for the bond. Ports of bridges and VRFs do not have
        // the flag.
        up: flags.contains(LinkFlags::Up) && !flags.contains(LinkFlags::Port),
        carrier: flags.contains(LinkFlags::LowerUp),
        bond: None,
        loopback: flags.contains(LinkFlags::Loopback),
        resolves: !flags.contains(LinkFlags::Noarp),
        mac: None,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Controller(index) => link.bond = Some(index).filter(|_| flags.contains(LinkFlags::Port)),
            LinkAttribute::PropList(properties) => link.altnames.extend(properties.into_iter().filter_map(altname)),
            LinkAttribute::Address(bytes) => link.mac = <[u8; 6]>::try_from(bytes.as_slice()).ok(),
            _ => {}
        }
    }
    link
}

fn altname(property: Prop) -> Option<String> {
    match property {
        Prop::AltIfName(name) => Some(name),
        _ => None,
    }
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
    found.usable = !flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed);
    Some((AddressKey { ip, index: message.header.index, prefix_len: message.header.prefix_len }, found))
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
            message.attributes = vec![LinkAttribute::Controller(7)];
            let link = link(message);
            assert_eq!(link.works(), works, "{flags:?}");
            // A port of a bridge answers for nothing.
            assert_eq!(link.bond, Some(7).filter(|_| flags.contains(LinkFlags::Port)), "{flags:?}");
        }
    }
}
