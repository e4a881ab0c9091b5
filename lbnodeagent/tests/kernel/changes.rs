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

/// What is repaired is so within this time.
const SOON: Duration = Duration::from_millis(50);
/// How often it is measured at least.
const TIMES: usize = 4;
/// How often at most: the machine of a test does other things too, and the agent's patience ends after ten repairs.
const MOST: usize = 9;

/// Whether it was measured often enough; fails if it never was soon.
pub fn enough(what: &str, times: &[Duration]) -> bool {
    let soon = times.iter().any(|time| *time < SOON);
    let over = times.len() >= if soon { TIMES } else { MOST };
    if over {
        eprintln!("{what}: {times:?}");
        assert!(soon, "{what}: {times:?}");
    }
    over
}

pub async fn announced() -> Node {
    let mut node = Node::with(&groups(), &[service("routed", REMOTE), service("local", LOCAL)]).await;
    eventually("announced", || remote_is_there() && local_is_there()).await;
    node.says("announced", LOCAL[0], |address| address.announced).await;
    node.says("announced", LOCAL[1], |address| address.announced).await;
    // The kernel reports IPv6 addresses some milliseconds after it has them.
    tokio::time::sleep(Duration::from_millis(100)).await;
    node.events();
    node
}

#[test]
fn a_nic_that_is_replaced_gets_its_addresses_back() {
    in_namespace(|| async {
        let lan = Lan::new().await;
        let mut node = announced().await;
        let monitor = Monitor::start();
        let mut times = Vec::new();
        while !enough("NIC replaced", &times) {
            let nth = times.len();
            ip("link del eth0");
            for address in LOCAL {
                node.says("gone", address, |address| !address.announced && address.reason == "noLocalInterface").await;
            }
            node.forgets();
            lan.plug(&format!("02:00:00:00:01:{nth:02x}")).await;
            times.push(eventually("back", local_is_there).await);
            node.tells(&["AnnouncingLocal"]).await;
        }
        let lost: Vec<String> = monitor.deletions().into_iter().filter(|line| line.contains("kube-lb0")).collect();
        assert_eq!(lost, Vec::<String>::new(), "a NIC is none of the remote addresses' business");
    });
}

/// The same in one go, so that nobody had time to look in between.
#[test]
fn a_nic_that_is_replaced_at_once_gets_its_addresses_back() {
    in_namespace(|| async {
        let lan = Lan::new().await;
        let mut node = announced().await;
        node.forgets();
        ip("link del eth0");
        lan.plug("02:00:00:00:01:01").await;
        eventually("back", local_is_there).await;
        node.tells(&["AnnouncingLocal"]).await;
        for address in LOCAL {
            node.says("here", address, |address| address.announced && address.error.is_none()).await;
        }
    });
}

#[test]
fn a_dummy_interface_that_is_replaced_gets_its_addresses_back() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let mut node = announced().await;
        let mut times = Vec::new();
        while !enough("kube-lb0 replaced", &times) {
            node.forgets();
            ip("link del kube-lb0");
            // Where the kernel has dummy interfaces the agent may be faster.
            let start = Instant::now();
            add_dummy("kube-lb0");
            eventually("back", remote_is_there).await;
            times.push(start.elapsed());
            node.tells(&["AnnouncingNonLocal"]).await;
        }
        assert!(local_is_there());
    });
}

#[test]
fn a_nic_that_is_renamed_keeps_its_addresses() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let node = announced().await;
        let monitor = Monitor::start();
        ip("link set eth0 name lan0");
        for address in LOCAL {
            node.says("renamed", address, |address| address.interface.as_deref() == Some("lan0")).await;
        }
        assert!(local_is_on("lan0"));
        assert_eq!(monitor.deletions(), Vec::<String>::new());
    });
}

/// Where the configuration chooses by name, the name decides.
#[test]
fn a_nic_that_is_renamed_is_another_one_to_a_pattern() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let mut node = announced().await;
        node.configure(json!({"local": {"localInterface": "^eth"}})).await;
        node.says("by pattern", LOCAL[0], |address| address.announced).await;
        let mut times = Vec::new();
        while !enough("NIC named back", &times) {
            ip("link set eth0 name lan0");
            eventually("withdrawn", || cidrs("lan0").len() == 2).await;
            node.says("by name", LOCAL[0], |address| address.reason == "noLocalInterface").await;
            node.forgets();
            ip("link set lan0 name eth0");
            times.push(eventually("back", local_is_there).await);
            node.tells(&["AnnouncingLocal"]).await;
        }
        // An exact name is as good.
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
        let mut node = announced().await;
        node.forgets();
        ip("link set kube-lb0 name other");
        ip("address add 198.51.100.1/32 dev other");
        // Where the kernel cannot make another one, what is announced stays until somebody else does.
        let made = |address: &AddressEntry| address.interface.as_deref() == Some("kube-lb0");
        let kept = |address: &AddressEntry| address.announced && address.interface.as_deref() == Some("other");
        node.says("noticed", REMOTE[0], |address| made(address) || kept(address)).await;
        if !remote_is_there() {
            node.tells(&["InterfaceUnavailable"]).await;
        }
        add_dummy("kube-lb0");
        eventually("moved", || remote_is_there() && cidrs("other") == ["198.51.100.1/32"]).await;
        node.says("moved", REMOTE[0], |address| address.interface.as_deref() == Some("kube-lb0")).await;
    });
}

