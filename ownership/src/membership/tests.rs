//! Rumours and boots.

use crate::membership::members::{EAGER, Membership};
use crate::membership::rumours::Rumours;
use crate::model::link::Peer;
use crate::model::node::{Mac, NodeId};
use crate::model::time::Time;
use crate::wire::{Frame, LEAVING, Liveness, SELECTED, Status};

#[test]
fn in_a_large_cluster_a_new_version_of_claims_is_passed_on_once() {
    let nodes = |count: usize| (0..count).map(|number| NodeId::new(&format!("node-{number}")).unwrap());
    let from = "192.0.2.2:7475".parse().unwrap();
    for (count, large) in [(EAGER, false), (EAGER + 1, true)] {
        let mut members = Membership::new(NodeId::new("own").unwrap(), 1, Time::default());
        for node in nodes(count) {
            members.heard(&node, Status { incarnation: 1, version: 7, ..Status::default() }, from, Time::default());
        }
        let node = nodes(1).next().unwrap();
        // It said so itself, and the rumour is passed on all the same.
        assert_eq!(members.note_version(&node, 1, 7), large);
        assert!(!members.note_version(&node, 1, 7) && !members.note_version(&node, 1, 6));
        members.rebooted(&node);
        assert_eq!(members.note_version(&node, 1, 3), large);
        // Another incarnation counts once it is believed.
        assert!(!members.note_version(&node, 2, 2) && !members.note_version(&node, 0, 9));
        members.rumour(&node, 2, Liveness::Alive, SELECTED, 2, Time::default());
        assert_eq!(members.note_version(&node, 2, 2), large);
        assert!(!members.note_version(&node, 1, 9));
        assert_eq!(members.get(&node).unwrap().status.version, 7);
    }
}

/// Its Node was deleted, and so was its Lease, while its agent goes on (case 56).
#[test]
fn the_hardware_addresses_of_a_member_without_lease_stay_its_own_while_it_gossips() {
    let (now, reborn, mac) = (Time::default(), NodeId::new("a").unwrap(), Mac([2; 6]));
    let mut members = Membership::new(NodeId::new("own").unwrap(), 1, now);
    let peer = Peer {
        node: reborn.clone(),
        endpoints: Vec::new(),
        places: Vec::new(),
        macs: vec![mac],
        lease_alive: true,
        wire_version: 2,
    };
    members.discover(vec![peer], now);
    members.acknowledged(&reborn, now, now);
    assert_eq!(members.discover(Vec::new(), now), (Vec::new(), Vec::new()));
    assert_eq!(members.owner_of(mac), Some(&reborn));
}

#[test]
fn what_a_former_boot_claimed_is_not_passed_on_of_the_new_one() {
    let now = Time::default();
    let from = "192.0.2.2:7475".parse().unwrap();
    let reborn = NodeId::new("reborn").unwrap();
    let mut members = Membership::new(NodeId::new("own").unwrap(), 1, now);
    for number in 0..=EAGER {
        members.heard(&NodeId::new(&format!("node-{number}")).unwrap(), Status::default(), from, now);
    }
    let passed_on = |members: &mut Membership| {
        let of_it = members.rumours().into_iter().find_map(|message| match message {
            Frame::Rumour { node, incarnation, version, .. } if node == reborn => Some((incarnation, version)),
            _ => None,
        });
        members.rumours = Rumours::new();
        of_it
    };
    let take = |members: &mut Membership, incarnation, version| {
        members.rumour(&reborn, incarnation, Liveness::Alive, SELECTED, version, now);
        members.note_version(&reborn, incarnation, version)
    };
    let says = |incarnation: u32, version: u64| Status { incarnation, flags: SELECTED, version, ..Status::default() };
    members.heard(&reborn, says(3, 500), from, now);
    members.acknowledged(&reborn, now, now);
    assert!(take(&mut members, 3, 500));
    assert_eq!(passed_on(&mut members), Some((3, 500)));
    // The new boot's claims are fewer; it has not been heard itself.
    assert!(take(&mut members, 4, 12));
    assert_eq!(passed_on(&mut members), Some((4, 12)));
    assert!(take(&mut members, 4, 13) && !take(&mut members, 3, 501));
    // Nothing but the incarnation is known.
    assert!(!take(&mut members, 5, 0));
    assert_eq!(passed_on(&mut members), Some((5, 0)));
    assert!(take(&mut members, 5, 13));

    // Another new boot, and a late rumour of the former one within the same incarnation.
    members.rebooted(&reborn);
    members.heard(&reborn, says(5, 2), from, now);
    assert_eq!(members.outdated(&reborn, &says(5, 2)), None);
    assert!(take(&mut members, 5, 13));
    let Some(Frame::Rumour { incarnation, liveness, flags, version, .. }) = members.outdated(&reborn, &says(5, 2))
    else {
        panic!("it is not passed on");
    };
    let mut itself = Membership::new(reborn.clone(), 5, now);
    itself.status = says(5, 2);
    itself.rumour(&reborn, incarnation, liveness, flags, version, now);
    assert_eq!(itself.status, says(6, 2));
    members.heard(&reborn, itself.status, from, now);
    assert_eq!(members.outdated(&reborn, &itself.status), None);
    assert!(take(&mut members, 6, 2));
    // What it said itself it does not contradict.
    itself.rumour(&reborn, 6, Liveness::Alive, SELECTED, 2, now);
    assert_eq!(itself.status, says(6, 2));
}

#[test]
fn a_new_boot_is_believed_as_soon_as_it_has_heard_of_the_former_one() {
    let [a, b] = ["a", "b"].map(|name| NodeId::new(name).unwrap());
    let from = "192.0.2.2:7475".parse().unwrap();
    let mut seen_by_a = Membership::new(a, 1, Time::default());
    let former = Status { incarnation: 5, flags: SELECTED | LEAVING, ..Status::default() };
    seen_by_a.heard(&b, former, from, Time::default());
    seen_by_a.acknowledged(&b, Time::default(), Time::default());
    // Somebody else still passes on what the former boot said.
    let mut reborn = Membership::new(b.clone(), 1, Time::default());
    reborn.set_flags(SELECTED);
    seen_by_a.heard(&b, reborn.status, from, Time::default());
    assert!(seen_by_a.get(&b).unwrap().has(LEAVING));
    assert_eq!(reborn.rumour(&b, 5, Liveness::Alive, SELECTED | LEAVING, 0, Time::default()), None);
    seen_by_a.heard(&b, reborn.status, from, Time::default());
    assert!(seen_by_a.get(&b).unwrap().is_able());
    assert_eq!(seen_by_a.rumour(&b, 5, Liveness::Alive, SELECTED | LEAVING, 0, Time::default()), None);
    assert!(seen_by_a.get(&b).unwrap().is_able());
    // What is right is not contradicted.
    let before = reborn.status;
    reborn.rumour(&b, before.incarnation, Liveness::Alive, SELECTED, 0, Time::default());
    assert_eq!(reborn.status, before);
}
