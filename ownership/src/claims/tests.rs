//! Replicas follow, cheaply, whatever is lost on the way.

use std::net::IpAddr;

use crate::claims::{Claims, OwnClaims};
use crate::model::node::{BootId, NodeId};
use crate::model::time::{Time, ms};
use crate::wire::Frame;

fn ip(number: u32) -> IpAddr {
    IpAddr::from(number.to_be_bytes())
}

fn owner() -> NodeId {
    NodeId::new("owner").unwrap()
}

/// Carries pulls and answers until both agree; returns the number of frames and bytes.
fn follow(own: &OwnClaims, claims: &mut Claims) -> (usize, usize) {
    let (mut messages, mut bytes) = (0, 0);
    let mut now = Time::from_micros(0);
    while let Some(pull) = claims.compare(&owner(), own.version(), own.digest(), now, ms(50)) {
        let mut pulls = vec![pull];
        while let Some(pull) = pulls.pop() {
            let Frame::Pull { since, after } = pull else { panic!("{pull:?}") };
            for answer in own.answer(since, after) {
                messages += 1;
                bytes += crate::wire::encode(&crate::wire::Status::default(), std::slice::from_ref(&answer)).len();
                match answer {
                    Frame::Changes { from, to, changes } => drop(claims.apply_changes(&owner(), from, to, &changes)),
                    Frame::Page { version, after, claims: page, last } => {
                        pulls.extend(claims.apply_page(&owner(), version, after, &page, last).1);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        now = now + ms(60);
        assert!(now < Time::from_micros(60_000_000));
    }
    (messages, bytes)
}

#[test]
fn ten_thousand_claims_are_read_once_and_then_followed() {
    let (mut own, mut claims) = (OwnClaims::default(), Claims::default());
    for number in 0..10_000 {
        own.set(ip(number), Some(u64::from(number % 7)));
    }
    claims.rebooted(&owner(), BootId(1));
    let (messages, bytes) = follow(&own, &mut claims);
    assert!(messages < 400 && bytes < 80_000, "{messages} {bytes}");
    assert_eq!(claims.of(&owner()).count(), 10_000);
    own.set(ip(5), None);
    own.set(ip(6), Some(99));
    assert_eq!(follow(&own, &mut claims).0, 1);
    assert_eq!(claims.rivals(ip(5)).count(), 0);
    assert_eq!(claims.rivals(ip(6)).next(), Some((&owner(), 99)));
}

#[test]
fn a_wrong_replica_is_noticed_by_its_digest() {
    let (mut own, mut claims) = (OwnClaims::default(), Claims::default());
    own.set(ip(1), Some(1));
    follow(&own, &mut claims);
    claims.put(&owner(), ip(2), Some(4));
    follow(&own, &mut claims);
    assert_eq!(claims.of(&owner()).collect::<Vec<_>>(), [(ip(1), 1)]);
}

#[test]
fn a_new_boot_starts_over_and_its_old_claims_stay_until_then() {
    let (mut own, mut claims) = (OwnClaims::default(), Claims::default());
    claims.rebooted(&owner(), BootId(1));
    own.set(ip(1), Some(1));
    own.set(ip(2), Some(1));
    follow(&own, &mut claims);
    claims.rebooted(&owner(), BootId(2));
    assert_eq!(claims.of(&owner()).count(), 2);
    let mut own = OwnClaims::default();
    own.set(ip(1), Some(3));
    follow(&own, &mut claims);
    assert_eq!(claims.of(&owner()).collect::<Vec<_>>(), [(ip(1), 3)]);
}
