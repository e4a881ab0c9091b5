//! Forged, replayed, truncated, oversized: counted, and nothing changes.

use super::challenge::Challenges;
use crate::model::node::{BootId, NodeId};
use crate::model::time::{Time, ms};
use crate::session::*;
use crate::wire::{Frame, Status, decode, encode};

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn pair() -> (Sealer, Opener) {
    let keys = Keys::new(&[1; 32], None);
    (Sealer::new(node("a"), BootId(5), &keys), Opener::new(node("b"), keys))
}

#[test]
fn a_new_boot_is_not_known_until_trusted() {
    let (mut sealer, mut opener) = pair();
    let first = sealer.seal(b"hello".to_vec()).unwrap();
    assert!(!opener.open(&first).unwrap().known);
    opener.trust(&node("a"), BootId(5), 0);
    let read = opener.open(&first).unwrap();
    assert!(read.known);
    assert_eq!((read.body.as_slice(), read.sequence), (b"hello".as_slice(), 1));
    assert_eq!(opener.open(&first), Err(Refusal::Replayed));
    assert_eq!(opener.refused[&Refusal::Replayed], 1);
}

#[test]
fn sequences_may_come_in_another_order_once() {
    let (mut sealer, mut opener) = pair();
    opener.trust(&node("a"), BootId(5), 0);
    let sent: Vec<_> = (0..200).map(|_| sealer.seal(Vec::new()).unwrap()).collect();
    for index in [150, 149, 151, 24, 23] {
        assert_eq!(opener.open(&sent[index]).is_ok(), index != 23, "{index}");
    }
    assert!(opener.open(&sent[149]).is_err());
}

#[test]
fn what_a_boot_sent_before_it_proved_itself_counts_as_seen() {
    let (mut sealer, mut opener) = pair();
    let sent: Vec<_> = (0..9).map(|_| sealer.seal(Vec::new()).unwrap()).collect();
    opener.trust(&node("a"), BootId(5), 6);
    for (index, datagram) in sent.iter().enumerate() {
        assert_eq!(opener.open(datagram).is_ok(), index >= 6, "{index}");
    }
}

/// More names than there is room for: the one that was heard longest ago makes room, and can come back.
#[test]
fn sessions_end() {
    let (mut sealer, mut opener) = pair();
    opener.trust(&node("a"), BootId(5), 0);
    for number in 0..6000 {
        opener.trust(&node(&format!("n{number}")), BootId(5), 0);
        if number == 4000 {
            assert!(opener.open(&sealer.seal(Vec::new()).unwrap()).unwrap().known);
        }
    }
    assert_eq!(opener.boot(&node("n0")), None);
    assert_eq!(opener.boot(&node("n5999")), Some(BootId(5)));
    assert!(opener.open(&sealer.seal(Vec::new()).unwrap()).unwrap().known, "it was heard later than others");
}

fn number(frames: &[Frame]) -> Option<u64> {
    frames.iter().find_map(|frame| if let Frame::Challenge(number) = frame { Some(*number) } else { None })
}

/// A boot joins while recordings of its former boots arrive all the time; recorded responses are worth nothing.
#[test]
fn nobody_without_the_key_keeps_a_boot_from_joining() {
    let keys = || Keys::new(&[1; 32], None);
    let mut own = Session::new(node("b"), BootId(9), keys());
    let mut boots = [5, 6].map(|boot| Session::new(node("a"), BootId(boot), keys()));
    let mut say = |boot: usize, frames: &[Frame]| boots[boot].seal(encode(&Status::default(), frames)).unwrap();
    let now = |millis: u64| Time::default() + ms(millis);
    let mut hear = |datagram: &[u8], millis| {
        let received = own.receive(datagram).unwrap();
        (received.known, own.greet(&received, now(millis)))
    };
    let former = say(0, &[Frame::Ping(1)]);
    let (_, (replies, proven)) = hear(&former, 1990);
    assert!(!proven);
    let response = say(0, &[Frame::Response(number(&replies).unwrap())]);
    assert!(hear(&response, 2010).1.1, "another slot, and still in time");
    // The next boot, with recordings of the former one between.
    let (_, (replies, _)) = hear(&say(1, &[Frame::Ping(1)]), 2020);
    let older = say(0, &[Frame::Response(0)]);
    let late = say(1, &[Frame::Response(number(&replies).unwrap())]);
    assert!(hear(&late, 2300).1.1);
    for millis in 2301..2400 {
        assert!(!hear(&older, millis).1.1, "a recording is challenged and changes nothing");
    }
    assert!(!hear(&response, 2401).1.1, "recorded");
}

