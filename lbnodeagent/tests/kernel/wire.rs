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
    pub ear: Listener,
}

impl Wire {
    pub async fn new() -> Self {
        let far = Far::new();
        ip(&format!("link add eth0 address 02:00:00:00:00:0a type veth peer name far netns {}", far.thread));
        // Addresses that answer at once.
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
        let ear = Listener::open(index).unwrap();
        let mut wire = Self { far, socket: PacketSocket::open().unwrap(), index, ear };
        wire.settles().await;
        wire
    }

    /// A kernel joins the groups of its addresses in the background; before that it hears no questions for them.
    async fn settles(&mut self) {
        let own: Ipv6Addr = "2001:db8::a".parse().unwrap();
        let mut silent = vec!["2001:db8::b", "fe80::b"];
        for _ in 0..200 {
            for target in &silent {
                self.ask(probe(addr(target), NEAR, Some(own), None));
            }
            sleep(Duration::from_millis(10)).await;
            let heard = self.ear.receive(NEAR);
            silent.retain(|target| !heard.contains(&(FAR, NeighborFrame::Reply(addr(target)))));
            if silent.is_empty() {
                break;
            }
        }
        assert!(silent.is_empty(), "no answers of {silent:?}");
        let _ = self.heard().await;
    }

    pub fn ask(&self, frame: Option<Vec<u8>>) {
        self.socket.send(self.index, &frame.expect("a frame")).unwrap();
    }

    /// The far end sends a frame of its own making.
    pub fn tell(&self, frame: Vec<u8>) {
        self.far.run(move || {
            PacketSocket::open().unwrap().send(if_nametoindex("far").unwrap(), &frame).unwrap();
        });
    }

    /// What is heard within some time that the wire does not need.
    pub async fn heard(&mut self) -> Vec<(Mac, NeighborFrame)> {
        let mut heard = Vec::new();
        while timeout(Duration::from_millis(150), self.ear.ready()).await.is_ok() {
            heard.extend(self.ear.receive(NEAR));
        }
        heard
    }

    pub async fn waits_for(&mut self, wanted: (Mac, NeighborFrame)) {
        let wait = async {
            loop {
                self.ear.ready().await.unwrap();
                if self.ear.receive(NEAR).contains(&wanted) {
                    break;
                }
            }
        };
        timeout(Duration::from_secs(5), wait).await.unwrap_or_else(|_| panic!("not heard: {wanted:?}"));
    }
}
