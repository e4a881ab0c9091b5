//! A wire with a second kernel at its far end.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use lbnodeagent::kernel::packet::frames::{Mac, probe};
use lbnodeagent::kernel::packet::listener::Listener;
use lbnodeagent::kernel::packet::socket::PacketSocket;
use nix::net::if_::if_nametoindex;
use ownership::NeighborFrame;
use tokio::time::{sleep, timeout};

use crate::support::{Far, eventually, ip};

pub const NEAR: Mac = [2, 0, 0, 0, 0, 0x0a];
pub const FAR: Mac = [2, 0, 0, 0, 0, 0x0b];
pub const OTHER: Mac = [2, 0, 0, 0, 0, 0x0c];

pub fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn question(target: &str, sender: Option<&str>) -> NeighborFrame {
    NeighborFrame::Request { target: addr(target), sender: sender.map(addr) }
}

/// Both ends of a wire, each in a namespace of its own, with addresses in both families.
pub struct Wire {
    pub far: Far,
    socket: PacketSocket,
    pub index: u32,
    pub listener: Listener,
}

impl Wire {
    pub async fn new() -> Self {
        let far = Far::new();
        ip(&format!("link add eth0 address 02:00:00:00:00:0a type veth peer name far netns {}", far.thread));
        // With `nodad`, so that the addresses answer at once.
        for address in ["192.0.2.10/24", "2001:db8::a/64 nodad", "fe80::a/64 nodad"] {
            ip(&format!("address add {address} dev eth0"));
        }
        ip("link set eth0 addrgenmode none up");
        far.run(|| {
            for address in ["192.0.2.11/24", "2001:db8::b/64 nodad", "fe80::b/64 nodad"] {
                ip(&format!("address add {address} dev far"));
            }
            ip("link set far address 02:00:00:00:00:0b addrgenmode none up");
        });
        let up = |name: &str| ip(&format!("link show {name}")).contains("state UP");
        eventually("both ends are up", || up("eth0") && far.run(move || up("far"))).await;
        let index = if_nametoindex("eth0").unwrap();
        let listener = Listener::open(index).unwrap();
        let mut wire = Self { far, socket: PacketSocket::open().unwrap(), index, listener };
        wire.wait_until_ready().await;
        wire
    }

    /// Waits until the far kernel answers. It joins the multicast groups of its addresses in the background, and
    /// receives no questions for them before that.
    async fn wait_until_ready(&mut self) {
        let own: Ipv6Addr = "2001:db8::a".parse().unwrap();
        let mut silent = vec!["2001:db8::b", "fe80::b"];
        for _ in 0..200 {
            for target in &silent {
                self.send(probe(addr(target), NEAR, Some(own), None));
            }
            sleep(Duration::from_millis(10)).await;
            let frames = self.listener.receive(NEAR);
            silent.retain(|target| !frames.contains(&(FAR, NeighborFrame::Reply(addr(target)))));
            if silent.is_empty() {
                break;
            }
        }
        assert!(silent.is_empty(), "no answers for {silent:?}");
        let _ = self.received().await;
    }

    /// Sends a frame from the near end.
    pub fn send(&self, frame: Option<Vec<u8>>) {
        self.socket.send(self.index, &frame.expect("a frame")).unwrap();
    }

    /// Sends a frame from the far end.
    pub fn send_from_far(&self, frame: Vec<u8>) {
        self.far.run(move || {
            PacketSocket::open().unwrap().send(if_nametoindex("far").unwrap(), &frame).unwrap();
        });
    }

    /// Waits until no frame has come for 150 ms, much longer than a frame takes. Returns the frames until then.
    pub async fn received(&mut self) -> Vec<(Mac, NeighborFrame)> {
        let mut frames = Vec::new();
        while timeout(Duration::from_millis(150), self.listener.ready()).await.is_ok() {
            frames.extend(self.listener.receive(NEAR));
        }
        frames
    }

    /// Waits for a frame.
    pub async fn wait_for(&mut self, wanted: (Mac, NeighborFrame)) {
        let wait = async {
            loop {
                self.listener.ready().await.unwrap();
                if self.listener.receive(NEAR).contains(&wanted) {
                    break;
                }
            }
        };
        timeout(Duration::from_secs(5), wait).await.unwrap_or_else(|_| panic!("not received: {wanted:?}"));
    }
}
