//! What people, daemons and hardware do to the node's interfaces while the agent runs.

use std::time::{Duration, Instant};

use api_types::AddressAttributes;
use lbnodeagent::kernel::netlink::requests::Kernel;
use lbnodeagent::model::address::AddressKey;
use lbnodeagent::model::operation::{Entry, Operation, Purpose};
use lbnodeagent::model::placement::{Kind, Placement};
use lbnodeagent::report::state::AddressEntry;
use serde_json::json;

use crate::node::{LOCAL, Lan, Node, REMOTE, local_is_on, local_is_there, remote_is_there, works};
use crate::objects::{groups, service};
use crate::support::{Monitor, add_dummy, cidrs, eventually, in_namespace, ip, ip_batch};

/// Repairs take less than this.
const SOON: Duration = Duration::from_millis(50);
/// The least number of measurements.
const TIMES: usize = 4;
/// The largest number: the machine does other things too, and the agent delays further repairs after ten.
const MOST: usize = 9;

/// Whether there are enough measurements; fails if none of them is below [`SOON`].
pub fn measured_enough(what: &str, times: &[Duration]) -> bool {
    let soon = times.iter().any(|time| *time < SOON);
    let over = times.len() >= if soon { TIMES } else { MOST };
    if over {
        eprintln!("{what}: {times:?}");
        assert!(soon, "{what}: {times:?}");
    }
    over
}

/// Starts an agent, and waits until it announces all addresses.
pub async fn start_announcing() -> Node {
    let mut node = Node::with(&groups(), &[service("routed", REMOTE), service("local", LOCAL)]).await;
    eventually("announced", || remote_is_there() && local_is_there()).await;
    node.wait_for_address("announced", LOCAL[0], |address| address.announced).await;
    node.wait_for_address("announced", LOCAL[1], |address| address.announced).await;
    // The kernel reports IPv6 addresses some milliseconds after it has them.
    tokio::time::sleep(Duration::from_millis(100)).await;
    node.discard_events();
    node
}

#[test]
fn a_nic_that_is_replaced_gets_its_addresses_back() {
    in_namespace(|| async {
        let lan = Lan::new().await;
        let mut node = start_announcing().await;
        let monitor = Monitor::start();
        let mut times = Vec::new();
        while !measured_enough("NIC replaced", &times) {
            let nth = times.len();
            ip("link del eth0");
            for address in LOCAL {
                node.wait_for_address("gone", address, |address| {
                    !address.announced && address.reason == "noLocalInterface"
                })
                .await;
            }
            node.forget_events();
            lan.plug(&format!("02:00:00:00:01:{nth:02x}")).await;
            times.push(eventually("back", local_is_there).await);
            node.wait_for_event(&["AnnouncingLocal"]).await;
        }
        let lost: Vec<String> = monitor.deletions().into_iter().filter(|line| line.contains("kube-lb0")).collect();
        assert_eq!(lost, Vec::<String>::new(), "a NIC does not concern remote addresses");
    });
}

/// The agent cannot look between the two changes.
#[test]
fn a_nic_that_is_replaced_at_once_gets_its_addresses_back() {
    in_namespace(|| async {
        let lan = Lan::new().await;
        let mut node = start_announcing().await;
        node.forget_events();
        ip("link del eth0");
        lan.plug("02:00:00:00:01:01").await;
        eventually("back", local_is_there).await;
        node.wait_for_event(&["AnnouncingLocal"]).await;
        for address in LOCAL {
            node.wait_for_address("here", address, |address| address.announced && address.error.is_none()).await;
        }
    });
}

#[test]
fn a_dummy_interface_that_is_replaced_gets_its_addresses_back() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let mut node = start_announcing().await;
        let mut times = Vec::new();
        while !measured_enough("kube-lb0 replaced", &times) {
            node.forget_events();
            ip("link del kube-lb0");
            // If the kernel supports dummy interfaces, the agent may be faster.
            let start = Instant::now();
            add_dummy("kube-lb0");
            eventually("back", remote_is_there).await;
            times.push(start.elapsed());
            node.wait_for_event(&["AnnouncingNonLocal"]).await;
        }
        assert!(local_is_there());
    });
}

#[test]
fn a_nic_that_is_renamed_keeps_its_addresses() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let node = start_announcing().await;
        let monitor = Monitor::start();
        ip("link set eth0 name lan0");
        for address in LOCAL {
            node.wait_for_address("renamed", address, |address| address.interface.as_deref() == Some("lan0")).await;
        }
        assert!(local_is_on("lan0"));
        assert_eq!(monitor.deletions(), Vec::<String>::new());
    });
}