#[test]
fn a_response_that_comes_late_or_to_another_boot_is_worth_nothing() {
    let challenges = [1, 2].map(|secret| Challenges::new(&[secret]));
    let (a, now) = (node("a"), Time::default() + ms(10_000));
    let number = challenges[0].challenge(&a, BootId(5), None, now);
    let met = |of: usize, name: &str, boot, proven, millis: u64| {
        challenges[of].is_met(&node(name), BootId(boot), proven, [number].into_iter(), now + ms(millis))
    };
    assert!(met(0, "a", 5, None, 0) && met(0, "a", 5, None, 1999));
    assert!(!met(0, "a", 5, None, 2000) && !met(0, "a", 6, None, 0) && !met(0, "c", 5, None, 0));
    assert!(!met(0, "a", 5, Some(BootId(4)), 0) && !met(1, "a", 5, None, 0));
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let (mut sealer, mut opener) = pair();
    opener.trust(&node("a"), BootId(5), 0);
    let datagram = sealer.seal(b"body".to_vec()).unwrap();
    for at in 0..datagram.len() {
        let mut damaged = datagram.clone();
        damaged[at] ^= 1;
        assert!(opener.open(&damaged).is_err(), "byte {at}");
        assert!(opener.open(&datagram[..at]).is_err(), "cut at {at}");
    }
    assert_eq!(opener.open(&[0; MAX_DATAGRAM + 1]), Err(Refusal::Oversized));
    assert!(opener.open(&datagram).is_ok());
}

#[test]
fn keys_rotate_without_interruption() {
    let (old, new) = ([1; 32], [2; 32]);
    let mut sealer = Sealer::new(node("a"), BootId(5), &Keys::new(&old, None));
    let mut opener = Opener::new(node("b"), Keys::new(&new, Some(&old)));
    opener.trust(&node("a"), BootId(5), 0);
    assert!(opener.open(&sealer.seal(Vec::new()).unwrap()).unwrap().known);
    sealer.rekey(&Keys::new(&new, Some(&old)));
    assert!(opener.open(&sealer.seal(Vec::new()).unwrap()).unwrap().known);
    opener.rekey(Keys::new(&[3; 32], None));
    assert_eq!(opener.open(&sealer.seal(Vec::new()).unwrap()), Err(Refusal::WrongKey));
}

/// The largest body of the longest name: a packet of 1,280 bytes carries it.
#[test]
fn the_largest_datagram_fits() {
    let mut sealer = Sealer::new(node(&"n".repeat(253)), BootId(5), &Keys::new(&[1; 32], None));
    let datagram = sealer.seal(vec![0; crate::wire::MAX_BODY]).unwrap();
    assert!(datagram.len() <= MAX_DATAGRAM, "{}", datagram.len());
}

#[test]
fn another_version_is_not_garbage() {
    let (mut sealer, mut opener) = pair();
    let mut datagram = sealer.seal(Vec::new()).unwrap();
    datagram[2] = 1;
    assert_eq!(opener.open(&datagram), Err(Refusal::Version));
    datagram[1] = b'x';
    assert_eq!(opener.open(&datagram), Err(Refusal::Foreign));
    assert_eq!((opener.refused[&Refusal::Version], opener.refused[&Refusal::Foreign]), (1, 1));
}

#[test]
fn our_own_name_is_refused() {
    let keys = Keys::new(&[1; 32], None);
    let mut sealer = Sealer::new(node("b"), BootId(5), &keys);
    let mut opener = Opener::new(node("b"), keys);
    assert_eq!(opener.open(&sealer.seal(Vec::new()).unwrap()), Err(Refusal::Reflected));
}

/// The corpora of the fuzz targets, as an ordinary test.
#[test]
fn corpora() {
    let mut count = 0;
    for directory in ["body", "datagram"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(directory);
        for file in std::fs::read_dir(path).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            if let Ok((status, frames)) = decode(&bytes) {
                assert_eq!(decode(&encode(&status, &frames)), Ok((status, frames)));
            }
            let keys = Keys::new(&[1; 32], None);
            assert!(Opener::new(node("fuzz"), keys).open(&bytes).is_err());
            count += 1;
        }
    }
    assert!(count >= 19, "{count}");
}
