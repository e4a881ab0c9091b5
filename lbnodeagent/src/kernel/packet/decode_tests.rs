use proptest::prelude::*;

use super::super::frames::{announcement, probe, reach};
use super::*;

/// The hosts of the frames below, as Linux 6.18 sent them.
const A: Mac = [2, 0, 0, 0, 0, 0x0a];
const B: Mac = [2, 0, 0, 0, 0, 0x0b];

const ARP_REQUEST: &str = "ffffffffffff02000000000a0806000108000604000102000000000ac000020a000000000000c000020b";
const ARP_REPLY: &str = "02000000000a02000000000b0806000108000604000202000000000bc000020b02000000000ac000020a";
const DETECTION: &str = "3333ff00000b02000000000b86dd6000000000203aff00000000000000000000000000000000\
    ff0200000000000000000001ff00000b8700a0250000000020010db800000000000000000000000b0e0105302fcc69ae";
const SOLICITATION_TO_GROUP: &str = "3333ff00000b02000000000a86dd6000000000203aff20010db800000000000000000000000a\
    ff0200000000000000000001ff00000b87001c030000000020010db800000000000000000000000b010102000000000a";
const SOLICITATION_TO_HOST: &str = "02000000000a02000000000b86dd6000000000203afffe80000000000000000000fffe00000b\
    20010db800000000000000000000000a87001c870000000020010db800000000000000000000000a010102000000000b";
const ADVERTISEMENT_WITH_OPTION: &str = "02000000000a02000000000b86dd6000000000203aff20010db800000000000000000000000b\
    20010db800000000000000000000000a88008a4d6000000020010db800000000000000000000000b020102000000000b";
const ADVERTISEMENT_WITHOUT: &str = "02000000000b02000000000a86dd6000000000183aff20010db800000000000000000000000a\
    fe80000000000000000000fffe00000b8800de9a4000000020010db800000000000000000000000a";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn question(target: &str, sender: Option<&str>) -> NeighborFrame {
    NeighborFrame::Request { target: ip(target), sender: sender.map(ip) }
}

/// Corrects the checksum of a changed message, so that what is refused is refused for what was changed.
fn sealed(mut frame: Vec<u8>) -> Vec<u8> {
    frame[56..58].fill(0);
    let length = u16::try_from(frame.len() - 54).unwrap();
    frame[18..20].copy_from_slice(&length.to_be_bytes());
    let mut sum: u32 = u32::from(length) + 58;
    for pair in frame[22..].chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = !u16::try_from(sum).unwrap();
    frame[56..58].copy_from_slice(&sum.to_be_bytes());
    frame
}

#[test]
fn what_linux_sends() {
    let expected = [
        (ARP_REQUEST, B, A, question("192.0.2.11", Some("192.0.2.10"))),
        (ARP_REPLY, A, B, NeighborFrame::Reply(ip("192.0.2.11"))),
        (DETECTION, A, B, question("2001:db8::b", None)),
        (SOLICITATION_TO_GROUP, B, A, question("2001:db8::b", Some("2001:db8::a"))),
        (SOLICITATION_TO_HOST, A, B, question("2001:db8::a", Some("fe80::ff:fe00:b"))),
        (ADVERTISEMENT_WITH_OPTION, A, B, NeighborFrame::Reply(ip("2001:db8::b"))),
        (ADVERTISEMENT_WITHOUT, B, A, NeighborFrame::Reply(ip("2001:db8::a"))),
    ];
    for (hex, own, mac, frame) in expected {
        let mut frame_bytes = bytes(hex);
        assert_eq!(decode(&frame_bytes, own), Some((mac, frame)), "{hex}");
        // Short frames are padded to 60 bytes on real wires.
        frame_bytes.resize(frame_bytes.len().max(60), 0xaa);
        assert_eq!(decode(&frame_bytes, own), Some((mac, frame)), "{hex}");
    }
}

#[test]
fn an_answer_to_others_only_says_who_has_the_address() {
    let other = [2, 0, 0, 0, 0, 9];
    assert_eq!(decode(&bytes(ARP_REPLY), other), Some((B, NeighborFrame::Announcement(ip("192.0.2.11")))));
    let heard = decode(&bytes(ADVERTISEMENT_WITH_OPTION), other);
    assert_eq!(heard, Some((B, NeighborFrame::Announcement(ip("2001:db8::b")))));
    // Gratuitous, though sent to us alone.
    let mut reply = bytes(ARP_REPLY);
    reply.copy_within(28..32, 38);
    assert_eq!(decode(&reply, A), Some((B, NeighborFrame::Announcement(ip("192.0.2.11")))));
}

