//! The Ethernet frames of ARP (RFC 826) and of IPv6 neighbour discovery (RFC 4861).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{
    ArpEthIpv4Packet, ArpOperation, EtherType, Ethernet2Header, NetSlice, PacketBuilder, SlicedPacket, TransportSlice,
};

use crate::topology::mac::Mac;

const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
const TARGET_LINK_ADDRESS: u8 = 2;
/// Flags of an advertisement: requests for; and: it replaces what was known.
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
/// Neighbour discovery is believed only from the same link (RFC 4861 7.1).
const HOP_LIMIT: u8 = 255;

/// The sender of requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Requester {
    pub(crate) mac: Mac,
    pub(crate) ipv4: Ipv4Addr,
    pub(crate) ipv6: Ipv6Addr,
}

/// What kind of statement it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageKind {
    /// An answer to the requester.
    Answer,
    /// Told to everybody without being requests: a gratuitous ARP or an unsolicited advertisement.
    Announcement,
}

/// A statement that an address belongs to a hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborMessage {
    /// Whether it was sent to the requester, or to everyone.
    pub kind: MessageKind,
    /// The hardware address in it.
    pub mac: Mac,
}

impl Requester {
    /// The frame that asks for `address`.
    pub(crate) fn request(&self, address: IpAddr) -> Vec<u8> {
        match address {
            IpAddr::V4(address) => self.arp_request(address),
            IpAddr::V6(address) => self.solicitation(address),
        }
    }

    fn arp_request(&self, address: Ipv4Addr) -> Vec<u8> {
        let ethernet =
            Ethernet2Header { source: self.mac.0, destination: Mac::BROADCAST.0, ether_type: EtherType::ARP };
        let request = ArpEthIpv4Packet {
            operation: ArpOperation::REQUEST,
            sender_mac: self.mac.0,
            sender_ipv4: self.ipv4.octets(),
            target_mac: [0; 6],
            target_ipv4: address.octets(),
        };
        [&ethernet.to_bytes()[..], &request.to_bytes()[..]].concat()
    }

    fn solicitation(&self, address: Ipv6Addr) -> Vec<u8> {
        let [.., a, b, c] = address.octets();
        let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
        let body = [&address.octets()[..], &[1, 1], &self.mac.0].concat();
        let packet = PacketBuilder::ethernet2(self.mac.0, [0x33, 0x33, 0xff, a, b, c])
            .ipv6(self.ipv6.octets(), group.octets(), HOP_LIMIT)
            .icmpv6_raw(NEIGHBOR_SOLICITATION, 0, [0; 4]);
        let mut frame = Vec::with_capacity(packet.size(body.len()));
        // A vector takes everything, and the packet is far from too long.
        let _ = packet.write(&mut frame, &body);
        frame
    }

    /// The answer to a frame that asks for the requester itself. Hosts verify now and then that an IPv6 neighbour is
    /// still there, and answer no more when it is not; ARP knows no such thing.
    pub(crate) fn reply(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let packet = SlicedPacket::from_ethernet(frame).ok()?;
        let (NetSlice::Ipv6(ip), TransportSlice::Icmpv6(message)) = (packet.net?, packet.transport?) else {
            return None;
        };
        let (target, _) = message.payload().split_at_checked(16)?;
        let for_me = message.type_u8() == NEIGHBOR_SOLICITATION && target == self.ipv6.octets();
        let asks = Mac(frame.get(6..12)?.try_into().ok()?);
        for_me.then(|| self.advertisement(self.ipv6, asks, ip.header().source_addr(), SOLICITED | OVERRIDE))
    }

    /// The frame that announces `address` as the requester's: a gratuitous ARP request or an unsolicited
    /// advertisement.
    pub(crate) fn announcement(&self, address: IpAddr) -> Vec<u8> {
        match address {
            IpAddr::V4(address) => Self { ipv4: address, ..*self }.arp_request(address),
            IpAddr::V6(address) => {
                let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
                self.advertisement(address, Mac([0x33, 0x33, 0, 0, 0, 1]), all_nodes, OVERRIDE)
            }
        }
    }

