//! Network interfaces for tests: NICs with their other ends, a VRF, a switch; and what clients know of the addresses.

use std::net::UdpSocket;

use lbnodeagent::kernel::netlink::monitor::Monitor;
use lbnodeagent::model::observed::Change;

use crate::node::{LOCAL, Node, REMOTE, local_is_on, remote_is_there};
use crate::objects::{groups, service};
use crate::support::{Far, add_dummy, eventually, ip, ip_batch, try_ip};
use crate::wire::addr;

/// The MACs of `eth0`, as in `Lan`, and of `eth1`.
pub const MACS: [&str; 2] = ["02:00:00:00:00:0a", "02:00:00:00:00:0b"];
/// A MAC that no host has.
pub const NOBODY: &str = "02:00:00:00:00:ff";
/// Addresses for the network of `eth1`.
pub const MGMT: &[&str] = &["10.1.0.200", "fd00:1::f000"];
/// The subnets of `eth0`, as in `Lan`, and of `eth1`.
pub const SUBNETS: [[&str; 2]; 2] = [["192.168.50.0/24", "fd00:50::/64"], ["10.1.0.0/24", "fd00:1::/64"]];
/// The kernel's table of the host's own addresses.
pub const LOCAL_TABLE: u32 = 255;
/// The kernel's main table of routes.
pub const MAIN_TABLE: u32 = 254;
/// The table of the VRF, which has both.
pub const VRF_TABLE: u32 = 10;

/// Adds the VRF `mgmt`, with the address that programs in it expect.
pub fn add_vrf() {
    ip_batch("link add mgmt type vrf table 10\nlink set mgmt up\naddress add 127.0.0.1/8 dev mgmt\n");
}

/// Adds a NIC whose other end is in another namespace.
pub fn plug(nic: &str, mac: &str, end: &'static str, far: &Far) {
    ip(&format!("link add {nic} address {mac} type veth peer name {end} netns {}", far.thread));
    far.run(move || ip(&format!("link set {end} up")));
    ip(&format!("link set {nic} up"));
}

/// Adds the node's own addresses if they are not there.
pub fn replace_node_addresses(interface: &str) {
    ip_batch(&format!(
        "address replace 192.168.50.11/24 dev {interface}\naddress replace fd00:50::11/64 dev {interface} nodad\n"
    ));
}

/// Makes this interface the one of the default routes in the table.
pub fn set_default_routes(interface: &str, table: u32) {
    ip_batch(&format!(
        "route replace default via 192.168.50.1 dev {interface} table {table}\n\
         route replace default via fd00:50::1 dev {interface} table {table}\n"
    ));
}

/// Whether the kernel looks for the local addresses in this table when packets for them come.
pub fn local_is_in_table(table: u32) -> bool {
    let has = |family: &str, address: &str| {
        // A table without routes does not exist, so `ip` may fail.
        try_ip(&format!("{family} route show table {table}")).1.contains(&format!("local {address} dev"))
    };
    has("-4", LOCAL[0]) && has("-6", LOCAL[1])
}

/// Fills the clients' neighbour caches with a MAC that no host has for the local addresses.
pub fn mislead_clients(far: &Far, end: &'static str) {
    far.run(move || {
        for address in LOCAL {
            ip(&format!("neighbour replace {address} lladdr {NOBODY} nud stale dev {end}"));
        }
    });
}

/// Waits until the clients' neighbour caches have this MAC for the local addresses.
pub async fn wait_until_known_at(mac: &str, far: &Far, end: &'static str) {
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

/// Waits until clients with empty neighbour caches have found the local addresses at this MAC.
pub async fn wait_until_answered_from(mac: &str, far: &Far, end: &'static str) {
    far.run(move || {
        for address in LOCAL {
            try_ip(&format!("neighbour del {address} dev {end}"));
            let socket = UdpSocket::bind(if address.contains(':') { "[::]:0" } else { "0.0.0.0:0" }).unwrap();
            socket.send_to(b"", (addr(address), 9)).unwrap();
        }
    });
    wait_until_known_at(mac, far, end).await;
}

/// The addresses that were removed from any interface since the last call.
pub fn removed_addresses(monitor: &mut Monitor) -> Vec<String> {
    let changes = monitor.read().changes.into_iter();
    changes
        .filter_map(|change| if let Change::NoAddress(key) = change { Some(key.ip.to_string()) } else { None })
        .collect()
}

/// Starts an agent, and waits until it announces all addresses, the local ones on this interface.
pub async fn start_announcing_on(interface: &str) -> Node {
    let node = Node::with(&groups(), &[service("routed", REMOTE), service("local", LOCAL)]).await;
    eventually("announced", || remote_is_there() && local_is_on(interface)).await;
    wait_until_announced_on(&node, interface).await;
    node
}

/// Waits until `/state` shows the local addresses as announced on this interface.
pub async fn wait_until_announced_on(node: &Node, interface: &str) {
    for ip in LOCAL {
        let here = |address: &lbnodeagent::report::state::AddressEntry| {
            address.announced && address.error.is_none() && address.interface.as_deref() == Some(interface)
        };
        node.wait_for_address(interface, ip, here).await;
    }
}

/// Adds `eth0` and `eth1`, whose other ends `far0` and `far1` are ports of a switch.
pub fn add_switch() -> Far {
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
