//! Frames that the agent sends: they arrive, and a claim is announced.

use std::time::Duration;

use lbnodeagent::kernel::packet::socket::PacketSocket;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt};
use nix::sys::time::TimeVal;
use std::os::fd::AsRawFd;

use crate::node::{LOCAL, Lan, Node, interfaces};
use crate::objects::{groups, service};
use crate::support::{eventually, in_namespace, ip};

#[test]
fn a_frame_arrives_at_the_far_end() {
    in_namespace(|| async {
        ip("link add eth0 type veth peer name far");
        ip("link set eth0 up");
        ip("link set far up");
        // Before that, the kernel silently drops what is sent.
        eventually("eth0 is up", || ip("link show eth0").contains("state UP")).await;
        let sniffer = Sniffer::new();
        let index = nix::net::if_::if_nametoindex("eth0").unwrap();
        let frame = [&[0xff; 12][..], &[0x88, 0xb5], &[7; 46]].concat();
        PacketSocket::open().unwrap().send(index, &frame).unwrap();
        assert!(sniffer.receives(|received| received == frame.as_slice()));
        assert!(PacketSocket::open().unwrap().send(9999, &frame).is_err());
    });
}

#[test]
fn a_claim_is_announced_in_both_families() {
    in_namespace(|| async {
        interfaces();
        let sniffer = Sniffer::new();
        let node = Node::with(&groups(), &[]).await;
        node.apply(&service("local", &["192.168.50.200", "fd00:50::f000"])).await;
        let received = tokio::task::spawn_blocking(move || {
            let request = sniffer.receives(|frame| {
                frame.get(12..14) == Some(&[8, 6])
                    && frame.get(20..22) == Some(&[0, 1])
                    && frame.get(28..32) == Some(&[192, 168, 50, 200])
            });
            let advertisement =
                sniffer.receives(|frame| frame.get(12..14) == Some(&[0x86, 0xdd]) && frame.get(54) == Some(&136));
            (request, advertisement)
        });
        assert_eq!(received.await.unwrap(), (true, true));
        drop(node);
    });
}

/// The gateway ignores announcements and remembers another hardware address: a request from the address tells it.
#[test]
fn case_50_a_gateway_that_ignores_announcements_learns_of_a_claim() {
    in_namespace(|| async {
        let lan = Lan::new().await;
        lan.0.run(|| {
            for setting in ["ipv4/conf/far/drop_gratuitous_arp", "ipv6/conf/far/drop_unsolicited_na"] {
                std::fs::write(format!("/proc/sys/net/{setting}"), "1").unwrap();
            }
            for address in LOCAL {
                ip(&format!("neigh replace {address} lladdr 02:00:00:00:00:99 dev far nud reachable"));
            }
        });
        let node = Node::with(&groups(), &[service("local", LOCAL)]).await;
        for address in LOCAL {
            let neighbour = || lan.0.run(move || ip(&format!("neigh show {address} dev far")));
            eventually("the gateway knows the owner", || neighbour().contains("02:00:00:00:00:0a")).await;
        }
        drop(node);
    });
}

/// Receives every frame in the namespace.
struct Sniffer(std::os::fd::OwnedFd);

impl Sniffer {
    fn new() -> Self {
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), SockProtocol::EthAll).unwrap();
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(0, 100_000)).unwrap();
        Self(socket)
    }

    /// Whether a wanted frame comes within 3 s.
    fn receives(&self, wanted: impl Fn(&[u8]) -> bool) -> bool {
        let start = std::time::Instant::now();
        let mut buffer = [0; 2048];
        while start.elapsed() < Duration::from_secs(3) {
            if let Ok(length) = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty())
                && wanted(&buffer[..length])
            {
                return true;
            }
        }
        false
    }
}