#[test]
fn announcements_and_our_questions_are_understood() {
    for address in ["192.0.2.1", "2001:db8::1"] {
        for frame in announcement(ip(address), A, None) {
            assert_eq!(decode(&frame, B), Some((A, NeighborFrame::Announcement(ip(address)))));
        }
    }
    let v4 = probe(ip("192.0.2.1"), A, None, None).unwrap();
    assert_eq!(decode(&v4, B), Some((A, question("192.0.2.1", None))));
    let v6 = probe(ip("2001:db8::1"), A, Some("fe80::a".parse().unwrap()), Some(B)).unwrap();
    assert_eq!(decode(&v6, B), Some((A, question("2001:db8::1", Some("fe80::a")))));
    let reach = reach(ip("192.0.2.1"), A, ip("192.0.2.10"), Some(B)).unwrap();
    assert_eq!(decode(&reach, B), Some((A, question("192.0.2.1", Some("192.0.2.10")))));
}

/// Each of these changes makes it another thing, or nothing.
#[test]
fn damaged_arp() {
    let changes: [(usize, &[u8]); 14] = [
        (6, &[0; 6]),                // from nobody
        (6, &[3]),                   // from a group
        (12, &[0x81, 0]),            // of a VLAN
        (14, &[0, 6]),               // not Ethernet
        (16, &[0x86, 0xdd]),         // not IPv4
        (18, &[8]),                  // longer hardware addresses
        (19, &[16]),                 // longer addresses
        (20, &[0, 0]),               // neither question nor answer
        (20, &[0, 3]),               // reverse ARP
        (22, &[0; 6]),               // no hardware address
        (22, &[0xff; 6]),            // everybody's hardware address
        (28, &[0, 0, 0, 0]),         // an answer from nobody
        (28, &[224, 0, 0, 1]),       // from a group
        (28, &[255, 255, 255, 255]), // from everybody
    ];
    for (at, with) in changes {
        let mut frame = bytes(ARP_REPLY);
        frame[at..at + with.len()].copy_from_slice(with);
        assert_eq!(decode(&frame, A), None, "{at} {with:?}");
    }
    for target in [[0; 4], [255; 4], [224, 0, 0, 1], [127, 0, 0, 1]] {
        let mut frame = bytes(ARP_REQUEST);
        frame[38..].copy_from_slice(&target);
        assert_eq!(decode(&frame, B), None, "{target:?}");
    }
}

#[test]
fn damaged_neighbour_discovery() {
    let group = bytes("ff020000000000000000000000000001");
    let changes: [(&str, usize, &[u8]); 16] = [
        (DETECTION, 12, &[0x88, 0xa8]),                    // of a VLAN
        (DETECTION, 14, &[0x40]),                          // not IPv6
        (DETECTION, 20, &[0]),                             // an extension header
        (DETECTION, 21, &[254]),                           // through a router
        (DETECTION, 55, &[1]),                             // a code
        (DETECTION, 54, &[133]),                           // a router's solicitation
        (DETECTION, 62, &group),                           // asks for a group
        (DETECTION, 62, &[0; 16]),                         // asks for nothing
        (DETECTION, 38, &group),                           // from nobody, not to the group of a target
        (DETECTION, 78, &[1, 1, 2, 0, 0, 0, 0, 9]),        // from nobody, with a hardware address
        (SOLICITATION_TO_GROUP, 22, &group),               // from a group
        (SOLICITATION_TO_GROUP, 79, &[0]),                 // an option without end
        (DETECTION, 79, &[0]),                             // also one that means nothing to us
        (SOLICITATION_TO_GROUP, 79, &[2]),                 // an option beyond the end
        (SOLICITATION_TO_GROUP, 80, &[3, 0, 0, 0, 0, 10]), // a group's hardware address
        (ADVERTISEMENT_WITH_OPTION, 38, &group),           // an answer to all
    ];
    for (hex, at, with) in changes {
        let mut frame = bytes(hex);
        frame[at..at + with.len()].copy_from_slice(with);
        assert_eq!(decode(&sealed(frame), A), None, "{at} {with:?}");
    }
    // An option that is cut off, and one that is too long for a hardware address.
    let mut frame = bytes(SOLICITATION_TO_GROUP);
    frame.push(1);
    assert_eq!(decode(&sealed(frame.clone()), B), None);
    frame.extend([0; 7]);
    frame[79] = 2;
    assert_eq!(decode(&sealed(frame), B), None);
    // Unknown options are passed over (RFC 4861, 7.1.1).
    let mut frame = bytes(SOLICITATION_TO_GROUP);
    frame.extend([200, 1, 0, 0, 0, 0, 0, 0]);
    assert!(decode(&sealed(frame), B).is_some());
}

