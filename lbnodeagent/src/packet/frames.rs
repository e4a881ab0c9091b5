//! Gratuitous ARP and unsolicited neighbour advertisements as Ethernet frames.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::icmpv6::NeighborAdvertisementHeader;
use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType, Icmpv6Type, PacketBuilder};

/// An Ethernet address.
pub type Mac = [u8; 6];

const BROADCAST: Mac = [0xff; 6];
/// The group address of `ff02::1`.
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Neighbour discovery is answered only when no router has passed it on (RFC 4861, 7.1).
const HOP_LIMIT: u8 = 255;

/// The frames that say once that the address is at this interface: for IPv4 an ARP request and an
/// ARP reply, for IPv6 a neighbour advertisement.
///
/// `link_local` is the source of the advertisement; the address itself if there is none.
#[must_use]
pub fn announcement(address: IpAddr, mac: Mac, link_local: Option<Ipv6Addr>) -> Vec<Vec<u8>> {
    let frames = match address {
        IpAddr::V4(address) => vec![
            arp(ArpOperation::REQUEST, address, mac, [0; 6]),
            // Linux clients ignore a reply whose target hardware address is broadcast.
            arp(ArpOperation::REPLY, address, mac, mac),
        ],
        IpAddr::V6(address) => vec![advertisement(address, mac, link_local.unwrap_or(address))],
    };
    frames.into_iter().flatten().collect()
}

/// Sender and target are the address (RFC 5227, 3).
fn arp(operation: ArpOperation, address: Ipv4Addr, mac: Mac, target_mac: Mac) -> Option<Vec<u8>> {
    let ip = address.octets();
    let packet =
        ArpPacket::new(ArpHardwareId::ETHERNET, EtherType::IPV4, operation, &mac, &ip, &target_mac, &ip).ok()?;
    let builder = PacketBuilder::ethernet2(mac, BROADCAST).arp(packet);
    let mut frame = Vec::with_capacity(builder.size());
    builder.write(&mut frame).ok()?;
    Some(frame)
}

/// Override set, solicited and router clear (RFC 4861, 7.2.6).
fn advertisement(address: Ipv6Addr, mac: Mac, source: Ipv6Addr) -> Option<Vec<u8>> {
    let header = NeighborAdvertisementHeader { router: false, solicited: false, r#override: true };
    // Target address, then the option target link-layer address: type 2, length 1 (of 8 bytes).
    let payload = [&address.octets()[..], &[2, 1], &mac].concat();
    let builder = PacketBuilder::ethernet2(mac, ALL_NODES_MAC)
        .ipv6(source.octets(), ALL_NODES.octets(), HOP_LIMIT)
        .icmpv6(Icmpv6Type::NeighborAdvertisement(header));
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, &payload).ok()?;
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
}
