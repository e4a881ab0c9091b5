//! The whole agent on a real kernel.

use std::time::Duration;

use serde_json::json;

use crate::changes::{measured_enough, start_announcing};
use crate::node::{LOCAL, Node, REMOTE, interfaces, local_is_there, remote_is_there};
use crate::objects::{groups, service};
use crate::support::{Monitor, add_dummy, addresses, cidrs, eventually, in_namespace, ip, lasts};

#[test]
fn a_service_comes_and_goes() {
    in_namespace(|| async {
        interfaces();
        let mut node = Node::with(&groups(), &[]).await;
        eventually("ready", || node.readiness.get().is_ok()).await;
        node.apply(&service("routed", REMOTE)).await;
        node.apply(&service("local", LOCAL)).await;
        let took = eventually("announced", || remote_is_there() && local_is_there()).await;
        eprintln!("announced after {took:?}");
        let lines = addresses("eth0");
        let v6 = lines.iter().find(|line| line.contains("fd00:50::f000")).unwrap();
        assert!(v6.contains("deprecated") && v6.contains("nodad") && v6.contains("noprefixroute"), "{v6}");
        let mut events = Vec::new();
        eventually("events", || {
            events.extend(node.event_reasons());
            let count = |reason| events.iter().filter(|found| **found == reason).count();
            count("AnnouncingNonLocal") == 2 && count("AnnouncingLocal") == 2
        })
        .await;
        let metrics = node.metrics();
        assert!(
            metrics.contains(r#"purelb_lbnodeagent_announced{ip="172.30.200.155",node="n1",service="shop/routed"} 1"#),
            "{metrics}"
        );
        node.delete(&service("routed", REMOTE)).await;
        node.delete(&service("local", LOCAL)).await;
        let took = eventually("withdrawn", || cidrs("kube-lb0").is_empty() && cidrs("eth0").len() == 2).await;
        eprintln!("withdrawn after {took:?}");
        while !node.state().await.addresses.is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(!node.metrics().contains("shop/routed"));
        node.stop().await;
    });
}

#[test]
fn a_dropped_address_is_withdrawn() {
    in_namespace(|| async {
        interfaces();
        let node = Node::with(&groups(), &[service("routed", REMOTE)]).await;
        eventually("announced", remote_is_there).await;
        node.apply(&service("routed", &REMOTE[..1])).await;
        eventually("one left", || cidrs("kube-lb0") == ["172.30.200.155/32"]).await;
    });
}

#[test]
fn a_restart_moves_nothing() {
    in_namespace(|| async {
        interfaces();
        let services = [service("routed", REMOTE), service("local", LOCAL)];
        let node = Node::with(&groups(), &services).await;
        eventually("announced", || remote_is_there() && local_is_there()).await;
        let monitor = Monitor::start();
        node.stop().await;
        assert!(remote_is_there() && local_is_there());
        let lines: Vec<String> = addresses("kube-lb0")
            .into_iter()
            .chain(addresses("eth0"))
            .filter(|line| !line.contains("50.11/24") && !line.contains("50::11/64"))
            .collect();
        assert!(lines.len() == 4 && lines.iter().all(|line| lasts(line, "valid", 180)), "{lines:#?}");
        // The next run keeps them, although it does not know the cluster yet.
        let mut node = Node::start().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(remote_is_there() && local_is_there());
        assert!(node.readiness.get().is_err());
        node.deliver_lists(&groups(), &services).await;
        eventually("adopted", || addresses("kube-lb0").iter().all(|line| line.contains("valid_lft forever"))).await;
        while !node.state().await.addresses.iter().all(|address| address.announced) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(node.event_reasons().is_empty());
        assert_eq!(monitor.deletions(), Vec::<String>::new());
        node.kill();
    });
}

#[test]
fn a_restart_waits_for_the_endpoints() {
    in_namespace(|| async {
        interfaces();
        let mut local = service("local", LOCAL);
        local["spec"]["externalTrafficPolicy"] = json!("Local");
        let services = [local];
        let node = Node::with(&groups(), &services).await;
        node.endpoints("local", &["n1"]).await;
        eventually("announced", local_is_there).await;
        let monitor = Monitor::start();
        node.kill();
        let node = Node::with(&groups(), &services).await;
        eventually("ready", || node.readiness.get().is_ok()).await;
        // Longer than it takes to give up an address and to claim it again.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        node.endpoints("local", &["n1"]).await;
        while !node.state().await.addresses.iter().all(|address| address.announced) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(monitor.deletions(), Vec::<String>::new());
    });
}

#[test]
fn addresses_without_a_service_are_removed_once_the_lists_are_complete() {
    in_namespace(|| async {
        interfaces();
        let node = Node::with(&groups(), &[service("routed", REMOTE), service("local", LOCAL)]).await;
        eventually("announced", || remote_is_there() && local_is_there()).await;
        node.kill();
        ip("address add 198.51.100.1/32 dev kube-lb0");
        let node = Node::start().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(local_is_there() && cidrs("kube-lb0").len() == 3);
        node.deliver_lists(&groups(), &[]).await;
        // Somebody else's address stays.
        eventually("removed", || cidrs("kube-lb0") == ["198.51.100.1/32"] && cidrs("eth0").len() == 2).await;
    });
}

#[test]
fn what_is_removed_by_hand_comes_back_at_once() {
    for command in [
        "address del 172.30.200.155/32 dev kube-lb0",
        "address del 192.168.50.200/24 dev eth0",
        "address flush dev kube-lb0",
        "-6 address del fd00:50::f000/64 dev eth0",
    ] {
        in_namespace(move || async move {
            interfaces();
            let mut node = start_announcing().await;
            let mut times = Vec::new();
            while !measured_enough(command, &times) {
                node.forget_events();
                ip(command);
                times.push(eventually(command, || remote_is_there() && local_is_there()).await);
                node.wait_for_event(&["AddressRepaired"]).await;
                // The kernel reports IPv6 addresses some milliseconds after it has them.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
}

#[test]
fn of_a_flushed_nic_only_our_addresses_come_back() {
    in_namespace(|| async {
        interfaces();
        let _node = start_announcing().await;
        // This removes the node's own address too.
        ip("address flush dev eth0 scope global");
        ip("address add 192.168.50.11/24 dev eth0");
        ip("address add fd00:50::11/64 dev eth0 nodad");
        ip("route replace default dev eth0");
        ip("-6 route replace default dev eth0");
        eventually("after a flush of the NIC", local_is_there).await;
    });
}

#[test]
fn a_nic_that_is_down_has_no_addresses_and_gets_them_back() {
    in_namespace(|| async {
        interfaces();
        let node = Node::with(&groups(), &[service("local", LOCAL)]).await;
        eventually("announced", local_is_there).await;
        ip("link set far down");
        eventually("withdrawn", || !cidrs("eth0").contains(&"192.168.50.200/24".to_owned())).await;
        assert!(node.state().await.subnets.is_empty());
        ip("link set far up");
        eventually("back", local_is_there).await;
    });
}

#[test]
fn a_deleted_dummy_interface_comes_back() {
    in_namespace(|| async {
        interfaces();
        let node = Node::with(&groups(), &[service("routed", REMOTE)]).await;
        eventually("announced", remote_is_there).await;
        ip("link del kube-lb0");
        node.wait_for_address("noticed", REMOTE[0], |address| !address.announced || remote_is_there()).await;
        // The agent cannot create it on kernels without dummy interfaces.
        add_dummy("kube-lb0");
        eventually("back", remote_is_there).await;
        drop(node);
    });
}

#[test]
fn a_peer_that_never_answered_gets_no_address() {
    in_namespace(|| async {
        interfaces();
        let all: Vec<String> = (200..=210).map(|last| format!("192.168.50.{last}")).collect();
        let services: Vec<_> = all.iter().map(|ip| service(&format!("s{ip}"), &[ip])).collect();
        let node = Node::with(&groups(), &services).await;
        node.peer("n2", "192.168.50.12/24").await;
        eventually("all here", || cidrs("eth0").len() == 13).await;
        let state = node.state().await;
        let [peer] = state.members.as_slice() else { panic!("{:?}", state.members) };
        assert!(peer.node == "n2" && peer.claims == 0 && peer.answered_millis.is_none(), "{peer:?}");
        let ownership = state.addresses[0].ownership.as_ref().unwrap();
        assert_eq!((ownership.owner.as_deref(), ownership.doing), (Some("n1"), "holds it"));
        assert!(ownership.epoch > 0);
    });
}

#[test]
fn configuration_applies_live() {
    in_namespace(|| async {
        interfaces();
        let node = Node::with(&groups(), &[service("routed", REMOTE), service("local", LOCAL)]).await;
        eventually("announced", || remote_is_there() && local_is_there()).await;
        node.configure(json!({"nodeSelector": {"matchLabels": {"no": "such"}}, "local": {}})).await;
        eventually("deselected", || cidrs("kube-lb0").is_empty() && cidrs("eth0").len() == 2).await;
        assert_eq!(node.state().await.config, "deselected");
        node.configure(
            json!({"local": {"dummyInterface": "far", "addressConfig": {"localInterface": {"validLifetime": 1000}}}}),
        )
        .await;
        eventually("other dummy", || cidrs("far").len() == 2 && local_is_there()).await;
        let lasts = |line: &String| line.contains("192.168.50.200/24") && lasts(line, "valid", 1000);
        assert!(addresses("eth0").iter().any(lasts));
        node.configure(json!({"local": {}})).await;
        eventually("back", || remote_is_there() && cidrs("far").is_empty()).await;
        assert!(node.metrics().contains(r#"purelb_lbnodeagent_selector_state{state="configured"} 1"#));
    });
}

#[test]
fn repairs_are_limited_if_somebody_keeps_removing_an_address() {
    in_namespace(|| async {
        interfaces();
        let mut node = Node::with(&groups(), &[service("routed", REMOTE)]).await;
        eventually("announced", remote_is_there).await;
        for _ in 0..15 {
            crate::support::try_ip("address del 172.30.200.155/32 dev kube-lb0");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(!remote_is_there());
        assert!(node.event_reasons().contains(&"AddressRepaired"));
        assert!(node.metrics().contains("purelb_lbnodeagent_address_repairs_total 10"), "{}", node.metrics());
    });
}
