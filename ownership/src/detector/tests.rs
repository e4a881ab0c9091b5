//! The detector alone: silence on ping and link becomes an alarm, silence on one of them does not.

use std::net::IpAddr;

use crate::detector::Detector;
use crate::io::{Action, Notification, Output};
use crate::membership::{Gossip, Membership};
use crate::model::link::{InterfaceAddress, Link, LinkId, Peer};
use crate::model::node::{Mac, NodeId};
use crate::model::rng::Rng;
use crate::model::time::{Time, ms};
use crate::wire::{Frame, SELECTED, Status};

const LINK: LinkId = LinkId(1);

/// A node with one link and two members.
struct Node {
    now: Time,
    members: Membership,
    detector: Detector,
    rng: Rng,
    out: Output,
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn address(name: &str) -> IpAddr {
    match name {
        "a" => "192.0.2.1".parse().unwrap(),
        "b" => "192.0.2.2".parse().unwrap(),
        _ => "192.0.2.3".parse().unwrap(),
    }
}

impl Node {
    fn new() -> Self {
        let now = Time::from_micros(1_000_000);
        let mut members = Membership::new(node("own"), 1, now);
        let place = |address| InterfaceAddress::new(address, 24).unwrap();
        let peers = ["a", "b"].map(|name| Peer {
            node: node(name),
            endpoints: vec![(address(name), 7475).into()],
            places: vec![place(address(name))],
            macs: Vec::new(),
            lease_alive: true,
            wire_version: crate::wire::VERSION.into(),
        });
        members.discover(peers.to_vec(), now);
        let mut detector = Detector::new(now);
        let (mac, places) = (Mac([2, 0, 0, 0, 0, 3]), vec![place(address("own"))]);
        detector.update_link(Link { id: LINK, mac, carrier: true, places, gateways: Vec::new() }, now);
        Self { now, members, detector, rng: Rng::new(1), out: Output::default() }
    }

    /// One step of 5 ms: these answer pings, and these answer on the link. Returns who is under alarm from now on.
    fn step(&mut self, pings: &[&str], link: &[&str]) -> Vec<NodeId> {
        self.now = self.now + ms(5);
        let status = Status { incarnation: 1, flags: SELECTED, ..Status::default() };
        for name in pings {
            self.members.heard(&node(name), status, (address(name), 7475).into(), self.now);
            self.members.acknowledged(&node(name), self.now, self.now);
        }
        for name in link {
            self.detector.link_answered(LINK, address(name), self.now);
            let mac = Mac([2, 0, 0, 0, 0, 1]);
            assert!(self.detector.note_answer(&node(name), LINK, address(name), mac, &self.members, self.now));
        }
        let (members, rng, out) = (&mut self.members, &mut self.rng, &mut self.out);
        let mut gossip = Gossip { now: self.now, late: ms(0), members, rng, out };
        if self.detector.is_round_due(self.now) {
            self.detector.begin_round(&mut gossip);
            self.detector.watch(&mut gossip);
            self.detector.judge(&mut gossip);
        }
        if self.detector.is_judgement_due(self.now) {
            self.detector.judge(&mut gossip);
        }
        if self.detector.is_burst_due(self.now) { self.detector.burst(&mut gossip) } else { Vec::new() }
    }

    /// Runs for so long; returns when who was found silent.
    fn run(&mut self, millis: u64, pings: &[&str], link: &[&str]) -> Vec<(u64, NodeId)> {
        let mut found = Vec::new();
        for at in (5..=millis).step_by(5) {
            found.extend(self.step(pings, link).into_iter().map(|node| (at, node)));
        }
        found
    }

