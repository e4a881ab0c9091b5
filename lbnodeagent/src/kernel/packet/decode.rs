//! The meaning of other hosts' frames: ARP and neighbour discovery, decoded as strictly as the kernel does.
//!
//! | Frame | Meaning |
//! |---|---|
//! | ARP reply, solicited advertisement, to our MAC | [`NeighborFrame::Reply`] |
//! | every other reply and advertisement, ARP request for the sender's own address | [`NeighborFrame::Announcement`] |
//! | ARP request, neighbour solicitation | [`NeighborFrame::Request`], without sender if the target is wanted for itself |
//!
//! An ordinary request of a client for an address is a question. The client does not contend for the target. The
//! request also shows where the client's own address is, and the listener reports that too. A request from an
//! address for itself shows nothing else.
//!
//! Frames with a VLAN tag belong to another link and have another Ethernet type, so they are ignored. So are
//! messages behind IPv6 extension headers, which no host uses in neighbour discovery (RFC 6980 forbids fragments,
//! the only ones that would matter).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ::ownership::NeighborFrame;
use etherparse::Icmpv6Slice;

use super::frames::{HOP_LIMIT, Mac, is_host};

const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
/// Ethernet and IPv4, with addresses of 6 and 4 bytes (RFC 826).
const ARP_OF_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Options with the hardware address of the source, and of the target (RFC 4861, 4.6.1).
const SOURCE: u8 = 1;
const TARGET: u8 = 2;

/// The sender's hardware address of an Ethernet frame, and the frame's meaning; nothing if the frame is damaged or
/// is not about addresses. The hardware address is that of the ARP or ND message, because other hosts cache that
/// one; an ND message without one has the frame's. `own` is the hardware address of the receiving interface.
#[must_use]
pub fn decode(frame: &[u8], own: Mac) -> Option<(Mac, NeighborFrame)> {
    let (destination, rest) = frame.split_first_chunk::<6>()?;
    let (source, rest) = rest.split_first_chunk::<6>()?;
    let (kind, payload) = rest.split_first_chunk::<2>()?;
    if !is_host(*source) {
        return None;
    }
    let to_us = *destination == own;
    match u16::from_be_bytes(*kind) {
        ARP => arp(payload, to_us),
        IPV6 => neighbour(payload, *source, to_us),
        _ => None,
    }
}

/// ARP (RFC 826, RFC 5227). Padding may follow.
fn arp(packet: &[u8], to_us: bool) -> Option<(Mac, NeighborFrame)> {
    let rest = packet.strip_prefix(&ARP_OF_IPV4)?;
    let (operation, rest) = rest.split_first_chunk::<2>()?;
    let (mac, rest) = rest.split_first_chunk::<6>()?;
    let (sender, rest) = rest.split_first_chunk::<4>()?;
    let (_, rest) = rest.split_first_chunk::<6>()?;
    let (target, _) = rest.split_first_chunk::<4>()?;
    let (sender, target) = (Ipv4Addr::from(*sender), Ipv4Addr::from(*target));
    let nobody = sender.is_unspecified();
    if !is_host(*mac) || !(nobody || is_host_v4(sender)) {
        return None;
    }
    let frame = match u16::from_be_bytes(*operation) {
        1 if !is_host_v4(target) => return None,
        1 if nobody => NeighborFrame::Request { target: target.into(), sender: None },
        1 if sender == target => NeighborFrame::Announcement(sender.into()),
        1 => NeighborFrame::Request { target: target.into(), sender: Some(sender.into()) },
        2 if nobody => return None,
        2 if to_us && sender != target => NeighborFrame::Reply(sender.into()),
        2 => NeighborFrame::Announcement(sender.into()),
        _ => return None,
    };
    Some((*mac, frame))
}

/// Neighbour discovery (RFC 4861, 7.1.1 and 7.1.2).
fn neighbour(packet: &[u8], ethernet: Mac, to_us: bool) -> Option<(Mac, NeighborFrame)> {
    let ([first, _, _, _, length @ .., ICMPV6, HOP_LIMIT], rest) = packet.split_first_chunk::<8>()? else {
        return None;
    };
    if first >> 4 != 6 {
        return None;
    }
    let (source, rest) = rest.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    // Padding may follow.
    let message = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
    let icmp = Icmpv6Slice::from_slice(message).ok()?;
    if icmp.code_u8() != 0 || !icmp.is_checksum_valid(*source, *destination) {
        return None;
    }
    let flags = icmp.bytes5to8()[0];
    let (target, options) = icmp.payload().split_first_chunk::<16>()?;
    let (source, destination) = (Ipv6Addr::from(*source), Ipv6Addr::from(*destination));
    let target = Ipv6Addr::from(*target);
    if !is_host_v6(target) || source.is_multicast() {
        return None;
    }
    match icmp.type_u8() {
        SOLICITATION => {
            let mac = hardware_address(options, SOURCE)?;
            let nobody = source.is_unspecified();
            // Duplicate address detection of another host is sent to the group and has no hardware
            // address.
            if nobody && (mac.is_some() || !is_solicited_node(destination)) {
                return None;
            }
            let sender = (!nobody).then_some(IpAddr::V6(source));
            Some((mac.unwrap_or(ethernet), NeighborFrame::Request { target: target.into(), sender }))
        }
        ADVERTISEMENT => {
            let mac = hardware_address(options, TARGET)?.unwrap_or(ethernet);
            let solicited = flags & 0x40 != 0;
            if source.is_unspecified() || (solicited && destination.is_multicast()) {
                return None;
            }
            let target = target.into();
            Some((
                mac,
                if solicited && to_us { NeighborFrame::Reply(target) } else { NeighborFrame::Announcement(target) },
            ))
        }
        _ => None,
    }
}

/// The hardware address in the first option of this kind, if there is one; nothing at all if the options are
/// damaged.
#[expect(clippy::option_option, reason = "damaged, missing and present")]
fn hardware_address(mut options: &[u8], kind: u8) -> Option<Option<Mac>> {
    let mut found = None;
    while let [this, units, ..] = options {
        // A length of 0 would never end (RFC 4861, 4.6).
        let length = usize::from(*units).checked_mul(8).filter(|length| *length > 0)?;
        let (option, rest) = options.split_at_checked(length)?;
        if *this == kind && found.is_none() {
            // An Ethernet address fills 8 bytes exactly (RFC 2464, 6).
            let [_, _, mac @ ..] = <[u8; 8]>::try_from(option).ok()?;
            found = Some(mac).filter(|mac| is_host(*mac));
            found?;
        }
        options = rest;
    }
    options.is_empty().then_some(found)
}

fn is_host_v4(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_multicast() || address.is_broadcast() || address.is_loopback())
}

fn is_host_v6(address: Ipv6Addr) -> bool {
    !(address.is_unspecified() || address.is_multicast() || address.is_loopback())
}

/// RFC 4291, 2.7.1.
fn is_solicited_node(address: Ipv6Addr) -> bool {
    matches!(address.octets(), [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, ..])
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