/// If the configuration selects interfaces by name, a renamed interface is another one.
#[test]
fn a_nic_that_is_renamed_is_another_one_to_a_pattern() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let mut node = start_announcing().await;
        node.configure(json!({"local": {"localInterface": "^eth"}})).await;
        node.wait_for_address("by pattern", LOCAL[0], |address| address.announced).await;
        let mut times = Vec::new();
        while !measured_enough("NIC named back", &times) {
            ip("link set eth0 name lan0");
            eventually("withdrawn", || cidrs("lan0").len() == 2).await;
            node.wait_for_address("by name", LOCAL[0], |address| address.reason == "noLocalInterface").await;
            node.forget_events();
            ip("link set lan0 name eth0");
            times.push(eventually("back", local_is_there).await);
            node.wait_for_event(&["AnnouncingLocal"]).await;
        }
        // An exact name works as well.
        ip("link set eth0 name lan0");
        eventually("withdrawn", || cidrs("lan0").len() == 2).await;
        node.configure(json!({"local": {"localInterface": "^eth", "interfaces": ["none", "lan0"]}})).await;
        eventually("by name", || local_is_on("lan0")).await;
    });
}

#[test]
fn a_dummy_interface_that_is_renamed_is_left_for_a_new_one() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let mut node = start_announcing().await;
        node.forget_events();
        ip("link set kube-lb0 name other");
        ip("address add 198.51.100.1/32 dev other");
        // If the kernel cannot create another one, the addresses stay until somebody else creates it.
        let made = |address: &AddressEntry| address.interface.as_deref() == Some("kube-lb0");
        let kept = |address: &AddressEntry| address.announced && address.interface.as_deref() == Some("other");
        node.wait_for_address("noticed", REMOTE[0], |address| made(address) || kept(address)).await;
        if !remote_is_there() {
            node.wait_for_event(&["InterfaceUnavailable"]).await;
        }
        add_dummy("kube-lb0");
        eventually("moved", || remote_is_there() && cidrs("other") == ["198.51.100.1/32"]).await;
        node.wait_for_address("moved", REMOTE[0], |address| address.interface.as_deref() == Some("kube-lb0")).await;
    });
}

#[test]
fn a_nic_that_goes_down_and_up_gets_its_addresses_back() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let mut node = start_announcing().await;
        let mut times = Vec::new();
        while !measured_enough("NIC down and up", &times) {
            ip("link set eth0 down");
            for address in LOCAL {
                node.wait_for_address("no link", address, |address| !address.announced).await;
            }
            node.forget_events();
            // The kernel has removed the routes and the IPv6 addresses.
            ip_batch(
                "link set eth0 up\n\
                 address replace fd00:50::11/64 dev eth0 nodad\n\
                 route replace default via 192.168.50.1 dev eth0\n\
                 route replace default via fd00:50::1 dev eth0\n",
            );
            eventually("a link", || works("eth0")).await;
            times.push(eventually("back", local_is_there).await);
            node.wait_for_event(&["AnnouncingLocal"]).await;
        }
    });
}

#[test]
fn a_flushed_nic_gets_its_addresses_back() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let mut node = start_announcing().await;
        let mut times = Vec::new();
        while !measured_enough("NIC flushed", &times) {
            node.forget_events();
            ip("address flush dev eth0 scope global");
            // This removes the node's own addresses too.
            ip_batch(
                "address add 192.168.50.11/24 dev eth0\n\
                 address add fd00:50::11/64 dev eth0 nodad\n\
                 route replace default via 192.168.50.1 dev eth0\n\
                 route replace default via fd00:50::1 dev eth0\n",
            );
            times.push(eventually("back", local_is_there).await);
            node.wait_for_event(&["AddressRepaired", "AnnouncingLocal"]).await;
        }
    });
}

/// The kernel sends no notification when it drops the IPv4 routes of an interface that goes down.
#[test]
fn the_next_default_route_counts_at_once() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        ip("link add eth1 type veth peer name other");
        ip_batch(
            "link set other up\nlink set eth1 up\n\
             address add 10.1.0.11/24 dev eth1\n\
             route add default via 10.1.0.1 dev eth1 metric 500\n\
             route add default via 10.1.0.1 dev eth1 table 100\n",
        );
        let node = start_announcing().await;
        node.wait_for_subnets(&["192.168.50.0/24", "fd00:50::/64"]).await;
        ip("link set eth0 down");
        node.wait_for_subnets(&["10.1.0.0/24"]).await;
        // Up again. The way out is the other one for IPv4, and was this one for IPv6.
        ip_batch("link set eth0 up\naddress replace fd00:50::11/64 dev eth0 nodad\n");
        eventually("a link", || works("eth0")).await;
        node.wait_for_subnets(&["10.1.0.0/24", "192.168.50.0/24", "fd00:50::/64"]).await;
        ip("route add default via 192.168.50.1 dev eth0 metric 100");
        node.wait_for_subnets(&["192.168.50.0/24", "fd00:50::/64"]).await;
        // With its last address, its route disappears.
        ip("address flush dev eth0 scope global");
        node.wait_for_subnets(&["10.1.0.0/24"]).await;
    });
}