    fn advertisement(&self, target: Ipv6Addr, to: Mac, destination: Ipv6Addr, flags: u8) -> Vec<u8> {
        let body = [&target.octets()[..], &[TARGET_LINK_ADDRESS, 1], &self.mac.0].concat();
        let packet = PacketBuilder::ethernet2(self.mac.0, to.0)
            .ipv6(target.octets(), destination.octets(), HOP_LIMIT)
            .icmpv6_raw(NEIGHBOR_ADVERTISEMENT, 0, [flags, 0, 0, 0]);
        let mut frame = Vec::with_capacity(packet.size(body.len()));
        // As above.
        let _ = packet.write(&mut frame, &body);
        frame
    }

    /// The statement about `address` in a frame, if there is one.
    pub(crate) fn message(&self, frame: &[u8], address: IpAddr) -> Option<NeighborMessage> {
        let packet = SlicedPacket::from_ethernet(frame).ok()?;
        let destination = frame.get(..6)?;
        let kind = if destination == self.mac.0 { MessageKind::Answer } else { MessageKind::Announcement };
        let mac = match (packet.net.as_ref()?, address) {
            (NetSlice::Arp(arp), IpAddr::V4(address)) => {
                let arp = arp.to_packet().try_eth_ipv4().ok()?;
                let answers = kind == MessageKind::Answer && arp.operation == ArpOperation::REPLY;
                // Gratuitous: sender and target are the same address.
                let announces = kind == MessageKind::Announcement && arp.target_ipv4_addr() == address;
                (arp.sender_ipv4_addr() == address && (answers || announces)).then_some(Mac(arp.sender_mac))?
            }
            (NetSlice::Ipv6(ip), IpAddr::V6(address)) => {
                let TransportSlice::Icmpv6(message) = packet.transport.as_ref()? else { return None };
                let from_this_link = ip.header().hop_limit() == HOP_LIMIT;
                (from_this_link && message.type_u8() == NEIGHBOR_ADVERTISEMENT).then_some(())?;
                let (target, options) = message.payload().split_at_checked(16)?;
                (target == address.octets()).then_some(())?;
                link_address(options).unwrap_or(Mac(frame.get(6..12)?.try_into().ok()?))
            }
            _ => return None,
        };
        (mac != self.mac).then_some(NeighborMessage { kind, mac })
    }
}

