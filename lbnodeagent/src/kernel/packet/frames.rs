//! Our announcements and questions as Ethernet frames: ARP for IPv4, neighbour discovery for IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::icmpv6::NeighborAdvertisementHeader;
use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType, Icmpv6Type, PacketBuilder};

/// An Ethernet address.
pub type Mac = [u8; 6];

const BROADCAST: Mac = [0xff; 6];
/// The group address of `ff02::1`.
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Hosts answer neighbour discovery only if no router has forwarded it (RFC 4861, 7.1).
pub(super) const HOP_LIMIT: u8 = 255;

/// The frames of one announcement that the address is at this interface: for IPv4 an ARP request and an ARP reply,
/// for IPv6 a neighbour advertisement.
///
/// `link_local` is the source of the advertisement. Without it the source is the address itself.
#[must_use]
pub fn announcement(address: IpAddr, mac: Mac, link_local: Option<Ipv6Addr>) -> Vec<Vec<u8>> {
    let frames = match address {
        IpAddr::V4(ip) => vec![
            // Sender and target are the address (RFC 5227, 3).
            arp(ArpOperation::REQUEST, (mac, ip), ([0; 6], ip), BROADCAST),
            // Linux clients ignore a reply whose target hardware address is broadcast.
            arp(ArpOperation::REPLY, (mac, ip), (mac, ip), BROADCAST),
        ],
        IpAddr::V6(address) => vec![advertisement(address, mac, link_local.unwrap_or(address))],
    };
    frames.into_iter().flatten().collect()
}

/// A probe: asks whether any host has the address, without claiming it. For IPv4 it is an ARP probe (RFC 5227,
/// 2.1.1), for IPv6 a neighbour solicitation from `source`, an own address.
///
/// There is none for IPv6 without such a source. The unspecified address would make it a duplicate address
/// detection (RFC 4862, 5.4.3), on which the kernel of a holder removes an address with a finite lifetime. With
/// `to` only the host with that hardware address is asked, unless it is not the address of one host.
#[must_use]
pub fn probe(target: IpAddr, mac: Mac, source: Option<Ipv6Addr>, to: Option<Mac>) -> Option<Vec<u8>> {
    match target {
        IpAddr::V4(target) => request(target, mac, Ipv4Addr::UNSPECIFIED, to),
        // To the group even if one host is asked: a router that does not have the address any more would
        // forward a packet that is addressed to it.
        IpAddr::V6(target) => solicitation(target, mac, source?, solicited_node(target), to),
    }
}

/// Asks as an ordinary neighbour whether a host is there: an ARP request or a neighbour solicitation from `source`,
/// an own address of the same family. With `to` only the host with that hardware address is asked, as by a host
/// that checks its cache (RFC 1122, 2.3.2.1; RFC 4861, 7.3.3).
#[must_use]
pub fn reach(target: IpAddr, mac: Mac, source: IpAddr, to: Option<Mac>) -> Option<Vec<u8>> {
    match (target, source) {
        (IpAddr::V4(_), IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => None,
        (IpAddr::V4(target), IpAddr::V4(source)) => request(target, mac, source, to),
        (IpAddr::V6(target), IpAddr::V6(source)) => {
            let group = if one_host(to).is_some() { target } else { solicited_node(target) };
            solicitation(target, mac, source, group, to)
        }
        _ => None,
    }
}

/// The group on which a holder of the address receives questions for it (RFC 4291, 2.7.1).
#[must_use]
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// The Ethernet group of an IPv6 group (RFC 2464, 7).
const fn group_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}

/// Whether it is the hardware address of one host: neither a group nor zero.
pub(super) fn is_host(mac: Mac) -> bool {
    mac[0] & 1 == 0 && mac != [0; 6]
}

fn one_host(to: Option<Mac>) -> Option<Mac> {
    to.filter(|mac| is_host(*mac))
}

fn request(target: Ipv4Addr, mac: Mac, source: Ipv4Addr, to: Option<Mac>) -> Option<Vec<u8>> {
    if target.is_unspecified() || target.is_multicast() || target.is_broadcast() {
        return None;
    }
    // The hardware address of the target is not known (RFC 5227, 2.1.1).
    arp(ArpOperation::REQUEST, (mac, source), ([0; 6], target), one_host(to).unwrap_or(BROADCAST))
}

fn arp(
    operation: ArpOperation,
    (mac, sender): (Mac, Ipv4Addr),
    (target_mac, target): (Mac, Ipv4Addr),
    destination: Mac,
) -> Option<Vec<u8>> {
    let (sender, target) = (sender.octets(), target.octets());
    let ethernet = ArpHardwareId::ETHERNET;
    let packet = ArpPacket::new(ethernet, EtherType::IPV4, operation, &mac, &sender, &target_mac, &target).ok()?;
    let builder = PacketBuilder::ethernet2(mac, destination).arp(packet);
    let mut frame = Vec::with_capacity(builder.size());
    builder.write(&mut frame).ok()?;
    Some(frame)
}

/// From an own address, with its hardware address as an option (RFC 4861, 4.3).
fn solicitation(
    target: Ipv6Addr,
    mac: Mac,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    to: Option<Mac>,
) -> Option<Vec<u8>> {
    let unusable = |address: Ipv6Addr| address.is_unspecified() || address.is_multicast();
    if unusable(target) || unusable(source) {
        return None;
    }
    let ethernet = one_host(to).unwrap_or(group_mac(destination));
    // Target address, then the option source link-layer address: type 1, length 1 (of 8 bytes).
    let payload = [&target.octets()[..], &[1, 1], &mac].concat();
    neighbour(Icmpv6Type::NeighborSolicitation, (mac, source), (ethernet, destination), &payload)
}