/// The default route of a DHCP client has one of several addresses as its source, and that address is removed.
#[test]
fn a_default_route_goes_with_its_source() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        ip_batch(
            "address add 192.168.60.11/24 dev eth0\n\
             route add default via 192.168.50.1 dev eth0 src 192.168.60.11 metric 10\n\
             link add eth1 type veth peer name other\n\
             link set other up\nlink set eth1 up\n\
             address add 10.1.0.11/24 dev eth1\n\
             route add default via 10.1.0.1 dev eth1 metric 500\n\
             route del default via 192.168.50.1 dev eth0 metric 0\n",
        );
        let node = Node::with(&groups(), &[]).await;
        eventually("ready", || node.readiness.get().is_ok()).await;
        assert_eq!(node.state().await.subnets, ["192.168.50.0/24", "192.168.60.0/24", "fd00:50::/64"]);
        ip("address del 192.168.60.11/24 dev eth0");
        node.wait_for_subnets(&["10.1.0.0/24", "192.168.50.0/24", "fd00:50::/64"]).await;
    });
}

/// The administrator makes the NIC a port of a bridge, as on virtualisation hosts.
#[test]
fn when_a_bridge_takes_over_the_nic_the_addresses_are_added_there_before_they_are_removed() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let node = start_announcing().await;
        let monitor = Monitor::start();
        ip_batch(
            "link add br0 type bridge\n\
             link set br0 address 02:00:00:00:00:0a up\n\
             address add 192.168.50.11/24 dev br0\n\
             address add fd00:50::11/64 dev br0 nodad\n\
             link set eth0 master br0\n",
        );
        eventually("a bridge", || works("br0")).await;
        ip_batch(
            "route replace default via 192.168.50.1 dev br0\n\
             route replace default via fd00:50::1 dev br0\n",
        );
        eventually("moved", || local_is_on("br0") && cidrs("eth0").len() == 2).await;
        for address in LOCAL {
            node.wait_for_address("moved", address, |address| address.interface.as_deref() == Some("br0")).await;
        }
        ip_batch("address del 192.168.50.11/24 dev eth0\naddress del fd00:50::11/64 dev eth0\n");
        // The agent has seen the removal when it has seen this later change.
        ip("address add 192.168.60.11/24 dev br0");
        node.wait_for_subnets(&["192.168.50.0/24", "192.168.60.0/24", "fd00:50::/64"]).await;
        assert!(local_is_on("br0"));
        let lines = monitor.lines();
        let lost = |line: &&String| line.starts_with("Deleted") && line.contains("br0");
        assert_eq!(lines.iter().filter(lost).collect::<Vec<_>>(), Vec::<&String>::new());
        // The kernel reports IPv6 addresses some time after they are added.
        let history: Vec<&String> = lines.iter().filter(|line| line.contains(" 192.168.50.200/24 ")).collect();
        let gone = history.iter().position(|line| line.starts_with("Deleted")).unwrap();
        assert!(history[..gone].iter().any(|line| line.contains("br0")), "{history:#?}");
    });
}

/// While the agent does not run, there are more notifications than its socket can hold, one of them about our address.
#[test]
fn a_removal_whose_notification_is_lost_is_repaired() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let mut node = start_announcing().await;
        add_dummy("busy");
        let mut kernel = Kernel::open().unwrap();
        let index = kernel.dump().unwrap().index_of("busy").unwrap();
        let key =
            |n: u32| AddressKey { ip: std::net::Ipv4Addr::from_bits(0x0a40_0000 + n).into(), index, prefix_len: 32 };
        let put =
            |n| Placement { kind: Kind::Remote, key: key(n), aggregate: None, attributes: AddressAttributes::REMOTE };
        let puts: Vec<Operation> =
            (0..5_000).map(|n| Operation::Put(Entry { mark: None, ..Entry::ours(&put(n)) }, Purpose::Add)).collect();
        let deletes: Vec<Operation> = (0..5_000).map(|n| Operation::Delete(key(n))).collect();
        // It loses what the agent loses: the agent shares this thread, so it does not run before the next await.
        let mut beside = lbnodeagent::kernel::netlink::monitor::Monitor::open().unwrap();
        for _ in 0..6 {
            kernel.apply(&puts).unwrap();
            kernel.apply(&deletes).unwrap();
        }
        assert!(beside.read().lost, "the buffer holds all notifications: increase their number in this test");
        node.forget_events();
        ip("address del 172.30.200.155/32 dev kube-lb0");
        let took = eventually("back", remote_is_there).await;
        eprintln!("right again {took:?} after an overrun");
        node.wait_for_event(&["AddressRepaired"]).await;
    });
}
