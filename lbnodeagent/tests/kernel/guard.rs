//! The VIP guard: what a node's addresses of Services let in.

use std::net::UdpSocket;
use std::time::Duration;

use serde_json::json;

use crate::node::{LOCAL, Lan, Node, REMOTE, local_is_there, remote_is_there};
use crate::objects::{groups, service};
use crate::proxy::Outcome::{Connected, Refused, Silence};
use crate::proxy::{
    Outcome, Server, answers_echo, connect, connect_from, connect_within, nft, our_table, proxy_tables, refuse, resets,
    translate, translate_protocol, with_ports,
};
use crate::support::{Far, add_dummy, cidrs, eventually, in_namespace, ip, ip_batch};

/// The node's own addresses.
const NODE: [&str; 2] = ["192.168.50.11", "fd00:50::11"];

/// A node with kube-proxy, and routes from its gateway to the remote addresses.
async fn node(services: &[serde_json::Value]) -> (Lan, Server, Node) {
    let lan = Lan::new().await;
    lan.0.run(|| {
        ip_batch(&format!("route add {} via {}\nroute add {} via {}\n", REMOTE[0], NODE[0], REMOTE[1], NODE[1]));
    });
    proxy_tables();
    let kube_proxy = Server::kube_proxy("nftables");
    let node = Node::with(&groups(), services).await;
    eventually("announced", || remote_is_there() && local_is_there()).await;
    eventually("guarded", || our_table().is_some()).await;
    (lan, kube_proxy, node)
}

fn services(ports: &[u16]) -> [serde_json::Value; 2] {
    [with_ports(service("routed", REMOTE), ports), with_ports(service("local", LOCAL), ports)]
}

fn from(far: &Far, ip: &'static str, port: u16) -> Outcome {
    far.run(move || connect(ip, port))
}

fn vips() -> impl Iterator<Item = &'static str> {
    REMOTE.iter().chain(LOCAL).copied()
}

#[test]
fn nothing_but_the_ports_of_services_answers() {
    in_namespace(|| async {
        let (lan, _kube_proxy, _node) = node(&services(&[80])).await;
        // As sshd, and as a pod that a host port leads to: before NAT its packets have the port of the host.
        let _servers = [Server::start(22), Server::start(8080)];
        // The first packet may wait for a neighbour.
        eventually("IPv6", || from(&lan.0, NODE[1], 8080) == Connected).await;
        for vip in vips() {
            let to = NODE[usize::from(vip.contains(':'))];
            translate(vip, 80, to, 8080);
        }
        nft(
            "table ip portmap { chain c { type nat hook prerouting priority dstnat; tcp dport 8088 dnat to 192.168.50.11:8080; }; }",
        );
        for vip in vips() {
            assert_eq!(from(&lan.0, vip, 80), Connected, "{vip}");
            assert_eq!((from(&lan.0, vip, 22), from(&lan.0, vip, 8080)), (Silence, Silence), "{vip}");
            // The node's own clients as well.
            assert_eq!((connect(vip, 80), connect(vip, 22)), (Connected, Silence), "{vip}");
        }
        assert_eq!((from(&lan.0, REMOTE[0], 8088), from(&lan.0, NODE[0], 8088)), (Silence, Connected));
        for own in NODE {
            assert_eq!((from(&lan.0, own, 22), from(&lan.0, own, 8080)), (Connected, Connected), "{own}");
        }
        // Answers to connections that the node began, whatever its address there.
        lan.0.run(|| std::mem::forget(Server::start(9000)));
        let answered = connect_from(LOCAL[0], "192.168.50.1", 9000);
        assert!(answered, "no answer to {}", LOCAL[0]);
        for vip in vips() {
            let answers = lan.0.run(move || answers_echo(vip));
            assert!(answers, "ICMP of {vip}");
        }
    });
}

#[test]
fn case_80_what_belongs_to_no_connection_is_not_answered() {
    in_namespace(|| async {
        let (lan, _kube_proxy, node) = node(&services(&[80])).await;
        let reset = |ip: &'static str| lan.0.run(move || resets("192.168.50.1", ip, 80));
        assert_eq!((reset(NODE[0]), reset(LOCAL[0]), reset(REMOTE[0])), (true, false, false));
        node.configure(json!({"local": {"vipGuard": "Disabled"}})).await;
        eventually("removed", || our_table().is_none()).await;
        assert_eq!((reset(LOCAL[0]), reset(REMOTE[0])), (true, true), "without the guard");
    });
}

