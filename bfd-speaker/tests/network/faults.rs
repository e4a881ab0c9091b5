//! A node that is cut off, loss, a taken port, foreign packets.

use std::net::UdpSocket;
use std::thread::sleep;
use std::time::Instant;

use bfd::State;

use crate::lab::{ms, until};
use crate::router::Router;
use crate::speaker::{cable, peer};

/// How many UDP datagrams this namespace sends in 1.5 s.
fn sent_meanwhile() -> u64 {
    let sent = || {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap();
        let line = read("snmp").lines().filter(|line| line.starts_with("Udp: ")).nth(1).unwrap().to_owned();
        let v4: u64 = line.split_whitespace().nth(4).unwrap().parse().unwrap();
        let line = read("snmp6").lines().find(|line| line.starts_with("Udp6OutDatagrams")).unwrap().to_owned();
        v4 + line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = sent();
    sleep(ms(1500));
    sent() - before
}

#[test]
fn a_node_that_is_cut_off_is_noticed_within_the_detection_time() {
    let (mut node, router) = cable();
    node.want("agent", &[peer("10.77.0.1"), peer("fd77::1")]);
    node.start();
    let router =
        Router::start(router, " peer 10.77.0.2\n peer fd77::2\n  receive-interval 100\n  transmit-interval 100\n");
    router.wait_until_up("10.77.0.2");
    router.wait_until_up("fd77::2");
    sleep(ms(2000));
    for _ in 0..3 {
        let start = Instant::now();
        router.namespace.lose(100);
        node.namespace.lose(100);
        // What the detection time is, `make bench-failover` measures: here a busy machine must not matter.
        until("noticed at 100 ms", ms(5000), || !router.is_up("fd77::2"));
        println!("100 ms x 3: after {:?}", start.elapsed());
        until("noticed at 300 ms", ms(5000), || !router.is_up("10.77.0.2"));
        println!("300 ms x 3: after {:?}", start.elapsed());
        // Passive: it has become silent, and has not sent Down.
        for peer in ["10.77.0.1", "fd77::1"] {
            until("the node has noticed", ms(2000), || node.session(peer).unwrap().state == State::Down);
            assert_eq!(node.session(peer).unwrap().diagnostic, 1);
        }
        assert_eq!(node.namespace.run(sent_meanwhile), 0);
        node.namespace.mend();
        router.namespace.mend();
        router.wait_until_up("10.77.0.2");
        router.wait_until_up("fd77::2");
        node.wait_until_up("10.77.0.1");
        node.wait_until_up("fd77::1");
        sleep(ms(1500));
    }
}

#[test]
fn a_fifth_of_all_packets_lost() {
    let (mut node, router) = cable();
    node.want("agent", &[peer("10.77.0.1")]);
    node.start();
    let router = Router::start(router, " peer 10.77.0.2\n");
    router.wait_until_up("10.77.0.2");
    router.namespace.lose(20);
    node.namespace.lose(20);
    sleep(ms(30_000));
    let session = node.session("10.77.0.1").unwrap();
    println!("in 30 s lost {} times, as the node sees it {} times", router.losses("10.77.0.2"), session.downs);
    router.namespace.mend();
    node.namespace.mend();
    router.wait_until_up("10.77.0.2");
    node.wait_until_up("10.77.0.1");
    let before = router.losses("10.77.0.2");
    sleep(ms(3000));
    assert_eq!(router.losses("10.77.0.2"), before);
}

#[test]
fn a_taken_port_is_reported_and_served_when_it_is_free() {
    let (mut node, router) = cable();
    let taken = node.namespace.run(|| UdpSocket::bind("0.0.0.0:3784")).unwrap();
    node.want("agent", &[peer("10.77.0.1"), peer("fd77::1")]);
    node.start();
    let router = Router::start(router, " peer 10.77.0.2\n peer fd77::2\n");
    router.wait_until_up("fd77::2");
    let errors: Vec<_> = node.report().unwrap().ports.into_iter().filter(|port| port.error.is_some()).collect();
    assert_eq!(errors.iter().map(|port| (port.port, port.family.as_str())).collect::<Vec<_>>(), [(3784, "IPv4")]);
    assert!(errors[0].error.as_ref().unwrap().contains("3784"), "{errors:?}");
    drop(taken);
    println!("served {:?} after the port is free", router.wait_until_up("10.77.0.2"));
    until("reported", ms(2000), || node.report().unwrap().ports.iter().all(|port| port.error.is_none()));
}

/// Anybody beyond a router can send with the router's address, but not with its TTL.
#[test]
fn routed_and_foreign_packets_do_nothing() {
    let (mut node, router) = cable();
    node.want("agent", &[peer("10.77.0.1"), peer("fd77::1")]);
    node.start();
    router.ip("addr add 10.77.0.9/24 dev eth0");
    let router = Router::start(router, " peer 10.77.0.2\n peer fd77::2\n");
    router.wait_until_up("10.77.0.2");
    router.wait_until_up("fd77::2");
    sleep(ms(1000));
    router.namespace.run(|| {
        let mut down = [0_u8; 24];
        down[..12].copy_from_slice(&[0x20, 0x40, 3, 24, 0, 0, 0, 9, 0, 0, 0, 0]);
        for (from, to) in
            [("10.77.0.1:0", "10.77.0.2:3784"), ("[fd77::1]:0", "[fd77::2]:3784"), ("10.77.0.9:0", "10.77.0.2:3784")]
        {
            let socket = UdpSocket::bind(from).unwrap();
            if from.contains(".9:") {
                socket.set_ttl(255).unwrap();
            }
            for length in 0..=24 {
                socket.send_to(&down[..length], to).unwrap();
            }
        }
    });
    sleep(ms(12_000));
    let report = node.report().unwrap();
    assert_eq!((report.peers[0].refused, report.peers[1].refused, report.strangers), (25, 25, 25));
    assert!(report.peers[0].last_refusal.as_ref().unwrap().contains("TTL is 64"), "{report:?}");
    assert_eq!((router.losses("10.77.0.2"), router.losses("fd77::2")), (0, 0));
}
