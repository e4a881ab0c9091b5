//! What users and developers of other implementations have reported, each with where.

use std::net::UdpSocket;
use std::thread::sleep;

use bfd::State;
use bfd::wanted::WantedPeer;

use crate::lab::{Namespace, ms, until};
use crate::router::Router;
use crate::speaker::{Node, cable, peer};

/// Sends a datagram from the router's address and from TTL 255, as the router itself does.
fn forge(router: &Namespace, to: &str, bytes: [u8; 24]) {
    forge_from(router, 255, to, bytes);
}

/// Sends a datagram from the router's address and from this TTL.
fn forge_from(router: &Namespace, ttl: u32, to: &str, bytes: [u8; 24]) {
    let to = to.to_owned();
    router.run(move || {
        let socket = UdpSocket::bind("10.77.0.1:0").unwrap();
        socket.set_ttl(ttl).unwrap();
        socket.send_to(&bytes, to).unwrap();
    });
}

/// A node that expects a router which does not speak yet.
fn listening() -> (Node, Namespace) {
    let (mut node, router) = cable();
    node.want("agent", &[peer("10.77.0.1")]);
    node.start();
    until("it listens", ms(3000), || node.report().is_some_and(|report| report.ports.len() == 2));
    (node, router)
}

/// A node and a router whose session is up for the router.
fn up() -> (Node, Router) {
    let (mut node, router) = cable();
    node.want("agent", &[peer("10.77.0.1")]);
    node.start();
    let router = Router::start(router, " peer 10.77.0.2\n");
    router.wait_until_up("10.77.0.2");
    (node, router)
}

/// A packet with this state, these discriminators, and intervals of one second.
fn packet(state: u8, mine: u32, yours: u32) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..4].copy_from_slice(&[0x20, state << 6, 3, 24]);
    bytes[4..8].copy_from_slice(&mine.to_be_bytes());
    bytes[8..12].copy_from_slice(&yours.to_be_bytes());
    bytes[12..16].copy_from_slice(&1_000_000_u32.to_be_bytes());
    bytes[16..20].copy_from_slice(&1_000_000_u32.to_be_bytes());
    bytes
}

/// FRR 10388, 18416: a passive end stayed in Init for ever after its first answers were lost, because it answered once
/// and did not go on.
#[test]
fn frr_10388_a_passive_node_goes_on_answering() {
    let (node, router) = up();
    // The way to the router breaks. It says Down, and the node follows.
    router.namespace.lose(100);
    until("Init", ms(8000), || node.session("10.77.0.1").unwrap().state == State::Init);
    sleep(ms(5000));
    assert_eq!(node.session("10.77.0.1").unwrap().state, State::Init, "the router hears nothing");
    router.namespace.mend();
    println!("up {:?} after the answers arrive", router.wait_until_up("10.77.0.2"));
    node.wait_until_up("10.77.0.1");
}

/// `OpenBFDD` 13: after nine seconds without a packet, the session never came back.
#[test]
fn openbfdd_13_a_long_silence_ends_like_a_short_one() {
    let (mut node, router) = cable();
    node.want("agent", &[peer("10.77.0.1"), peer("fd77::1")]);
    node.start();
    let router = Router::start(router, " peer 10.77.0.2\n peer fd77::2\n");
    router.wait_until_up("10.77.0.2");
    router.wait_until_up("fd77::2");
    router.namespace.lose(100);
    node.namespace.lose(100);
    sleep(ms(14_000));
    router.namespace.mend();
    node.namespace.mend();
    router.wait_until_up("10.77.0.2");
    router.wait_until_up("fd77::2");
    node.wait_until_up("10.77.0.1");
    node.wait_until_up("fd77::1");
}

/// FRR 22643: a router that shuts BFD down says so in one packet and then nothing. Long afterwards it must still be known
/// that somebody has shut it down, and that nothing has failed.
#[test]
fn frr_22643_a_router_that_has_shut_bfd_down_is_not_called_silent() {
    let (node, router) = up();
    node.wait_until_up("10.77.0.1");
    router.configure("10.77.0.2", &["shutdown"]);
    until("the node has noticed", ms(5000), || node.session("10.77.0.1").unwrap().state == State::Down);
    sleep(ms(6000));
    let session = node.session("10.77.0.1").unwrap();
    assert_eq!((session.state, session.remote_state), (State::Down, State::AdminDown));
    router.configure("10.77.0.2", &["no shutdown"]);
    router.wait_until_up("10.77.0.2");
    assert_eq!(node.wait_until_up("10.77.0.1").last_lost_diagnostic, 3);
}

/// FRR 10120: a multiplier that changes alone needs no Poll, and was overlooked.
#[test]
fn frr_10120_a_multiplier_that_changes_alone_counts() {
    let (node, router) = up();
    node.wait_until_up("10.77.0.1");
    router.configure("10.77.0.2", &["detect-multiplier 9"]);
    let detection = || node.session("10.77.0.1").unwrap().detection_time_microseconds;
    until("the new detection time", ms(3000), || detection() == 2_700_000);
    assert_eq!((router.losses("10.77.0.2"), node.session("10.77.0.1").unwrap().downs), (0, 0));
}

