//! Network interfaces for tests: NICs with their other ends, a VRF, a switch.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use lbnodeagent::kernel::netlink::monitor::Monitor;
use lbnodeagent::model::observed::Change;

use crate::node::{LOCAL, Node, REMOTE, local_is_on, remote_is_there};
use crate::objects::{groups, service};
use crate::support::{Far, add_dummy, eventually, ip, ip_batch, try_ip};
use crate::wire::addr;

/// The hardware addresses of `eth0`, as `Lan` has it, and of `eth1`.
pub const MACS: [&str; 2] = ["02:00:00:00:00:0a", "02:00:00:00:00:0b"];
/// One that nobody has.
pub const NOBODY: &str = "02:00:00:00:00:ff";
/// Addresses for the network of `eth1`.
pub const MGMT: &[&str] = &["10.1.0.200", "fd00:1::f000"];
/// The subnets of `eth0`, as `Lan` has it, and of `eth1`.
pub const SUBNETS: [[&str; 2]; 2] = [["192.168.50.0/24", "fd00:50::/64"], ["10.1.0.0/24", "fd00:1::/64"]];
/// The kernel's tables: of the host's own addresses, of routes, and of both in the VRF.
pub const LOCALS: u32 = 255;
pub const MAIN: u32 = 254;
pub const VRF: u32 = 10;

/// Makes the VRF `mgmt`, with the address that programs in it expect.
pub fn vrf() {
    ip_batch("link add mgmt type vrf table 10\nlink set mgmt up\naddress add 127.0.0.1/8 dev mgmt\n");
}

/// Plugs a NIC in whose other end is elsewhere.
pub fn plug(nic: &str, mac: &str, end: &'static str, far: &Far) {
    ip(&format!("link add {nic} address {mac} type veth peer name {end} netns {}", far.thread));
    far.run(move || ip(&format!("link set {end} up")));
    ip(&format!("link set {nic} up"));
}

/// The node's own addresses are there, if they were not.
pub fn readdress(interface: &str) {
    ip_batch(&format!(
        "address replace 192.168.50.11/24 dev {interface}\naddress replace fd00:50::11/64 dev {interface} nodad\n"
    ));
}

/// The default routes lead there, in this table.
pub fn route(interface: &str, table: u32) {
    ip_batch(&format!(
        "route replace default via 192.168.50.1 dev {interface} table {table}\n\
         route replace default via fd00:50::1 dev {interface} table {table}\n"
    ));
}

/// Whether the kernel looks for the local addresses in this table when packets for them come.
pub fn local_is_in(table: u32) -> bool {
    let has = |family: &str, address: &str| {
        // A table without routes is none.
        try_ip(&format!("{family} route show table {table}")).1.contains(&format!("local {address} dev"))
    };
    has("-4", LOCAL[0]) && has("-6", LOCAL[1])
}

/// Clients remember that the local addresses are where nobody is.
pub fn misled(far: &Far, end: &'static str) {
    far.run(move || {
        for address in LOCAL {
            ip(&format!("neighbour replace {address} lladdr {NOBODY} nud stale dev {end}"));
        }
    });
}

/// Waits until clients know the local addresses at this hardware address.
pub async fn known_at(mac: &str, far: &Far, end: &'static str) {
    let known = |address: &str, text: &str| {
        let place = format!("{address} lladdr {mac} ");
        text.lines().any(|line| line.starts_with(&place))
    };
    eventually("known to clients", || {
        let text = far.run(move || ip(&format!("neighbour show dev {end}")));
        LOCAL.iter().all(|address| known(address, &text))
    })
    .await;
}

/// Waits until clients that know nothing of the local addresses have found them at this hardware address.
pub async fn answers(mac: &str, far: &Far, end: &'static str) {
    far.run(move || {
        for address in LOCAL {
            try_ip(&format!("neighbour del {address} dev {end}"));
            let socket = UdpSocket::bind(if address.contains(':') { "[::]:0" } else { "0.0.0.0:0" }).unwrap();
            socket.send_to(b"", (addr(address), 9)).unwrap();
        }
    });
    known_at(mac, far, end).await;
}

/// The addresses that went from any interface since the last call.
pub fn lost(monitor: &mut Monitor) -> Vec<String> {
    let heard = monitor.read().changes.into_iter();
    heard
        .filter_map(|change| if let Change::NoAddress(key) = change { Some(key.ip.to_string()) } else { None })
        .collect()
}

pub async fn subnets(node: &Node, expected: &[&str]) {
    let start = Instant::now();
    while node.state().await.subnets != expected {
        assert!(start.elapsed() < Duration::from_secs(10), "{expected:?}: {:?}", node.state().await.subnets);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An agent that announces all addresses.
pub async fn announced(interface: &str) -> Node {
    let node = Node::with(&groups(), &[service("routed", REMOTE), service("local", LOCAL)]).await;
    eventually("announced", || remote_is_there() && local_is_on(interface)).await;
    said(&node, interface).await;
    node
}

/// Waits until the agent says that the local addresses are there.
pub async fn said(node: &Node, interface: &str) {
    for ip in LOCAL {
        let here = |address: &lbnodeagent::report::state::AddressEntry| {
            address.announced && address.error.is_none() && address.interface.as_deref() == Some(interface)
        };
        node.says(interface, ip, here).await;
    }
}

/// The network at the other ends of `eth0` and `eth1`, which are `far0` and `far1` there: a switch.
pub fn switch() -> Far {
    let lan = Far::new();
    lan.run(|| {
        ip_batch(
            "link add far type bridge\nlink set far up\n\
             address add 192.168.50.1/24 dev far\naddress add fd00:50::1/64 dev far nodad\n",
        );
    });
    for (nic, mac, end) in [("eth0", MACS[0], "far0"), ("eth1", MACS[1], "far1")] {
        plug(nic, mac, end, &lan);
        lan.run(move || ip(&format!("link set {end} master far")));
    }
    add_dummy("kube-lb0");
    lan
}
