//! Recorded datagrams of each version of the wire, one per line in hexadecimal: those of this version are read for ever,
//! those of others are told from garbage.
//!
//! After a change that adds a frame, `cargo test -p ownership --test recorded -- --ignored --nocapture` prints the lines
//! to append. A line that is there never changes.

// The helpers of a test may panic, like the test itself.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::IpAddr;

use ownership::session::{MAX_DATAGRAM, Opener, Sealer};
use ownership::wire::{ClaimAnswer, Frame, Liveness, MAX_CLAIMS, Move, SELECTED, Status, decode, encode};
use ownership::{BootId, Keys, NodeId, Refusal};

const VERSION_1: &str = include_str!("version-1.hex");
const VERSION_2: &str = include_str!("version-2.hex");
const STATUS: Status = Status { incarnation: 5, flags: SELECTED, version: 130, digest: 7 };
const BOOT: BootId = BootId(5);

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn keys() -> Keys {
    Keys::new(&[1; 32], None)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What the lines of version 2 say, one datagram each.
fn said() -> Vec<Vec<Frame>> {
    let (v4, v6) = (ip("192.0.2.10"), ip("2001:db8::10"));
    let step = Move { address: v6, epoch: 300, id: u64::MAX };
    let (target, id) = (node("node-b"), 2);
    vec![
        vec![Frame::Challenge(7), Frame::Response(u64::MAX)],
        vec![Frame::Ping(1), Frame::Ack(u32::MAX)],
        vec![
            Frame::PingRequest { id, target: target.clone(), reach: Some(v4) },
            Frame::IndirectAck { id, target: target.clone(), link: true },
            Frame::Rumour { node: target, incarnation: 3, liveness: Liveness::Silent, flags: SELECTED, version: 300 },
        ],
        vec![
            Frame::Pull { since: 0, after: Some(v6) },
            Frame::Page { version: 9, after: None, claims: vec![(v4, 0), (v6, 200)], last: true },
            Frame::Changes { from: 8, to: 9, changes: vec![(v4, None), (v6, Some(0))] },
            Frame::FormerClaims(vec![(v4, 4)]),
        ],
        vec![Frame::Page { version: 1, after: None, claims: vec![(v6, u64::MAX); MAX_CLAIMS], last: false }],
        vec![
            Frame::ClaimQuery(v4),
            Frame::ClaimReply { address: v4, answer: ClaimAnswer::Claimed(5) },
            Frame::ClaimReply { address: v4, answer: ClaimAnswer::HeldRemote },
            Frame::ClaimReply { address: v6, answer: ClaimAnswer::HeldForeign },
            Frame::ClaimReply { address: v6, answer: ClaimAnswer::Nothing },
        ],
        vec![
            Frame::Alarm { owner: node("node-a"), subnet: "192.0.2.0/24".parse().unwrap() },
            Frame::Unreachable("2001:db8::/64".parse().unwrap()),
        ],
        vec![Frame::Offer(step), Frame::Accept(step), Frame::Decline(step), Frame::Go(step)],
    ]
}

fn lines(text: &str) -> Vec<Vec<u8>> {
    let byte = |at: usize, line: &str| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
    text.lines().map(|line| (0..line.len()).step_by(2).map(|at| byte(at, line)).collect()).collect()
}

#[test]
fn version_2_is_read() {
    let (datagrams, said) = (lines(VERSION_2), said());
    assert_eq!(datagrams.len(), said.len());
    let mut opener = Opener::new(node("node-b"), keys());
    opener.trust(&node("node-a"), BOOT, 0);
    for (datagram, frames) in datagrams.iter().zip(said) {
        assert!(datagram.starts_with(b"PO\x02") && datagram.len() <= MAX_DATAGRAM, "{}", datagram.len());
        let read = opener.open(datagram).unwrap();
        assert_eq!((read.node, read.boot, read.known), (node("node-a"), BOOT, true));
        assert_eq!(decode(&read.body), Ok((STATUS, frames)));
    }
}

#[test]
fn version_2_is_written_in_the_same_way() {
    let mut sealer = Sealer::new(node("node-a"), BOOT, &keys());
    for (datagram, frames) in lines(VERSION_2).into_iter().zip(said()) {
        assert_eq!(sealer.seal(encode(&STATUS, &frames)), Some(datagram));
    }
}

#[test]
fn version_1_is_no_garbage() {
    let datagrams = lines(VERSION_1);
    assert!(!datagrams.is_empty());
    let mut opener = Opener::new(node("node-b"), keys());
    opener.trust(&node("node-a"), BOOT, 0);
    for datagram in datagrams {
        assert_eq!(opener.open(&datagram), Err(Refusal::Version));
        assert_eq!(opener.open(&datagram[1..]), Err(Refusal::Foreign));
    }
}

/// By hand, see above.
#[test]
#[ignore = "prints the lines"]
fn record() {
    let mut sealer = Sealer::new(node("node-a"), BOOT, &keys());
    for frames in said() {
        for byte in sealer.seal(encode(&STATUS, &frames)).unwrap() {
            print!("{byte:02x}");
        }
        println!();
    }
}