/// Override set, solicited and router clear (RFC 4861, 7.2.6).
fn advertisement(address: Ipv6Addr, mac: Mac, source: Ipv6Addr) -> Option<Vec<u8>> {
    let header = NeighborAdvertisementHeader { router: false, solicited: false, r#override: true };
    // Target address, then the option target link-layer address: type 2, length 1 (of 8 bytes).
    let payload = [&address.octets()[..], &[2, 1], &mac].concat();
    neighbour(Icmpv6Type::NeighborAdvertisement(header), (mac, source), (ALL_NODES_MAC, ALL_NODES), &payload)
}

fn neighbour(kind: Icmpv6Type, from: (Mac, Ipv6Addr), to: (Mac, Ipv6Addr), payload: &[u8]) -> Option<Vec<u8>> {
    let builder = PacketBuilder::ethernet2(from.0, to.0).ipv6(from.1.octets(), to.1.octets(), HOP_LIMIT).icmpv6(kind);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).ok()?;
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 9];

    fn hex(frame: &[u8]) -> String {
        frame.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    #[test]
    fn gratuitous_arp() {
        let frames = announcement("192.0.2.1".parse().unwrap(), MAC, None);
        let ethernet = "ffffffffffff0200000000090806";
        assert_eq!(hex(&frames[0]), format!("{ethernet}0001080006040001020000000009c0000201000000000000c0000201"));
        assert_eq!(hex(&frames[1]), format!("{ethernet}0001080006040002020000000009c0000201020000000009c0000201"));
        assert_eq!(frames.len(), 2);
    }

    #[test]
    fn unsolicited_neighbour_advertisement() {
        let frames = announcement("2001:db8::1".parse().unwrap(), MAC, Some("fe80::9".parse().unwrap()));
        let frame = &frames[0];
        let sliced = etherparse::SlicedPacket::from_ethernet(frame).unwrap();
        let Some(etherparse::TransportSlice::Icmpv6(icmp)) = sliced.transport else { panic!("no ICMPv6") };
        assert!(
            matches!(icmp.icmp_type(), Icmpv6Type::NeighborAdvertisement(header) if header.r#override && !header.solicited)
        );
        assert!(icmp.is_checksum_valid("fe80::9".parse::<Ipv6Addr>().unwrap().octets(), ALL_NODES.octets()));
        assert_eq!(frame[21], HOP_LIMIT);
        assert_eq!(hex(&frame[54..]), format!("88{}", &hex(&frame[55..])));
        assert!(hex(frame).ends_with("20010db80000000000000000000000010201020000000009"));
    }

    #[test]
    fn questions_of_ipv4() {
        let target: IpAddr = "192.0.2.1".parse().unwrap();
        let to = [2, 0, 0, 0, 0, 7];
        let asked = probe(target, MAC, None, None).unwrap();
        assert_eq!(hex(&asked), "ffffffffffff0200000000090806000108000604000102000000000900000000000000000000c0000201");
        let asked = reach(target, MAC, "192.0.2.9".parse().unwrap(), Some(to)).unwrap();
        assert_eq!(hex(&asked), "02000000000702000000000908060001080006040001020000000009c0000209000000000000c0000201");
        // A group is nobody's hardware address.
        assert_eq!(probe(target, MAC, None, Some(BROADCAST)), probe(target, MAC, None, None));
    }

    #[test]
    fn questions_of_ipv6() {
        let target: IpAddr = "2001:db8::1:2:3".parse().unwrap();
        let source: Ipv6Addr = "fe80::9".parse().unwrap();
        let asked = probe(target, MAC, Some(source), None).unwrap();
        let group = "ff0200000000000000000001ff020003";
        assert!(hex(&asked).starts_with("3333ff02000302000000000986dd6000000000203afffe80"));
        assert!(hex(&asked).contains(&format!("{group}8700")));
        assert!(hex(&asked).ends_with("20010db80000000000000001000200030101020000000009"));
        let to = [2, 0, 0, 0, 0, 7];
        let alone = probe(target, MAC, Some(source), Some(to)).unwrap();
        assert_eq!(alone[..6], to);
        assert_eq!(alone[6..], asked[6..]);
        // To a neighbour whose hardware address is known: the address itself.
        let reached = reach(target, MAC, source.into(), Some(to)).unwrap();
        assert!(hex(&reached[38..]).starts_with("20010db80000000000000001000200038700"));
        assert_eq!(reach(target, MAC, source.into(), None).unwrap(), asked);
    }

    #[test]
    fn what_cannot_be_asked() {
        let (v4, v6): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        assert_eq!(probe(v6, MAC, None, None), None);
        assert_eq!(probe(v6, MAC, Some(Ipv6Addr::UNSPECIFIED), None), None);
        assert_eq!(probe("0.0.0.0".parse().unwrap(), MAC, None, None), None);
        assert_eq!(reach(v4, MAC, v6, None), None);
        assert_eq!(reach(v6, MAC, v4, None), None);
        assert_eq!(reach(v4, MAC, "0.0.0.0".parse().unwrap(), None), None);
        assert_eq!(reach(v6, MAC, "::".parse().unwrap(), None), None);
    }
}