/// The option with the hardware address, among the options of an advertisement.
fn link_address(mut options: &[u8]) -> Option<Mac> {
    while let [kind, units, ..] = options {
        let (option, rest) = options.split_at_checked(usize::from(*units) * 8)?;
        if *kind == TARGET_LINK_ADDRESS {
            return Some(Mac(option.get(2..8)?.try_into().ok()?));
        }
        // An option without length would be read for ever.
        (*units > 0).then_some(())?;
        options = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUESTER: Requester = Requester {
        mac: Mac([2, 0, 0, 0, 0x50, 99]),
        ipv4: Ipv4Addr::new(192, 168, 50, 99),
        ipv6: Ipv6Addr::new(0xfd00, 0x50, 0, 0, 0, 0, 0, 0x99),
    };
    const NODE: Mac = Mac([2, 0, 0, 0, 0x50, 11]);
    const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 50, 200));
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x50, 0, 0, 0, 0, 0x12, 0x3456));

    fn arp(operation: ArpOperation, destination: Mac, target: [u8; 4]) -> Vec<u8> {
        let ethernet = Ethernet2Header { source: NODE.0, destination: destination.0, ether_type: EtherType::ARP };
        let packet = ArpEthIpv4Packet {
            operation,
            sender_mac: NODE.0,
            sender_ipv4: [192, 168, 50, 200],
            target_mac: destination.0,
            target_ipv4: target,
        };
        [&ethernet.to_bytes()[..], &packet.to_bytes()[..]].concat()
    }

    fn advertisement(destination: Mac, hop_limit: u8, options: &[u8]) -> Vec<u8> {
        let IpAddr::V6(target) = V6 else { unreachable!() };
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(NODE.0, destination.0)
            .ipv6(target.octets(), REQUESTER.ipv6.octets(), hop_limit)
            .icmpv6_raw(NEIGHBOR_ADVERTISEMENT, 0, [0x60, 0, 0, 0])
            .write(&mut frame, &[&target.octets()[..], options].concat())
            .unwrap();
        frame
    }

    #[test]
    fn the_questions_are_those_of_the_standards() {
        let request = REQUESTER.request(V4);
        assert_eq!(request.len(), 42);
        assert_eq!(request[..6], [0xff; 6]);
        assert_eq!(request[12..22], [8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        let solicitation = REQUESTER.request(V6);
        assert_eq!(solicitation[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        assert_eq!(solicitation.len(), 14 + 40 + 32);
        assert_eq!((solicitation[14 + 7], solicitation[54]), (255, 135));
    }

    #[test]
    fn an_answer_and_an_announcement_are_told_apart() {
        let messages = |kind| Some(NeighborMessage { kind, mac: NODE });
        let requester = REQUESTER.ipv4.octets();
        assert_eq!(
            REQUESTER.message(&arp(ArpOperation::REPLY, REQUESTER.mac, requester), V4),
            messages(MessageKind::Answer)
        );
        for operation in [ArpOperation::REQUEST, ArpOperation::REPLY] {
            let gratuitous = arp(operation, Mac::BROADCAST, [192, 168, 50, 200]);
            assert_eq!(REQUESTER.message(&gratuitous, V4), messages(MessageKind::Announcement));
        }
        let option = [&[2, 1][..], &NODE.0].concat();
        assert_eq!(REQUESTER.message(&advertisement(REQUESTER.mac, 255, &option), V6), messages(MessageKind::Answer));
        let all_nodes = Mac([0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(REQUESTER.message(&advertisement(all_nodes, 255, &option), V6), messages(MessageKind::Announcement));
    }

    #[test]
    fn other_frames_say_nothing() {
        let other = IpAddr::V4(Ipv4Addr::new(192, 168, 50, 201));
        assert_eq!(REQUESTER.message(&arp(ArpOperation::REPLY, REQUESTER.mac, REQUESTER.ipv4.octets()), other), None);
        // The host with the address asks for another one.
        assert_eq!(REQUESTER.message(&arp(ArpOperation::REQUEST, Mac::BROADCAST, [192, 168, 50, 1]), V4), None);
        assert_eq!(REQUESTER.message(&REQUESTER.request(V4), V4), None);
        assert_eq!(REQUESTER.message(&REQUESTER.request(V6), V6), None);
        assert_eq!(REQUESTER.message(&advertisement(REQUESTER.mac, 64, &[]), V6), None);
        assert_eq!(REQUESTER.message(&[0; 10], V4), None);
    }

    #[test]
    fn the_asker_answers_for_itself_and_announces_what_it_is_told() {
        let other = Requester { mac: NODE, ipv6: "fd00:50::11".parse().unwrap(), ..REQUESTER };
        let answer = REQUESTER.reply(&other.request(REQUESTER.ipv6.into())).unwrap();
        let messages = |kind| Some(NeighborMessage { kind, mac: REQUESTER.mac });
        assert_eq!(other.message(&answer, REQUESTER.ipv6.into()), messages(MessageKind::Answer));
        assert_eq!(REQUESTER.reply(&other.request(V6)), None);
        for address in [V4, V6] {
            assert_eq!(other.message(&REQUESTER.announcement(address), address), messages(MessageKind::Announcement));
        }
    }

    #[test]
    fn odd_options_are_survived() {
        for options in [&[][..], &[2], &[2, 0, 1, 2], &[1, 0], &[2, 9, 0, 0, 0, 0, 0, 0]] {
            let messages = REQUESTER.message(&advertisement(REQUESTER.mac, 255, options), V6);
            // The frame's own source has to do then.
            assert_eq!(messages, Some(NeighborMessage { kind: MessageKind::Answer, mac: NODE }), "{options:?}");
        }
    }
}
