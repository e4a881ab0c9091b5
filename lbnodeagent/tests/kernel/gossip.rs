//! The UDP sockets of the gossip, on the loopback interface of a namespace.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use lbnodeagent::kernel::gossip::Gossip;
use ownership::session::MAX_DATAGRAM;
use tokio::time::timeout;

use crate::support::{eventually, in_namespace};

const HOSTS: [&str; 2] = ["127.0.0.1", "[::1]"];

fn at(host: &str, port: u16) -> SocketAddr {
    format!("{host}:{port}").parse().unwrap()
}

async fn next(gossip: &mut Gossip, limit: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    timeout(Duration::from_secs(5), gossip.ready()).await.expect("nothing came").unwrap();
    gossip.receive(limit)
}

#[test]
fn both_families_are_one_port() {
    in_namespace(|| async {
        let (mut one, mut two) = (Gossip::bind(7475).unwrap(), Gossip::bind(0).unwrap());
        assert_eq!(one.local_port(), 7475);
        assert!(two.local_port() > 0);
        for host in HOSTS {
            two.send(at(host, 7475), b"question").unwrap();
            let received = next(&mut one, 10).await;
            // The sender's address is of its own family, so an answer reaches it.
            assert_eq!(received, [(at(host, two.local_port()), b"question".to_vec())]);
            one.send(received[0].0, b"answer").unwrap();
            assert_eq!(next(&mut two, 10).await, [(at(host, 7475), b"answer".to_vec())]);
        }
        assert!(one.receive(10).is_empty());
        assert!(timeout(Duration::from_millis(50), one.ready()).await.is_err());
        // Nobody listens there. That must not fail, neither this call nor a later one.
        one.send(at("127.0.0.1", 9), b"lost").unwrap();
        one.send(at("127.0.0.1", 9), b"lost").unwrap();
        assert!(one.send(at("192.0.2.1", 9), b"no route").is_err());
    });
}

#[test]
fn long_datagrams_are_recognisable() {
    in_namespace(|| async {
        let (mut one, two) = (Gossip::bind(0).unwrap(), Gossip::bind(0).unwrap());
        let lengths = [0, MAX_DATAGRAM, MAX_DATAGRAM + 1, MAX_DATAGRAM + 2, 60_000];
        for length in lengths {
            two.send(at("127.0.0.1", one.local_port()), &vec![7; length]).unwrap();
        }
        let received: Vec<usize> = next(&mut one, 10).await.iter().map(|(_, bytes)| bytes.len()).collect();
        assert_eq!(received, lengths.map(|length| length.min(MAX_DATAGRAM + 1)));
    });
}

#[test]
fn a_flood_is_read_in_parts_and_fairly() {
    in_namespace(|| async {
        let (mut one, two) = (Gossip::bind(0).unwrap(), Gossip::bind(0).unwrap());
        for number in 0..200_u8 {
            two.send(at("127.0.0.1", one.local_port()), &[number]).unwrap();
        }
        two.send(at("[::1]", one.local_port()), b"v6").unwrap();
        let first = next(&mut one, 50).await;
        assert!(first.iter().any(|(from, _)| from.is_ipv6()));
        let mut counts = vec![first.len()];
        while timeout(Duration::from_millis(100), one.ready()).await.is_ok() {
            counts.push(one.receive(50).len());
        }
        assert_eq!(counts.iter().sum::<usize>(), 201, "{counts:?}");
        assert!(counts.iter().all(|count| *count <= 50), "{counts:?}");
    });
}

#[test]
fn a_taken_port_is_named() {
    in_namespace(|| async {
        // Taken for all addresses, for one address of each family, and by a socket for both families.
        for (host, port) in [("0.0.0.0", 7001), ("127.0.0.1", 7002), ("[::1]", 7003), ("[::]", 7004)] {
            let _taken = UdpSocket::bind(at(host, port)).unwrap();
            let error = Gossip::bind(port).expect_err(host);
            assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
            assert!(error.to_string().contains(&port.to_string()), "{error}");
        }
        let first = Gossip::bind(7475).unwrap();
        assert!(Gossip::bind(7475).is_err());
        drop(first);
        // A program that another test starts at this moment inherits the socket until it runs.
        eventually("the port is free again", || Gossip::bind(7475).is_ok()).await;
    });
}
