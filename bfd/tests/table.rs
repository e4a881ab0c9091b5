//! The table: which session a datagram is for, what is refused, the bounds; and what sources want together.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::IpAddr;
use std::time::Duration;

use bfd::packet::{Diagnostic, Malformed};
use bfd::peer::MAX_SESSIONS;
use bfd::report::{Pauses, PeerReport};
use bfd::wanted::{self, Unreadable, WantedPeer};
use bfd::{Action, Datagram, Event, Hops, Packet, Peer, Refusal, Rng, Role, State, Table, Time, Wanted, peer};
use rstest::rstest;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

const fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

const DOWN: Packet = Packet {
    diagnostic: Diagnostic::NONE,
    state: State::Down,
    poll: false,
    final_: false,
    control_plane_independent: false,
    demand: false,
    multiplier: 3,
    my_discriminator: 77,
    your_discriminator: 0,
    desired_min_tx: Duration::from_secs(1),
    required_min_rx: Duration::from_millis(300),
};

struct Node {
    table: Table,
}

impl Node {
    fn new(wanted: Vec<WantedPeer>) -> Self {
        let mut node = Self { table: Table::new(Rng::new(1), &[]) };
        node.configure(at(0), wanted);
        node
    }

    fn configure(&mut self, now: Time, wanted: Vec<WantedPeer>) -> Vec<Action> {
        let peers = Wanted::new(wanted).peers().unwrap();
        self.table.handle(now, Event::Peers(peers.into_iter().map(|peer| (peer, vec!["test".to_owned()])).collect()))
    }

    fn receive(&mut self, now: Time, source: &str, hops: Hops, packet: Packet) -> Vec<Action> {
        self.receive_raw(now, Self::datagram(source, hops, &packet.encode()))
    }

    fn receive_raw(&mut self, now: Time, datagram: Datagram<'_>) -> Vec<Action> {
        self.table.handle(now, Event::Datagram(datagram))
    }

    fn datagram<'a>(source: &str, hops: Hops, bytes: &'a [u8]) -> Datagram<'a> {
        let destination = ip(if source.contains(':') { "2001:db8::10" } else { "192.0.2.10" });
        Datagram { source: ip(source), interface: "eth0", destination, hops, ttl: 255, bytes }
    }

    fn report(&self) -> Vec<PeerReport> {
        self.table.report()
    }
}

fn sent(actions: &[Action]) -> Vec<(IpAddr, Hops, State)> {
    let packet = |action: &Action| match action {
        Action::Send(out) => Some((out.peer.address, out.hops, Packet::decode(&out.bytes).unwrap().state)),
        _ => None,
    };
    actions.iter().filter_map(packet).collect()
}

#[test]
fn a_passive_peer_is_answered_on_the_port_it_chooses() {
    let mut node = Node::new(vec![WantedPeer::new(ip("192.0.2.1"))]);
    assert_eq!(node.table.next_deadline(), None);
    for hops in Hops::ALL {
        let actions = node.receive(at(1), "192.0.2.1", hops, DOWN);
        assert_eq!(sent(&actions), [(ip("192.0.2.1"), hops, State::Init)]);
    }
    let report = &node.report()[0];
    assert_eq!(report.sessions.len(), 2);
    assert_eq!(report.sessions[0].local_address, Some(ip("192.0.2.10")));
    assert_ne!(report.sessions[0].local_discriminator, report.sessions[1].local_discriminator);
}

