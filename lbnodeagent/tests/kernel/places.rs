//! Where addresses go, and which ones are left alone.

use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;
use kube::runtime::watcher::Event;
use lbnodeagent::cluster::input::Input;
use lbnodeagent::cluster::lease::LeaseView;
use lbnodeagent::cluster::node::NodeView;
use lbnodeagent::kernel::netlink::requests::Kernel;
use lbnodeagent::model::address::MARK;

use crate::node::{LOCAL, Lan, Node, REMOTE, interfaces, local_is_there, remote_is_there};
use crate::objects::{groups, service};
use crate::support::{addresses, cidrs, eventually, in_namespace, ip, ip_batch};

fn parse(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|ip| ip.parse().unwrap()).collect()
}

/// The Node with these addresses, of which all are internal.
fn this_node(addresses: &[&str]) -> Input {
    let addresses = parse(addresses);
    Input::Node(Event::Apply(NodeView {
        uid: "u".to_owned(),
        addresses: addresses.iter().copied().collect(),
        internal: addresses,
        ..NodeView::default()
    }))
}

/// Another node whose kernel has these addresses.
fn owner(own: &[&str]) -> LeaseView {
    LeaseView {
        node: "n2".to_owned(),
        subnets: Vec::new(),
        places: Vec::new(),
        own: parse(own),
        gateways: Vec::new(),
        macs: Vec::new(),
        endpoints: Vec::new(),
        proxy: None,
        wire_version: 2,
        report: api_types::lease::Report::default(),
        renewed: Some(jiff::Timestamp::now()),
        duration: Duration::from_secs(10),
    }
}

/// Whether the kernel has an address with our mark.
fn is_marked(cidr: &str) -> bool {
    let network: IpNetwork = cidr.parse().unwrap();
    let observed = Kernel::open().unwrap().dump().unwrap();
    observed.of(network.ip()).any(|(key, found)| key.prefix_len == network.prefix() && found.mark == Some(MARK))
}

#[test]
fn case_7_remote_ipv6_addresses_are_deprecated_for_ever_and_keep_their_route() {
    in_namespace(|| async {
        interfaces();
        let _node = Node::with(&groups(), &[service("routed", REMOTE)]).await;
        eventually("announced", remote_is_there).await;
        let lines = addresses("kube-lb0");
        let has = |words: &[&str]| lines.iter().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(has(&[REMOTE[1], "deprecated", "valid_lft forever preferred_lft 0sec"]), "{lines:#?}");
        assert!(has(&[REMOTE[0], "valid_lft forever preferred_lft forever"]), "{lines:#?}");
        assert!(ip("-6 route show dev kube-lb0").contains(REMOTE[1]));
    });
}

#[test]
fn a_lost_mark_is_put_back_and_reported() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let mut node = Node::with(&groups(), &[service("local", LOCAL), service("routed", REMOTE)]).await;
        eventually("announced", || remote_is_there() && local_is_there()).await;
        for (cidr, interface) in [
            ("192.168.50.200/24", "eth0"),
            ("fd00:50::f000/64", "eth0"),
            ("172.30.200.155/32", "kube-lb0"),
            ("2001:470:8bf5:2:2::1/128", "kube-lb0"),
        ] {
            eventually("marked", || is_marked(cidr)).await;
            node.wait_until_idle().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            node.forget_events();
            ip(&format!("address replace {cidr} dev {interface}"));
            node.wait_for_event(&["AddressRepaired"]).await;
            eventually("marked again", || is_marked(cidr)).await;
            let own = node.leases.borrow().as_ref().unwrap().own.addresses.clone();
            assert_eq!(own, parse(&["192.168.50.11", "fd00:50::11"]), "{cidr}");
        }
    });
}

#[test]
fn case_4_what_the_nodes_status_lists_stays_ours() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let mut node = Node::with(&groups(), &[service("local", LOCAL)]).await;
        // The kernel has it some time before the agent knows.
        node.wait_for_address("announced", LOCAL[0], |address| address.announced).await;
        node.forget_events();
        node.send(this_node(&["192.168.50.11", LOCAL[0]])).await;
        node.wait_for_event(&["NodeAddress"]).await;
        node.wait_for_address("kept", LOCAL[0], |address| address.announced).await;
        // A restart changes nothing.
        node.stop().await;
        let node = Node::start().await;
        node.deliver_lists(&groups(), &[service("local", LOCAL)]).await;
        node.send(this_node(&["192.168.50.11", LOCAL[0]])).await;
        node.wait_for_address("adopted", LOCAL[0], |address| address.announced).await;
        // And it can be withdrawn.
        node.delete(&service("local", LOCAL)).await;
        eventually("withdrawn", || cidrs("eth0") == ["192.168.50.11/24", "fd00:50::11/64"]).await;
    });
}