#[test]
fn an_unasked_advertisement() {
    let mut frame = bytes(ADVERTISEMENT_WITH_OPTION);
    frame[58] = 0x20;
    let announcement = Some((B, NeighborFrame::Announcement(ip("2001:db8::b"))));
    assert_eq!(decode(&sealed(frame.clone()), A), announcement);
    frame[80..].copy_from_slice(&[2, 0, 0, 0, 0, 0x0c]);
    assert_eq!(decode(&sealed(frame), A).map(|(mac, _)| mac), Some([2, 0, 0, 0, 0, 0x0c]));
}

/// The corpus of the fuzz target, as an ordinary test.
#[test]
fn corpus() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/decode");
    let mut understood = Vec::new();
    let mut refused = 0;
    for file in std::fs::read_dir(path).unwrap() {
        let file = file.unwrap();
        if decode(&std::fs::read(file.path()).unwrap(), A).is_some() {
            understood.push(file.file_name().into_string().unwrap());
        } else {
            refused += 1;
        }
    }
    understood.sort();
    let expected = ["advertisement", "advertisement-bare", "arp-reply", "arp-request", "detection", "solicitation"];
    assert_eq!(understood, expected);
    assert!(refused >= 4, "{refused}");
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let real = vec![ARP_REQUEST, ARP_REPLY, DETECTION, SOLICITATION_TO_GROUP, ADVERTISEMENT_WITH_OPTION];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let damaged = (prop::sample::select(real), changes, prop::option::of(0_usize..200));
    let damaged = damaged.prop_map(|(hex, changes, length)| {
        let mut frame = bytes(hex);
        for (at, with) in changes {
            let at = at.index(frame.len());
            frame[at] = with;
        }
        frame.resize(length.unwrap_or(frame.len()), 1);
        // Else the checksum would hide everything behind it.
        if frame.len() > 62 { sealed(frame) } else { frame }
    });
    prop_oneof![prop::collection::vec(any::<u8>(), 0..200), damaged]
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(frame in any_frame(), own: Mac) {
        if let Some((mac, _)) = decode(&frame, own) {
            prop_assert!(is_host(mac));
        }
    }

    #[test]
    fn a_damaged_checksum_is_noticed(at in 22_usize..86, by in 1_u8..) {
        let mut frame = bytes(SOLICITATION_TO_GROUP);
        frame[at] ^= by;
        prop_assert_eq!(decode(&frame, B), None);
    }

    #[test]
    fn every_question_of_ours_is_understood(
        target: IpAddr, source: IpAddr, mac: Mac, own: Mac, to: Option<Mac>,
    ) {
        let v6 = if let IpAddr::V6(source) = source { Some(source) } else { None };
        for (frame, sender) in [
            (probe(target, mac, v6, to), v6.map(IpAddr::V6).filter(|_| target.is_ipv6())),
            (reach(target, mac, source, to), Some(source)),
        ] {
            let Some(frame) = frame else { continue };
            let to = to.filter(|to| is_host(*to));
            prop_assert_eq!(frame[0] & 1 == 0, to.is_some());
            let sane = |address: IpAddr| !(address.is_loopback() || address.is_multicast())
                && address != IpAddr::V4(Ipv4Addr::BROADCAST);
            if is_host(mac) && sane(target) && sender.is_none_or(sane) && sender != Some(target) {
                prop_assert_eq!(decode(&frame, own), Some((mac, NeighborFrame::Request { target, sender })));
            }
        }
    }
}