#[test]
fn a_nic_that_goes_down_and_up_gets_its_addresses_back() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let mut node = announced().await;
        let mut times = Vec::new();
        while !enough("NIC down and up", &times) {
            ip("link set eth0 down");
            for address in LOCAL {
                node.says("no link", address, |address| !address.announced).await;
            }
            node.forgets();
            // The kernel took the routes and the IPv6 addresses along.
            ip_batch(
                "link set eth0 up\n\
                 address replace fd00:50::11/64 dev eth0 nodad\n\
                 route replace default via 192.168.50.1 dev eth0\n\
                 route replace default via fd00:50::1 dev eth0\n",
            );
            eventually("a link", || works("eth0")).await;
            times.push(eventually("back", local_is_there).await);
            node.tells(&["AnnouncingLocal"]).await;
        }
    });
}

#[test]
fn a_flushed_nic_gets_its_addresses_back() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let mut node = announced().await;
        let mut times = Vec::new();
        while !enough("NIC flushed", &times) {
            node.forgets();
            ip("address flush dev eth0 scope global");
            // That took the node's own addresses too.
            ip_batch(
                "address add 192.168.50.11/24 dev eth0\n\
                 address add fd00:50::11/64 dev eth0 nodad\n\
                 route replace default via 192.168.50.1 dev eth0\n\
                 route replace default via fd00:50::1 dev eth0\n",
            );
            times.push(eventually("back", local_is_there).await);
            node.tells(&["AddressRepaired", "AnnouncingLocal"]).await;
        }
    });
}

/// The kernel drops the IPv4 routes of an interface that goes down without a word.
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
        let node = announced().await;
        node.has_subnets(&["192.168.50.0/24", "fd00:50::/64"]).await;
        ip("link set eth0 down");
        node.has_subnets(&["10.1.0.0/24"]).await;
        // Up again, but the way out is still the other one.
        ip_batch("link set eth0 up\naddress replace fd00:50::11/64 dev eth0 nodad\n");
        eventually("a link", || works("eth0")).await;
        node.has_subnets(&["10.1.0.0/24", "fd00:50::/64"]).await;
        ip("route add default via 192.168.50.1 dev eth0 metric 100");
        node.has_subnets(&["192.168.50.0/24", "fd00:50::/64"]).await;
        // Its last address goes, and with it the route.
        ip("address flush dev eth0 scope global");
        node.has_subnets(&["10.1.0.0/24"]).await;
    });
}

/// One of several addresses leaves, by which the default route of a DHCP client goes out.
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
        node.has_subnets(&["10.1.0.0/24", "fd00:50::/64"]).await;
    });
}

/// The administrator turns the NIC into the port of a bridge, as virtualisation hosts have it.
#[test]
fn a_bridge_takes_the_nic_over_and_the_addresses_are_there_before_they_go() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let node = announced().await;
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
            node.says("moved", address, |address| address.interface.as_deref() == Some("br0")).await;
        }
        ip_batch("address del 192.168.50.11/24 dev eth0\naddress del fd00:50::11/64 dev eth0\n");
        // It has seen that when it sees what comes after it.
        ip("address add 192.168.60.11/24 dev br0");
        node.has_subnets(&["192.168.50.0/24", "192.168.60.0/24", "fd00:50::/64"]).await;
        assert!(local_is_on("br0"));
        let lines = monitor.lines();
        let lost = |line: &&String| line.starts_with("Deleted") && line.contains("br0");
        assert_eq!(lines.iter().filter(lost).collect::<Vec<_>>(), Vec::<&String>::new());
        // New IPv6 addresses are reported some time after they are there.
        let story: Vec<&String> = lines.iter().filter(|line| line.contains(" 192.168.50.200/24 ")).collect();
        let gone = story.iter().position(|line| line.starts_with("Deleted")).unwrap();
        assert!(story[..gone].iter().any(|line| line.contains("br0")), "{story:#?}");
    });
}

/// More notifications than the socket holds while the agent does not run, and one of ours among them.
#[test]
fn what_is_lost_with_notifications_comes_back() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let mut node = announced().await;
        add_dummy("busy");
        let mut kernel = Kernel::open().unwrap();
        let index = kernel.dump().unwrap().index_of("busy").unwrap();
        let key =
            |n: u32| AddressKey { ip: std::net::Ipv4Addr::from_bits(0x0a40_0000 + n).into(), index, prefix_len: 32 };
        let put = |n| Placement { kind: Kind::Remote, key: key(n), attributes: AddressAttributes::REMOTE };
        let puts: Vec<Operation> =
            (0..5_000).map(|n| Operation::Put(Entry { mark: None, ..Entry::ours(&put(n)) }, Purpose::Add)).collect();
        let deletes: Vec<Operation> = (0..5_000).map(|n| Operation::Delete(key(n))).collect();
        // It hears as much as the agent, which shares this thread: that does not run before the next await.
        let mut beside = lbnodeagent::kernel::netlink::monitor::Monitor::open().unwrap();
        for _ in 0..6 {
            kernel.apply(&puts).unwrap();
            kernel.apply(&deletes).unwrap();
        }
        assert!(beside.read().lost, "the buffer holds more than was thought: make this test larger");
        node.forgets();
        ip("address del 172.30.200.155/32 dev kube-lb0");
        let took = eventually("back", remote_is_there).await;
        eprintln!("right again {took:?} after an overrun");
        node.tells(&["AddressRepaired"]).await;
    });
}