#[test]
fn datagrams_pass_also_in_fragments() {
    in_namespace(|| async {
        let mut dns = service("local", LOCAL);
        dns["spec"]["ports"] = json!([{"port": 53, "protocol": "UDP"}]);
        let (lan, _kube_proxy, _node) = node(&[service("routed", REMOTE), dns]).await;
        for vip in LOCAL.iter().copied() {
            let own = NODE[usize::from(vip.contains(':'))];
            translate_protocol("udp", vip, 53, own, 5353);
            let [open, closed] = [(own, 5353), (vip, 54)].map(|place| {
                let socket = UdpSocket::bind(place).unwrap();
                socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
                socket
            });
            // More than fits into one packet.
            let send = |port: u16| {
                lan.0.run(move || {
                    let from = if vip.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
                    UdpSocket::bind(from).unwrap().send_to(&[7; 4000], (vip, port)).unwrap()
                })
            };
            let received = |socket: &UdpSocket| socket.recv(&mut [0; 5000]).ok();
            // The first packet may wait for a neighbour.
            eventually("a datagram", || send(53) == 4000 && received(&open) == Some(4000)).await;
            send(54);
            assert_eq!(received(&closed), None, "{vip}");
        }
    });
}

#[test]
fn an_early_client_waits_and_is_not_refused() {
    in_namespace(|| async {
        let (lan, _kube_proxy, _node) = node(&services(&[80, 81])).await;
        let _server = Server::start(8080);
        let vip = LOCAL[0];
        refuse(vip, 81);
        assert_eq!((from(&lan.0, vip, 81), connect(vip, 81)), (Refused, Refused), "without endpoints");
        assert_eq!(from(&lan.0, vip, 80), Silence);
        // A client elsewhere and one on the node; kube-proxy is late.
        let near = std::thread::spawn(|| connect_within(LOCAL[0], 80, Duration::from_secs(5)));
        let rules = std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(500));
            translate(LOCAL[0], 80, NODE[0], 8080);
        });
        let start = std::time::Instant::now();
        let far = lan.0.run(|| connect_within(LOCAL[0], 80, Duration::from_secs(5)));
        assert_eq!((far, near.join().unwrap()), (Connected, Connected));
        assert!(start.elapsed() < Duration::from_millis(1900), "{:?}", start.elapsed());
        rules.join().unwrap();
    });
}

#[test]
fn what_kube_proxy_refuses_while_it_waits_for_endpoints_is_dropped() {
    in_namespace(|| async {
        let (lan, _kube_proxy, node) = node(&services(&[80])).await;
        let vip = "192.168.50.207";
        node.apply(&with_ports(service("new", &[vip]), &[80])).await;
        eventually("announced", || cidrs("eth0").contains(&format!("{vip}/24"))).await;
        // It knows the Service, and no endpoints of it.
        refuse(vip, 80);
        assert_eq!((from(&lan.0, vip, 80), connect(vip, 80)), (Silence, Silence));
        eventually("without endpoints", || from(&lan.0, vip, 80) == Refused && connect(vip, 80) == Refused).await;
    });
}