/// The refusal of a datagram that differs in one thing from a good one.
fn refused(change: impl FnOnce(&mut WantedPeer, &mut Datagram<'_>, &mut Packet), more: &[u8]) -> Option<Refusal> {
    let mut peer = WantedPeer::new(ip("192.0.2.1"));
    let mut packet = DOWN;
    let mut datagram = Node::datagram("192.0.2.1", Hops::Single, &[]);
    change(&mut peer, &mut datagram, &mut packet);
    let bytes = [&packet.encode()[..], more].concat();
    let mut node = Node::new(vec![peer]);
    let actions = node.receive_raw(at(1), Datagram { bytes: &bytes, ..datagram });
    let refusal = match actions[..] {
        [Action::Refused { refusal, .. }] => Some(refusal),
        [] => Some(Refusal::Stranger),
        _ => None,
    };
    assert_eq!(refusal.is_none(), !node.report()[0].sessions.is_empty());
    assert_eq!(node.table.strangers(), u64::from(refusal == Some(Refusal::Stranger)));
    refusal
}

#[test]
fn what_is_refused() {
    assert_eq!(refused(|_, _, _| {}, &[]), None);
    assert_eq!(refused(|_, _, _| {}, &[1, 2, 3]), None);
    assert_eq!(refused(|_, datagram, _| datagram.source = ip("192.0.2.9"), &[]), Some(Refusal::Stranger));
    assert_eq!(refused(|peer, _, _| peer.hops = Some(Hops::Multi), &[]), Some(Refusal::Stranger));
    assert_eq!(refused(|peer, _, _| peer.interface = Some("eth1".to_owned()), &[]), Some(Refusal::Stranger));
    assert_eq!(refused(|peer, _, _| peer.interface = Some("eth0".to_owned()), &[]), None);
    assert_eq!(
        refused(|_, datagram, _| datagram.ttl = 254, &[]),
        Some(Refusal::Ttl { ttl: 254, least: 255, hops: Hops::Single })
    );
    let local = |peer: &mut WantedPeer, local| peer.local_address = Some(ip(local));
    assert_eq!(refused(|peer, _, _| local(peer, "192.0.2.11"), &[]), Some(Refusal::LocalAddress));
    assert_eq!(refused(|peer, _, _| local(peer, "192.0.2.10"), &[]), None);
    let unknown = |packet: &mut Packet| packet.your_discriminator = 9;
    assert_eq!(refused(|_, _, packet| unknown(packet), &[]), Some(Refusal::Discriminator(9)));
    let up = |packet: &mut Packet| packet.state = State::Up;
    let why = Refusal::Malformed(Malformed::YourDiscriminator(State::Up));
    assert_eq!(refused(|_, _, packet| up(packet), &[]), Some(why));
}

#[test]
fn the_least_ttl_of_the_multihop_port_is_a_setting() {
    let multihop = |ttl, least| {
        refused(
            |peer, datagram, _| {
                (datagram.hops, datagram.ttl, peer.minimum_ttl) = (Hops::Multi, ttl, least);
            },
            &[],
        )
    };
    assert_eq!(multihop(254, 254), None);
    assert_eq!(multihop(253, 254), Some(Refusal::Ttl { ttl: 253, least: 254, hops: Hops::Multi }));
    assert_eq!(multihop(1, 1), None);
}

#[test]
fn authentication_is_refused_by_name_once() {
    let mut node = Node::new(vec![WantedPeer::new(ip("192.0.2.1"))]);
    let mut bytes = [&DOWN.encode()[..], &[1, 8, 1, b's', b'e', b'c', b'r', b't']].concat();
    (bytes[1], bytes[3]) = (bytes[1] | 4, 32);
    for number in 0..10 {
        let actions = node.receive_raw(at(number), Node::datagram("192.0.2.1", Hops::Single, &bytes));
        let expected = Refusal::Malformed(Malformed::Authenticated);
        assert_eq!(
            actions
                .iter()
                .filter(|action| matches!(action, Action::Refused { refusal, .. } if *refusal == expected))
                .count(),
            usize::from(number == 0)
        );
    }
    let report = &node.report()[0];
    assert_eq!(report.refused, 10);
    assert!(report.last_refusal.as_ref().unwrap().contains("authentication"), "{report:?}");
}

#[test]
fn a_discriminator_is_good_for_its_own_peer_only() {
    let peers = ["192.0.2.1", "192.0.2.2"].map(|address| WantedPeer::new(ip(address)));
    let mut node = Node::new(peers.to_vec());
    node.receive(at(1), "192.0.2.1", Hops::Single, DOWN);
    let your_discriminator = node.report()[0].sessions[0].local_discriminator;
    let up = Packet { state: State::Up, your_discriminator, ..DOWN };
    let refused =
        |actions: Vec<Action>| matches!(actions[..], [Action::Refused { refusal: Refusal::Discriminator(_), .. }]);
    assert!(refused(node.receive(at(2), "192.0.2.2", Hops::Single, up)));
    assert!(refused(node.receive(at(2), "192.0.2.1", Hops::Multi, up)));
    assert_eq!(sent(&node.receive(at(3), "192.0.2.1", Hops::Single, up))[0].2, State::Up);
}

#[test]
fn a_forger_without_the_discriminator_uses_up_nothing_of_the_router() {
    let mut node = Node::new(vec![WantedPeer::new(ip("192.0.2.1"))]);
    node.receive(at(1), "192.0.2.1", Hops::Single, DOWN);
    let your_discriminator = node.report()[0].sessions[0].local_discriminator;
    let up = Packet { state: State::Up, your_discriminator, ..DOWN };
    node.receive(at(2), "192.0.2.1", Hops::Single, up);
    for number in 0..10_000 {
        node.receive(at(10), "192.0.2.1", Hops::Single, Packet { my_discriminator: 1 + number, ..DOWN });
    }
    // Its Down was followed; what it sends no more counts.
    let received = node.report()[0].sessions[0].received;
    assert!(received < 30, "{received}");
    let real = Packet { state: State::Init, your_discriminator, ..DOWN };
    node.receive(at(11), "192.0.2.1", Hops::Single, real);
    assert_eq!(node.report()[0].sessions[0].received, received + 1);
}

#[test]
fn packets_of_a_session_are_limited_too() {
    let mut node = Node::new(vec![WantedPeer::new(ip("192.0.2.1"))]);
    node.receive(at(1), "192.0.2.1", Hops::Single, DOWN);
    let your_discriminator = node.report()[0].sessions[0].local_discriminator;
    let poll = Packet { state: State::Up, poll: true, your_discriminator, ..DOWN };
    let answers: usize = (0..10_000)
        .map(|number| sent(&node.receive(at(1000 + number / 10), "192.0.2.1", Hops::Single, poll)).len())
        .sum();
    // 50 at once, 250 in the second, and some of the session's own.
    assert!((250..320).contains(&answers), "{answers}");
}

#[test]
fn no_more_than_32() {
    let peers: Vec<WantedPeer> = (1..=40).map(|number| WantedPeer::new(ip(&format!("192.0.2.{number}")))).collect();
    let mut node = Node::new(peers.clone());
    assert_eq!(node.report().len(), MAX_SESSIONS);
    assert_eq!(node.table.beyond_limit().len(), 8);
    for hops in Hops::ALL {
        for number in 1..=40 {
            node.receive(at(1), &format!("192.0.2.{number}"), hops, DOWN);
        }
    }
    let sessions = |node: &Node| node.report().iter().map(|peer| peer.sessions.len()).sum::<usize>();
    assert_eq!(sessions(&node), MAX_SESSIONS);
    // Those that are served stay; those that go make room.
    let later: Vec<WantedPeer> = peers.iter().skip(2).rev().cloned().collect();
    let actions = node.configure(at(2), later);
    assert_eq!(actions.iter().filter(|action| matches!(action, Action::Close { .. })).count(), 2);
    assert_eq!((node.report().len(), node.table.beyond_limit().len(), sessions(&node)), (32, 6, 30));
    assert_eq!(node.report()[0].address, ip("192.0.2.3"));
}

#[test]
fn active_speaks_first() {
    let active = WantedPeer { role: Role::Active, ..WantedPeer::new(ip("2001:db8::1")) };
    let mut node = Node { table: Table::new(Rng::new(1), &[]) };
    assert_eq!(sent(&node.configure(at(0), vec![active])), [(ip("2001:db8::1"), Hops::Single, State::Down)]);
    assert!(node.table.next_deadline().is_some());
    // The address of ours that the router speaks with is taken over.
    node.receive(at(1), "2001:db8::1", Hops::Single, DOWN);
    assert_eq!(node.report()[0].sessions[0].local_address, Some(ip("2001:db8::10")));
}

#[test]
fn another_address_of_ours_waits_until_the_session_is_down() {
    let mut node = Node::new(vec![WantedPeer::new(ip("192.0.2.1"))]);
    node.receive(at(1), "192.0.2.1", Hops::Single, DOWN);
    let bytes = DOWN.encode();
    let elsewhere = Datagram { destination: ip("192.0.2.11"), ..Node::datagram("192.0.2.1", Hops::Single, &bytes) };
    let actions = node.receive_raw(at(2), elsewhere);
    assert!(matches!(actions[..], [Action::Refused { refusal: Refusal::LocalAddress, .. }]), "{actions:?}");
    node.receive(at(3), "192.0.2.1", Hops::Single, Packet { state: State::AdminDown, ..DOWN });
    let actions = node.receive_raw(at(4), elsewhere);
    assert!(matches!(actions[..], [Action::Close { .. }, ..]), "{actions:?}");
    assert_eq!(node.report()[0].sessions[0].local_address, Some(ip("192.0.2.11")));
}

#[test]
fn sources_together() {
    let peers = |list: &[WantedPeer]| Wanted::new(list.to_vec()).peers().unwrap();
    let one = WantedPeer::new(ip("192.0.2.1"));
    let agent = peers(&[WantedPeer { multiplier: 4, ..one.clone() }, WantedPeer::new(ip("192.0.2.2"))]);
    let single = WantedPeer { hops: Some(Hops::Single), ..WantedPeer::new(ip("192.0.2.2")) };
    let bgp = peers(&[WantedPeer { role: Role::Active, ..one }, single]);
    let union = peer::union([("agent", &agent[..]), ("bgp", &bgp[..])]);
    let both = vec!["agent".to_owned(), "bgp".to_owned()];
    assert_eq!(union.iter().map(|(_, names)| names.clone()).collect::<Vec<_>>(), [both.clone(), both]);
    let kinds: Vec<_> = union.iter().map(|(peer, _): &(Peer, _)| (peer.settings.role, peer.hops)).collect();
    assert_eq!(kinds, [(Role::Active, Some(Hops::Single)), (Role::Passive, None)]);
}

#[test]
fn a_wanted_file() {
    let text = br#"{"version":1,"peers":[{"address":"fe80::1","interface":"eth0","later":1}],"alsoLater":{}}"#;
    let wanted = Wanted::parse(text).unwrap();
    assert_eq!(wanted.peers[0], WantedPeer { interface: Some("eth0".to_owned()), ..WantedPeer::new(ip("fe80::1")) });
    assert_eq!(wanted.peers().unwrap()[0].hops, Some(Hops::Single));
    let written = serde_json::to_vec(&wanted).unwrap();
    assert_eq!(Wanted::parse(&written).unwrap(), wanted);
    assert!(matches!(Wanted::parse(br#"{"version":2,"neighbours":[]}"#), Err(Unreadable::Version(2))));
    assert!(matches!(Wanted::parse(&vec![b' '; wanted::MAX_BYTES + 1]), Err(Unreadable::Long)));
}

#[rstest]
#[case::unspecified(r#"{"address":"0.0.0.0"}"#, "no router")]
#[case::group(r#"{"address":"ff02::1"}"#, "no router")]
#[case::family(r#"{"address":"192.0.2.1","localAddress":"2001:db8::1"}"#, "other address family")]
#[case::no_interface(r#"{"address":"fe80::1"}"#, "needs an interface")]
#[case::interface(r#"{"address":"fe80::1","interface":"../x"}"#, "no name of an interface")]
#[case::routed(r#"{"address":"fe80::1","interface":"a","hops":"multi"}"#, "behind a router")]
#[case::ttl(r#"{"address":"192.0.2.1","minimumTtl":0}"#, "minimumTtl")]
#[case::least(r#"{"address":"192.0.2.1","minimumIntervalMilliseconds":9}"#, "minimumIntervalMilliseconds")]
#[case::interval(r#"{"address":"192.0.2.1","intervalMilliseconds":60001}"#, "intervalMilliseconds")]
#[case::multiplier(r#"{"address":"192.0.2.1","multiplier":0}"#, "multiplier")]
#[case::role(r#"{"address":"192.0.2.1","role":"Passive"}"#, "unknown variant")]
fn a_peer_that_cannot_be(#[case] peer: &str, #[case] why: &str) {
    let error = Wanted::parse(format!(r#"{{"version":1,"peers":[{peer}]}}"#).as_bytes()).unwrap_err().to_string();
    assert!(error.contains(why), "{error}");
}

#[test]
fn a_late_call_is_counted_as_a_pause() {
    let mut node = Node::new(vec![WantedPeer::new(ip("192.0.2.1"))]);
    node.receive(at(1), "192.0.2.1", Hops::Single, DOWN);
    let due = node.table.next_deadline().unwrap();
    node.table.handle(due.after(Duration::from_millis(100)), Event::Tick);
    assert_eq!(node.table.pauses(), Pauses::default());
    let (due, version) = (node.table.next_deadline().unwrap(), node.table.version());
    node.table.handle(due.after(Duration::from_secs(2)), Event::Tick);
    let pauses = node.table.pauses();
    assert_eq!((pauses.count, pauses.microseconds, pauses.last_microseconds), (1, 2_000_000, 2_000_000));
    assert_ne!(node.table.version(), version, "an observer must know soon");
}

#[test]
fn the_last_stranger_is_known() {
    let mut node = Node::new(vec![WantedPeer::new(ip("192.0.2.1"))]);
    node.receive(at(1), "192.0.2.254", Hops::Single, DOWN);
    assert_eq!((node.table.strangers(), node.table.last_stranger()), (1, Some(ip("192.0.2.254"))));
}