/// Maghemite 798, `GoBGP` 3563: a router kept to 2 s although it was configured otherwise, and the other end, which did
/// not negotiate, lost the session again and again.
#[test]
fn maghemite_798_a_router_may_be_slow() {
    let (mut node, router) = cable();
    node.want("agent", &[WantedPeer { minimum_interval_milliseconds: 10, ..peer("10.77.0.1") }]);
    node.start();
    let router = Router::start(router, " peer 10.77.0.2\n  receive-interval 2000\n  transmit-interval 2000\n");
    router.wait_until_up("10.77.0.2");
    until("negotiated", ms(8000), || {
        node.session("10.77.0.1").is_some_and(|session| {
            session.detection_time_microseconds == 6_000_000 && session.transmit_interval_microseconds == 2_000_000
        })
    });
    let sent = node.session("10.77.0.1").unwrap().sent;
    sleep(ms(12_000));
    let session = node.session("10.77.0.1").unwrap();
    assert_eq!((session.downs, router.losses("10.77.0.2")), (0, 0));
    // With jitter, six to eight in 12 s, seen in reports that are up to 10 s old.
    assert!(session.sent - sent <= 16, "{} packets", session.sent - sent);
}

/// FRR 4202, `FortiGate`: a source port outside of 49152 to 65535 was refused. We send from that range and, because a
/// masquerading firewall on the way may take any other, do not ask what the router's is.
#[test]
fn frr_4202_the_routers_source_port_may_be_any() {
    let (mut node, router) = cable();
    router.command("nft add table ip nat");
    router.command("nft add chain ip nat post { type nat hook postrouting priority 100 ; }");
    router.command("nft add rule ip nat post udp dport 3784 masquerade to :1024-1100");
    node.want("agent", &[peer("10.77.0.1")]);
    node.start();
    let router = Router::start(router, " peer 10.77.0.2\n");
    router.wait_until_up("10.77.0.2");
    assert!(node.wait_until_up("10.77.0.1").source_port.unwrap() >= 49152);
    let counted = router.namespace.command("nft list table ip nat");
    assert!(counted.contains("masquerade"), "{counted}");
}

/// Maghemite 789: source ports were counted, and after a peer had gone the next one got a port that was in use.
#[test]
fn maghemite_789_source_ports_stay_apart_when_peers_come_and_go() {
    let (mut node, router) = cable();
    let link_local = WantedPeer { interface: Some("eth0".to_owned()), ..peer("fe80::1") };
    let all = [peer("10.77.0.1"), peer("fd77::1"), link_local];
    node.want("agent", &all);
    node.start();
    let configured = " peer 10.77.0.2\n peer fd77::2\n peer fe80::2 local-address fe80::1 interface eth0\n";
    let _router = Router::start(router, configured);
    let apart = |node: &Node, peers: &[WantedPeer]| {
        let port = |peer: &WantedPeer| node.wait_until_up(&peer.address.to_string()).source_port.unwrap();
        let found: std::collections::BTreeSet<u16> = peers.iter().map(port).collect();
        assert_eq!(found.len(), peers.len(), "{found:?}");
    };
    apart(&node, &all);
    node.want("agent", &all[1..]);
    until("one is gone", ms(3000), || node.report().unwrap().peers.len() == 2);
    apart(&node, &all[1..]);
    node.want("agent", &all);
    apart(&node, &all);
}

/// `GoBGP` 3513: a packet with the state Init or Up that names no session moved one to Up. And a sender without a
/// discriminator was accepted.
#[test]
fn gobgp_3513_a_packet_that_names_no_session_brings_none_up() {
    let (node, router) = listening();
    for (state, mine, yours) in [(2, 7, 0), (3, 7, 0), (2, 7, 12345), (3, 7, 12345), (1, 0, 0)] {
        forge(&router, "10.77.0.2:3784", packet(state, mine, yours));
    }
    until("refused", ms(3000), || node.peer("10.77.0.1").is_some_and(|peer| peer.last_refusal.is_some()));
    sleep(ms(500));
    assert!(node.peer("10.77.0.1").unwrap().sessions.is_empty());
    // One with the state Down that names none begins one.
    forge(&router, "10.77.0.2:3784", packet(1, 7, 0));
    until("Init", ms(3000), || node.session("10.77.0.1").is_some_and(|session| session.state == State::Init));
}

/// FRR 23283: the router has lost its state within the detection time and says Down without our discriminator. It was
/// refused while the session was Up.
#[test]
fn frr_23283_a_router_that_has_forgotten_us_is_believed_at_once() {
    let (mut node, router) = cable();
    node.want("agent", &[peer("10.77.0.1")]);
    node.start();
    // So slow that the node would notice nothing for nine seconds.
    let mut router = Router::start(router, " peer 10.77.0.2\n  transmit-interval 3000\n");
    router.wait_until_up("10.77.0.2");
    until("the router's interval", ms(9000), || {
        node.session("10.77.0.1").is_some_and(|session| session.detection_time_microseconds == 9_000_000)
    });
    router.kill_bfdd();
    forge(&router.namespace, "10.77.0.2:3784", packet(1, 99, 0));
    until("the node has noticed", ms(2000), || {
        node.session("10.77.0.1").is_some_and(|session| session.remote_discriminator == 99)
    });
    assert_ne!(node.session("10.77.0.1").unwrap().state, State::Up);
}