#[test]
fn a_port_comes_and_goes_and_so_does_an_address() {
    in_namespace(|| async {
        let (_lan, _kube_proxy, node) = node(&services(&[80])).await;
        let has = |text: &str| our_table().is_some_and(|table| table.contains(text));
        node.apply(&with_ports(service("local", LOCAL), &[80, 443])).await;
        eventually("opened", || has("192.168.50.200 . tcp . 443") && has("fd00:50::f000 . tcp . 443")).await;
        node.apply(&with_ports(service("local", LOCAL), &[443])).await;
        eventually("closed", || !has("192.168.50.200 . tcp . 80")).await;
        // Another Service shares the address; its annotation counts for both.
        let mut sharer = with_ports(service("sharer", &LOCAL[..1]), &[53]);
        node.apply(&sharer).await;
        eventually("the ports of both", || has("192.168.50.200 . tcp . 53") && has("192.168.50.200 . tcp . 443")).await;
        sharer["metadata"]["annotations"]["purelb.io/vip-guard"] = json!("Disabled");
        node.apply(&sharer).await;
        eventually("not guarded", || !has("192.168.50.200") && has("fd00:50::f000")).await;
        let mut sharer = with_ports(service("sharer", &LOCAL[..1]), &[53]);
        sharer["metadata"]["labels"] = json!({"service.kubernetes.io/service-proxy-name": "mine"});
        node.apply(&with_ports(service("sharer", &LOCAL[..1]), &[53])).await;
        eventually("guarded", || has("192.168.50.200 . tcp . 53")).await;
        node.apply(&sharer).await;
        eventually("not guarded", || !has("192.168.50.200")).await;
        node.delete(&sharer).await;
        node.delete(&service("local", LOCAL)).await;
        eventually("gone", || !has("192.168.50.200") && !has("fd00:50::f000") && has("172.30.200.155")).await;
    });
}

#[test]
fn the_nodes_own_address_is_not_guarded_and_one_of_another_node_stays_reachable() {
    in_namespace(|| async {
        let elsewhere = "192.168.50.210";
        let own = with_ports(service("own", &NODE), &[80]);
        let other = with_ports(service("other", &[elsewhere, "192.168.50.1"]), &[80]);
        let (lan, _kube_proxy, node) = node(&services(&[80])).await;
        let _server = Server::start(22);
        lan.0.run(|| std::mem::forget(Server::start(22)));
        node.apply(&own).await;
        node.apply(&other).await;
        let has = |text: &str| our_table().is_some_and(|table| table.contains(text));
        eventually("guarded", || has("192.168.50.1 . tcp . 80")).await;
        assert_eq!((from(&lan.0, NODE[0], 22), connect("192.168.50.1", 22)), (Connected, Connected));
        // It was given to a Service, and then an administrator gives it to the node.
        node.apply(&with_ports(service("given", &["192.168.50.207"]), &[80])).await;
        ip("address add 192.168.50.208/24 dev eth0");
        node.apply(&with_ports(service("taken", &["192.168.50.208"]), &[80])).await;
        eventually("guarded", || has("192.168.50.207 . tcp . 80")).await;
        node.wait_until_idle().await;
        assert!(!has("192.168.50.208 . tcp . 80"), "{}", our_table().unwrap());
    });
}

#[test]
fn the_setting_counts() {
    in_namespace(|| async {
        let (_lan, _kube_proxy, node) = node(&services(&[80])).await;
        node.configure(json!({"local": {"vipGuard": "Disabled"}})).await;
        eventually("removed", || our_table().is_none()).await;
        node.configure(json!({"local": {"vipGuard": "Enabled"}})).await;
        eventually("back", || our_table().is_some_and(|table| table.contains("hook input"))).await;
        assert_eq!(node.state().await.guard.addresses, 4);
        node.stop().await;
        assert_eq!(our_table(), None, "without an agent, a new port must not be closed");
    });
}

#[test]
fn the_rules_of_a_killed_agent_run_out_and_its_successor_replaces_them() {
    in_namespace(|| async {
        let (_lan, _kube_proxy, node) = node(&services(&[80])).await;
        node.kill();
        let table = our_table().unwrap();
        assert_eq!(table.matches("expires").count(), 4, "{table}");
        let _node = Node::with(&groups(), &[with_ports(service("local", LOCAL), &[81])]).await;
        let replaced = |table: String| table.contains("192.168.50.200 . tcp . 81") && !table.contains("tcp . 80");
        eventually("replaced", || our_table().is_some_and(replaced)).await;
    });
}

#[test]
fn case_61_flushed_rules_are_back_and_kube_proxys_absence_is_told() {
    in_namespace(|| async {
        let (_lan, _kube_proxy, mut node) = node(&services(&[80])).await;
        translate(LOCAL[0], 80, NODE[0], 8080);
        // A change of rules is what makes the agent look.
        tokio::time::sleep(Duration::from_millis(300)).await;
        nft("table inet other { chain c { type filter hook input priority 0; }; }");
        tokio::time::sleep(Duration::from_millis(700)).await;
        node.forget_events();
        nft("flush ruleset");
        let took = eventually("back", || our_table().is_some_and(|table| table.contains("expires"))).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
        node.wait_for_event(&["ProxyRulesGone"]).await;
        assert!(node.state().await.guard.proxy_rules_gone);
        assert!(our_table().is_some(), "the guard stays and drops");
        proxy_tables();
        translate(LOCAL[0], 80, NODE[0], 8080);
        eventually("over", || node.metrics().contains("purelb_lbnodeagent_kube_proxy_rules_gone 0")).await;
    });
}