    fn frames(&mut self) -> Vec<Frame> {
        self.out.take_frames().into_values().flatten().collect()
    }
}

#[test]
fn a_member_that_is_silent_in_every_way_is_under_alarm() {
    let mut own = Node::new();
    assert_eq!(own.run(1000, &["a", "b"], &["a", "b"]), []);
    own.out.take_actions();
    let found = own.run(1000, &["b"], &["b"]);
    assert!(matches!(found.as_slice(), [(235..=400, silent)] if *silent == node("a")), "{found:?}");
    assert!(own.detector.has_alarm(&node("a"), LINK) && !own.detector.has_alarm(&node("b"), LINK));
    assert!(own.out.take_actions().contains(&Action::Notify(Notification::Alarm {
        node: node("a"),
        link: LINK,
        own: true
    })));
    // The other member of the link is told.
    let alarm = Frame::Alarm { owner: node("a"), subnet: "192.0.2.0/24".parse().unwrap() };
    assert!(own.frames().contains(&alarm));
    // Any answer ends it.
    own.run(5, &["b"], &["a", "b"]);
    assert!(!own.detector.has_alarm(&node("a"), LINK));
}

#[test]
fn a_silent_agent_is_no_alarm() {
    let mut own = Node::new();
    own.run(1000, &["a", "b"], &["a", "b"]);
    assert_eq!(own.run(3000, &["b"], &["a", "b"]), []);
}

#[test]
fn a_member_that_does_not_answer_on_the_link_is_told() {
    let mut own = Node::new();
    own.run(1000, &["a", "b"], &["a", "b"]);
    own.frames();
    // Its pings are answered, so the link is asked seldom.
    assert_eq!(own.run(2500, &["a", "b"], &["b"]), []);
    assert!(own.frames().contains(&Frame::Unreachable("192.0.2.0/24".parse().unwrap())));
}

#[test]
fn a_deaf_node_accuses_nobody() {
    let mut own = Node::new();
    own.run(1000, &["a", "b"], &["a", "b"]);
    own.out.take_actions();
    assert_eq!(own.run(3000, &[], &[]), []);
    assert!(own.out.take_actions().contains(&Action::Notify(Notification::Deaf { link: LINK })));
}

/// Where a member that answers pings is asked: at a hardware address, or everybody is.
fn asked(own: &mut Node, name: &str) -> Vec<Option<Mac>> {
    let asked = own.out.take_actions().into_iter().filter_map(|action| match action {
        Action::Probe { target, to, .. } if target == address(name) => Some(to),
        _ => None,
    });
    asked.collect()
}

#[test]
fn another_hardware_address_is_found() {
    let mut own = Node::new();
    own.run(1000, &["a", "b"], &["a", "b"]);
    own.out.take_actions();
    // The questions at the old one are not answered.
    own.run(4000, &["a", "b"], &["b"]);
    let to = asked(&mut own, "a");
    let all = to.iter().filter(|to| to.is_none()).count();
    assert!((1..=3).contains(&all) && to.len() > all, "{to:?}");
    // Its Lease may say so sooner.
    own.run(1000, &["a", "b"], &["a", "b"]);
    own.out.take_actions();
    own.detector.note_macs(&node("a"), &[Mac([2, 0, 0, 0, 0, 7])]);
    own.run(2500, &["a", "b"], &["b"]);
    assert_eq!(asked(&mut own, "a").first(), Some(&None));
}

#[test]
fn a_node_that_runs_late_doubts_the_alarms_of_others() {
    for (late, silent, raised) in [(0, 200, false), (0, 300, true), (200, 300, false), (200, 500, true)] {
        let mut own = Node::new();
        own.run(1000, &["a", "b"], &["a", "b"]);
        // It does not judge by itself meanwhile.
        own.now = own.now + ms(silent);
        let (members, rng, out) = (&mut own.members, &mut own.rng, &mut own.out);
        let mut gossip = Gossip { now: own.now, late: ms(late), members, rng, out };
        let alarm = own.detector.receive_alarm(&node("a"), "192.0.2.0/24".parse().unwrap(), &mut gossip);
        assert_eq!(alarm, raised, "{late} {silent}");
    }
}
