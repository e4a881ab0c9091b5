//! Forged, replayed, truncated, oversized: counted, and nothing changes.

use crate::model::node::{BootId, NodeId};
use crate::session::*;
use crate::wire::{decode, encode};

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
    opener.trust(&node("a"), BootId(5));
    let read = opener.open(&first).unwrap();
    assert!(read.known);
    assert_eq!(read.body, b"hello");
    assert_eq!(opener.open(&first), Err(Refusal::Replayed));
    assert_eq!(opener.refused[&Refusal::Replayed], 1);
}

#[test]
fn sequences_may_come_in_another_order_once() {
    let (mut sealer, mut opener) = pair();
    opener.trust(&node("a"), BootId(5));
    let sent: Vec<_> = (0..200).map(|_| sealer.seal(Vec::new()).unwrap()).collect();
    for index in [150, 149, 151, 24, 23] {
        assert_eq!(opener.open(&sent[index]).is_ok(), index != 23, "{index}");
    }
    assert!(opener.open(&sent[149]).is_err());
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let (mut sealer, mut opener) = pair();
    opener.trust(&node("a"), BootId(5));
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
    opener.trust(&node("a"), BootId(5));
    assert!(opener.open(&sealer.seal(Vec::new()).unwrap()).unwrap().known);
    sealer.rekey(&Keys::new(&new, Some(&old)));
    assert!(opener.open(&sealer.seal(Vec::new()).unwrap()).unwrap().known);
    opener.rekey(Keys::new(&[3; 32], None));
    assert_eq!(opener.open(&sealer.seal(Vec::new()).unwrap()), Err(Refusal::WrongKey));
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
    assert!(count >= 13, "{count}");
}