#[test]
fn case_3_what_another_node_has_is_started_when_it_is_free() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let node = Node::start().await;
        node.send(Input::Lease(Event::InitApply(owner(&[LOCAL[0], REMOTE[0]])))).await;
        node.deliver_lists(&groups(), &[service("local", LOCAL), service("routed", REMOTE)]).await;
        for address in [LOCAL[0], REMOTE[0]] {
            let refused = |entry: &lbnodeagent::report::state::AddressEntry| {
                !entry.announced && entry.why.contains("node n2's own address")
            };
            node.wait_for_address("refused", address, refused).await;
        }
        node.wait_for_address("announced", LOCAL[1], |address| address.announced).await;
        node.send(Input::Lease(Event::Apply(owner(&[])))).await;
        for address in [LOCAL, REMOTE].concat() {
            // The kernel has it some time before the agent knows.
            node.wait_for_address("announced", address, |address| address.announced).await;
        }
        // What is announced is not taken away.
        node.send(Input::Lease(Event::Apply(owner(&[LOCAL[0], REMOTE[0]])))).await;
        node.wait_until_idle().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(remote_is_there() && local_is_there());
    });
}

#[test]
fn case_9_no_default_route_is_needed() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        ip_batch("route del default dev eth0\nroute del ::/0 dev eth0\n");
        let node = Node::with(&groups(), &[service("local", LOCAL)]).await;
        node.wait_for_address("nowhere", LOCAL[0], |address| address.reason == "noLocalInterface").await;
        node.send(this_node(&["192.168.50.11"])).await;
        eventually("announced", local_is_there).await;
        // The choice outlives the agent, whatever the API server says then.
        tokio::time::sleep(Duration::from_millis(700)).await;
        node.stop().await;
        let node = Node::with(&groups(), &[service("local", LOCAL)]).await;
        node.wait_for_address("adopted", LOCAL[0], |address| address.announced).await;
        node.wait_for_subnets(&["192.168.50.0/24", "fd00:50::/64"]).await;
    });
}

#[test]
fn case_12_an_on_link_route_is_a_network() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        ip("address del fd00:50::11/64 dev eth0");
        ip("address add fd00:50::11/128 dev eth0 nodad");
        let node = Node::with(&groups(), &[service("local", &LOCAL[1..])]).await;
        node.wait_for_address("nowhere", LOCAL[1], |address| address.reason == "noLocalInterface").await;
        ip("-6 route add fd00:50::/64 dev eth0 proto ra");
        node.wait_for_address("announced", LOCAL[1], |address| address.announced && address.prefix_length == Some(128))
            .await;
        node.wait_for_subnets(&["192.168.50.0/24", "fd00:50::/64", "fd00:50::11/128"]).await;
        let places = node.leases.borrow().as_ref().unwrap().addresses.clone();
        assert!(places.contains(&"fd00:50::11/64".parse().unwrap()), "{places:?}");
        ip("-6 route del fd00:50::/64 dev eth0");
        eventually("gone", || !cidrs("eth0").iter().any(|cidr| cidr.starts_with(LOCAL[1]))).await;
    });
}

#[test]
fn case_53_deprecated_addresses_are_on_link() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let node = Node::with(&groups(), &[service("local", LOCAL)]).await;
        eventually("announced", local_is_there).await;
        let monitor = crate::support::Monitor::start();
        ip("address change fd00:50::11/64 dev eth0 preferred_lft 0");
        node.wait_until_idle().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let deleted: Vec<String> = monitor.deletions().into_iter().filter(|line| line.contains(LOCAL[1])).collect();
        assert_eq!(deleted, Vec::<String>::new());
        node.wait_for_subnets(&["192.168.50.0/24", "fd00:50::/64"]).await;
    });
}

#[test]
fn case_63_an_altname_selects() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        ip("link property add dev eth0 altname enp1s0");
        let node = Node::start().await;
        node.deliver_agent(&serde_json::json!({"local": {"localInterface": "^enp"}})).await;
        node.deliver_lists(&groups(), &[service("local", LOCAL)]).await;
        eventually("announced", local_is_there).await;
        ip("link property del dev eth0 altname enp1s0");
        eventually("withdrawn", || cidrs("eth0").len() == 2).await;
    });
}

/// What one odd node does; all others keep the address on their dummy interfaces.
#[test]
fn case_47_a_node_in_the_subnet_answers_there() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let node = Node::with(&groups(), &[service("routed", REMOTE)]).await;
        eventually("routed", remote_is_there).await;
        ip("address add 172.30.1.3/16 dev eth0");
        eventually("local", || cidrs("eth0").contains(&"172.30.200.155/16".to_owned())).await;
        eventually("not routed", || cidrs("kube-lb0") == ["2001:470:8bf5:2:2::1/128"]).await;
        ip("address del 172.30.1.3/16 dev eth0");
        eventually("routed again", remote_is_there).await;
        eventually("not local", || cidrs("eth0").len() == 2).await;
        drop(node);
    });
}

#[test]
fn case_23_a_host_route_inside_another_network_is_announced_with_a_warning() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        ip_batch("link add eth1 type veth peer name other\nlink set eth1 up\naddress add 172.30.200.1/24 dev eth1\n");
        let mut node = Node::with(&groups(), &[service("routed", REMOTE)]).await;
        eventually("announced", remote_is_there).await;
        let mut told = node.events();
        eventually("a warning", || {
            told.extend(node.events());
            told.iter().any(|(reason, text)| {
                *reason == "ConfigurationWarning" && text.contains("network 172.30.200.0/24 of interface eth1")
            })
        })
        .await;
    });
}