/// FRR 11148: a packet for another address of the node, with no discriminator, took over the session that was up.
#[test]
fn frr_11148_a_packet_for_another_address_leaves_the_session_alone() {
    let (mut node, router) = cable();
    node.namespace.ip("addr add 10.77.0.3/24 dev eth0");
    node.want("agent", &[peer("10.77.0.1")]);
    node.start();
    let router = Router::start(router, " peer 10.77.0.2\n");
    router.wait_until_up("10.77.0.2");
    node.wait_until_up("10.77.0.1");
    for _ in 0..10 {
        forge(&router.namespace, "10.77.0.3:3784", packet(1, 99, 0));
        sleep(ms(100));
    }
    let session = node.session("10.77.0.1").unwrap();
    assert_eq!((session.state, session.downs, router.losses("10.77.0.2")), (State::Up, 0, 0));
    assert_eq!(session.local_address.unwrap().to_string(), "10.77.0.2");
}

/// FRR 7558, 22921: two links on which the routers have the same link-local address.
#[test]
fn frr_7558_two_links_with_the_same_address_are_two_sessions() {
    let (node, left, right) = (Namespace::new(), Namespace::new(), Namespace::new());
    node.cable("eth0", &left, "eth0");
    node.cable("eth1", &right, "eth0");
    for interface in ["eth0", "eth1"] {
        node.ip(&format!("addr add fe80::2/64 dev {interface} nodad"));
    }
    left.ip("addr add fe80::1/64 dev eth0 nodad");
    right.ip("addr add fe80::1/64 dev eth0 nodad");
    let mut node = Node::new(node);
    let on = |interface: &str| WantedPeer { interface: Some(interface.to_owned()), ..peer("fe80::1") };
    node.want("agent", &[on("eth0"), on("eth1")]);
    node.start();
    let configured = " peer fe80::2 local-address fe80::1 interface eth0\n";
    let (left, right) = (Router::start(left, configured), Router::start(right, configured));
    left.wait_until_up("fe80::2");
    right.wait_until_up("fe80::2");
    let states = || {
        let peers = node.report().unwrap().peers;
        let state = |interface: &str| {
            let peer = peers.iter().find(|peer| peer.interface.as_deref() == Some(interface))?;
            peer.sessions.first().map(|session| session.state)
        };
        [state("eth0"), state("eth1")]
    };
    until("both", ms(5000), || states() == [Some(State::Up), Some(State::Up)]);
    left.namespace.ip("link set eth0 down");
    until("one is down", ms(5000), || states() == [Some(State::Down), Some(State::Up)]);
    sleep(ms(2000));
    assert_eq!(states(), [Some(State::Down), Some(State::Up)]);
    assert_eq!(right.losses("fe80::2"), 0);
}

/// Keepalived 2267: a router that is several hops away and uses the port of neighbours cannot be told from a forger. The
/// node must say which port it would answer on.
#[test]
fn keepalived_2267_a_distant_router_on_the_port_of_neighbours_is_refused_with_the_reason() {
    let (node, router) = listening();
    forge_from(&router, 254, "10.77.0.2:3784", packet(1, 7, 0));
    let refusal = || node.peer("10.77.0.1").and_then(|peer| peer.last_refusal);
    until("refused", ms(3000), || refusal().is_some());
    let refusal = refusal().unwrap();
    assert!(refusal.contains("TTL is 254") && refusal.contains("4784"), "{refusal}");
}

/// FRR 18586: a packet was to count by its discriminator alone, whatever its source (RFC 5880 6.3). Here it must come from
/// the session's own peer as well: no router changes its address, and a forger who has seen a discriminator may.
#[test]
fn frr_18586_a_discriminator_counts_only_from_its_own_peer() {
    let (mut node, router) = cable();
    node.want("agent", &[peer("10.77.0.1"), peer("fd77::1")]);
    node.start();
    let router = Router::start(router, " peer 10.77.0.2\n peer fd77::2\n");
    let one = node.wait_until_up("10.77.0.1");
    let other = node.wait_until_up("fd77::1");
    assert_ne!(one.local_discriminator, other.local_discriminator);
    forge(&router.namespace, "10.77.0.2:3784", packet(1, 7, other.local_discriminator));
    until("refused", ms(3000), || node.peer("10.77.0.1").unwrap().last_refusal.is_some());
    for address in ["10.77.0.1", "fd77::1"] {
        let session = node.session(address).unwrap();
        assert_eq!((session.state, session.downs), (State::Up, 0));
    }
}
