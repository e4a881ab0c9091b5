//! What an agent answers a member that asks for an address: it claims it, its kernel has it as a route, its kernel has it
//! from somebody else, or nothing.

use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use ownership::session::Session;
use ownership::wire::{ClaimAnswer, Frame, Status, encode};
use ownership::{BootId, Keys, NodeId, Time};

use crate::changes::start_announcing;
use crate::node::{LOCAL, Lan, REMOTE};
use crate::support::{add_dummy, in_namespace, ip, try_ip};

/// A member that asks.
struct Member {
    socket: UdpSocket,
    session: Session,
    start: Instant,
}

impl Member {
    fn new() -> Self {
        let socket = UdpSocket::bind("192.168.50.11:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let session = Session::new(NodeId::new("n2").unwrap(), BootId(1), Keys::new(&[7; 32], None));
        Self { socket, session, start: Instant::now() }
    }

    fn send(&mut self, frames: &[Frame]) {
        let datagram = self.session.seal(encode(&Status::default(), frames)).unwrap();
        self.socket.send_to(&datagram, "192.168.50.11:7475").unwrap();
    }

    fn ask(&mut self, address: IpAddr) -> Option<ClaimAnswer> {
        self.send(&[Frame::ClaimQuery(address)]);
        let mut bytes = [0; 2000];
        while let Ok(length) = self.socket.recv(&mut bytes) {
            let now = Time::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap());
            let Ok(received) = self.session.receive(&bytes[..length]) else { continue };
            if !received.known {
                let (replies, _) = self.session.greet(&received, now);
                self.send(&replies);
            }
            for frame in received.frames {
                match frame {
                    Frame::ClaimReply { address: of, answer } if of == address => return Some(answer),
                    Frame::Challenge(nonce) => self.send(&[Frame::Response(nonce)]),
                    _ => {}
                }
            }
        }
        None
    }

    /// Waits for this answer.
    async fn wait_for_answer(&mut self, address: &str, expected: impl Fn(ClaimAnswer) -> bool) {
        let start = Instant::now();
        loop {
            let answer = self.ask(address.parse().unwrap());
            if answer.is_some_and(&expected) {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "{address}: {answer:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[test]
fn an_agent_says_what_its_kernel_has() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let node = start_announcing().await;
        let mut member = Member::new();
        for local in LOCAL {
            member.wait_for_answer(local, |answer| matches!(answer, ClaimAnswer::Claimed(_))).await;
        }
        for remote in REMOTE {
            member.wait_for_answer(remote, |answer| answer == ClaimAnswer::HeldRemote).await;
        }
        member.wait_for_answer("192.168.50.11", |answer| answer == ClaimAnswer::HeldForeign).await;
        member.wait_for_answer("192.168.50.235", |answer| answer == ClaimAnswer::Nothing).await;
        // Another program's VIP, on the network and on the loopback interface.
        for (address, interface) in [("192.168.50.235/32", "eth0"), ("172.30.200.1/32", "lo")] {
            let host = address.split('/').next().unwrap();
            ip(&format!("address add {address} dev {interface}"));
            member.wait_for_answer(host, |answer| answer == ClaimAnswer::HeldForeign).await;
            ip(&format!("address del {address} dev {interface}"));
            member.wait_for_answer(host, |answer| answer == ClaimAnswer::Nothing).await;
        }
        // A service proxy has all of them, which says nothing.
        add_dummy("kube-ipvs0");
        ip("address add 192.168.50.236/32 dev kube-ipvs0");
        let (added, _) = try_ip("address add 192.168.50.236/32 dev lo");
        assert!(added);
        member.wait_for_answer("192.168.50.236", |answer| answer == ClaimAnswer::HeldForeign).await;
        ip("address del 192.168.50.236/32 dev lo");
        member.wait_for_answer("192.168.50.236", |answer| answer == ClaimAnswer::Nothing).await;
        // A route that somebody else put on the dummy interface.
        ip("address add 172.30.200.9/32 dev kube-lb0");
        member
            .wait_for_answer("172.30.200.9", |answer| {
                answer == ClaimAnswer::HeldForeign || answer == ClaimAnswer::Nothing
            })
            .await;
        node.stop().await;
    });
}
