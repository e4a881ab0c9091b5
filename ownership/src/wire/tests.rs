//! Every frame survives the way there and back; nothing that arrives can do harm.

use proptest::prelude::*;

use crate::model::node::NodeId;
use crate::wire::*;
use std::net::IpAddr;

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// One of each.
pub fn examples() -> Vec<Frame> {
    let (v4, v6) = (ip("192.0.2.10"), ip("2001:db8::10"));
    let step = Move { address: v6, epoch: 300, id: u64::MAX };
    vec![
        Frame::Challenge(7),
        Frame::Response(u64::MAX),
        Frame::Ping(1),
        Frame::Ack(u32::MAX),
        Frame::PingRequest { id: 2, target: node("node-b"), reach: Some(v4) },
        Frame::IndirectAck { id: 2, target: node("node-b"), link: true },
        Frame::Rumour {
            node: node("node-c"),
            incarnation: 3,
            liveness: Liveness::Silent,
            flags: SELECTED,
            version: 300,
        },
        Frame::Pull { since: 0, after: Some(v6) },
        Frame::Page { version: 9, after: None, claims: vec![(v4, 0), (v6, 200)], last: true },
        Frame::Changes { from: 8, to: 9, changes: vec![(v4, None), (v6, Some(0))] },
        Frame::ClaimQuery(v4),
        Frame::ClaimReply { address: v4, epoch: Some(5) },
        Frame::FormerClaims(vec![(v4, 4)]),
        Frame::Alarm { owner: node("node-a"), subnet: "192.0.2.0/24".parse().unwrap() },
        Frame::Unreachable("2001:db8::/64".parse().unwrap()),
        Frame::Offer(step),
        Frame::Accept(step),
        Frame::Decline(step),
        Frame::Go(step),
    ]
}

const STATUS: Status = Status { incarnation: 5, flags: SELECTED, version: 130, digest: 0x0102_0304_0506_0708 };

#[test]
fn there_and_back() {
    let frames = examples();
    assert_eq!(decode(&encode(&STATUS, &frames)), Ok((STATUS, frames)));
}

/// Nodes of different releases meet during an update: these bytes must not change.
#[test]
fn golden() {
    let bytes = encode(&STATUS, &[Frame::Ping(300), Frame::ClaimReply { address: ip("192.0.2.1"), epoch: Some(1) }]);
    assert_eq!(bytes, [5, 1, 0x82, 1, 1, 2, 3, 4, 5, 6, 7, 8, 3, 0xac, 2, 12, 4, 192, 0, 2, 1, 2]);
    let page = Frame::Page { version: 1, after: None, claims: vec![(ip("2001:db8::1"), 9)], last: false };
    let mut expected = vec![5, 1, 0x82, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 0, 1, 6, 0x20, 1, 0x0d, 0xb8];
    expected.extend([0; 11]);
    expected.extend([1, 9, 0]);
    assert_eq!(encode(&STATUS, &[page]), expected);
}

#[test]
fn every_shortened_body_is_refused_or_means_less() {
    let bytes = encode(&STATUS, &examples());
    for end in 0..bytes.len() {
        if let Ok((_, frames)) = decode(&bytes[..end]) {
            assert!(frames.len() < examples().len());
        }
    }
}

#[test]
fn a_full_page_fits() {
    let claims = vec![(ip("2001:db8::1"), u64::MAX); MAX_CLAIMS];
    let page = Frame::Page { version: u64::MAX, after: Some(ip("2001:db8::1")), claims, last: true };
    assert!(encode(&STATUS, &[page]).len() <= MAX_BODY);
}

proptest! {
    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..1500)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn damaged_bodies_do_not_panic(at in 0_usize..400, with in any::<u8>()) {
        let mut bytes = encode(&STATUS, &examples());
        let at = at % bytes.len();
        bytes[at] = with;
        if let Ok((status, frames)) = decode(&bytes) {
            // What is understood can be said again.
            prop_assert_eq!(decode(&encode(&status, &frames)), Ok((status, frames)));
        }
    }
}