#[test]
fn under_ipvs_packets_need_no_translation() {
    in_namespace(|| async {
        let lan = Lan::new().await;
        add_dummy("kube-ipvs0");
        ip(&format!("address add {}/32 dev kube-ipvs0", REMOTE[0]));
        let _servers = [Server::kube_proxy("ipvs"), Server::start(80), Server::start(22)];
        let _node = Node::with(&groups(), &services(&[80])).await;
        eventually("guarded", || our_table().is_some()).await;
        eventually("announced", local_is_there).await;
        assert_eq!((from(&lan.0, LOCAL[0], 80), from(&lan.0, LOCAL[0], 22)), (Connected, Silence));
    });
}

#[test]
fn who_only_says_that_an_address_is_his_opens_nothing() {
    in_namespace(|| async {
        let (_lan, _kube_proxy, node) = node(&services(&[80])).await;
        let has = |text: &str| our_table().is_some_and(|table| table.contains(text));
        // A tenant writes another's address, one that nobody was given, and a cluster IP of IPVS mode into his Service.
        add_dummy("kube-ipvs0");
        ip("address add 10.96.0.1/32 dev kube-ipvs0");
        let mut tenant = with_ports(service("tenant", &[]), &[22]);
        tenant["metadata"]["annotations"] = json!({
            "purelb.io/allocated-by": "PureLB", "purelb.io/vip-guard": "Disabled", "purelb.io/allocated-to": "tenant",
            "purelb.io/allocated-addresses": format!("{},10.96.0.1,198.51.100.7", LOCAL[0])
        });
        node.apply(&tenant).await;
        node.apply(&with_ports(service("last", &["192.168.50.207"]), &[80])).await;
        eventually("guarded", || has("192.168.50.207 . tcp . 80")).await;
        let table = our_table().unwrap();
        assert!(
            !table.contains("tcp . 22") && !table.contains("10.96.0.1") && table.contains("192.168.50.200 . tcp . 80"),
            "{table}"
        );
    });
}

#[test]
fn a_kube_proxy_whose_health_port_moved_has_not_failed() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        proxy_tables();
        let _mode = Server::kube_proxy("nftables");
        let health = Server::answering(10_256, "HTTP/1.0 200 OK\r\n\r\n");
        let mut node = Node::with(&groups(), &services(&[80])).await;
        eventually("guarded", || our_table().is_some()).await;
        drop(health);
        tokio::time::sleep(Duration::from_secs(45)).await;
        assert!(node.events().iter().all(|(reason, _)| *reason != "KubeProxyFailed"));
        assert!(remote_is_there() && our_table().is_some());
    });
}

#[test]
fn without_a_sign_of_kube_proxy_nothing_is_guarded() {
    in_namespace(|| async {
        let lan = Lan::new().await;
        proxy_tables();
        // The kubelet's chains, and something that answers on the health port.
        nft("table ip mangle { chain KUBE-IPTABLES-HINT { counter; }\n chain KUBE-KUBELET-CANARY { counter; }; }");
        let _health = Server::answering(10_256, "HTTP/1.0 200 OK\r\n\r\n");
        let _server = Server::start(80);
        let node = Node::with(&groups(), &services(&[80])).await;
        eventually("announced", || remote_is_there() && local_is_there()).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!((our_table(), node.state().await.guard.kube_proxy), (None, "unknown"));
        assert_eq!(from(&lan.0, LOCAL[0], 80), Connected);
        // With a rule for an address of ours, it is kube-proxy's health port.
        translate(LOCAL[0], 80, NODE[0], 80);
        eventually("guarded", || our_table().is_some()).await;
        assert_eq!(node.state().await.guard.kube_proxy, "nftables");
    });
}
