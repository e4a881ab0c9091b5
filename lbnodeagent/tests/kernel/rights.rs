//! Which addresses the agent may announce, and what it reports of its node: case numbers are those of the field.

use std::time::Duration;

use serde_json::{Value, json};

use crate::node::{LOCAL, Lan, Node, REMOTE, interfaces, local_is_there, remote_is_there};
use crate::objects::{groups, service};
use crate::support::{Monitor, cidrs, eventually, in_namespace, ip, ip_batch, run_dir};

/// A Service as `kubectl replace` leaves it: with its status and without annotations.
fn bare(name: &str, addresses: &[&str]) -> Value {
    let mut service = service(name, addresses);
    service["metadata"]["annotations"] = json!({});
    service
}

/// The addresses that the Lease says are held although nothing on their Services says so.
fn held(node: &Node) -> Vec<String> {
    let held = node.entries.borrow().page(0).held.into_iter();
    held.map(|held| format!("{} {}", held.address, held.uid)).collect()
}

#[test]
fn case_10_nothing_is_withdrawn_while_the_annotations_are_missing() {
    in_namespace(|| async {
        interfaces();
        let services = [service("routed", REMOTE), service("local", LOCAL)];
        let node = Node::with(&groups(), &services).await;
        eventually("announced", || remote_is_there() && local_is_there()).await;
        assert!(held(&node).is_empty());
        let monitor = Monitor::start();
        let replaced = [bare("routed", REMOTE), bare("local", LOCAL)];
        for service in &replaced {
            node.apply(service).await;
        }
        let mut expected: Vec<String> = REMOTE.iter().map(|ip| format!("{ip} routed")).collect();
        expected.extend(LOCAL.iter().map(|ip| format!("{ip} local")));
        expected.sort();
        let all_held = |node: &Node| {
            let mut held = held(node);
            held.sort();
            held == expected
        };
        eventually("reported", || all_held(&node)).await;
        // Every agent restarts meanwhile.
        node.stop().await;
        let node = Node::with(&groups(), &replaced).await;
        eventually("reported again", || all_held(&node)).await;
        // The allocator marks them.
        for service in &services {
            node.apply(service).await;
        }
        eventually("marked", || held(&node).is_empty()).await;
        assert!(remote_is_there() && local_is_there());
        assert_eq!(monitor.deletions(), Vec::<String>::new());
        node.kill();
    });
}

#[test]
fn case_2_what_somebody_else_writes_into_a_status_is_not_announced() {
    in_namespace(|| async {
        interfaces();
        let mut node = Node::with(&groups(), &[service("local", &LOCAL[..1])]).await;
        eventually("announced", || cidrs("eth0").contains(&"192.168.50.200/24".to_owned())).await;
        let monitor = Monitor::start();
        let mut overwritten = service("local", &["192.168.50.13"]);
        overwritten["metadata"]["annotations"]["purelb.io/allocated-addresses"] = json!(LOCAL[0]);
        overwritten["metadata"]["annotations"]["purelb.io/allocated-to"] = json!("local");
        node.apply(&overwritten).await;
        // Of another load balancer, in a pool of ours.
        node.apply(&bare("foreign", &["192.168.50.201", "172.30.200.156"])).await;
        for ip in ["192.168.50.13", "192.168.50.201", "172.30.200.156"] {
            node.wait_for_address("left alone", ip, |address| !address.announced && address.reason == "notGiven").await;
        }
        // Longer than it takes to claim an address.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(cidrs("eth0").contains(&"192.168.50.200/24".to_owned()) && cidrs("kube-lb0").is_empty());
        assert_eq!(monitor.deletions(), Vec::<String>::new());
        assert!(!node.event_reasons().contains(&"AnnouncementFailed"));
    });
}

#[test]
fn case_21_a_service_that_is_being_deleted_is_withdrawn_at_once() {
    in_namespace(|| async {
        interfaces();
        let services = [service("routed", REMOTE), service("local", LOCAL)];
        let node = Node::with(&groups(), &services).await;
        eventually("announced", || remote_is_there() && local_is_there()).await;
        for mut service in services {
            service["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            service["metadata"]["finalizers"] = json!(["example.com/hold"]);
            node.apply(&service).await;
        }
        eventually("withdrawn", || cidrs("kube-lb0").is_empty() && cidrs("eth0").len() == 2).await;
    });
}

#[test]
fn case_59_an_interface_without_ipv6_is_reported_once() {
    in_namespace(|| async {
        interfaces();
        let setting = |value: &str| std::fs::write("/proc/sys/net/ipv6/conf/kube-lb0/disable_ipv6", value).unwrap();
        setting("1");
        let more = ["2001:470:8bf5:2:2::2", "2001:470:8bf5:2:2::3"];
        let mut node = Node::with(&groups(), &[service("routed", REMOTE), service("more", &more)]).await;
        eventually("IPv4", || cidrs("kube-lb0") == ["172.30.200.155/32"]).await;
        let mut told = Vec::new();
        eventually("told", || {
            told.extend(node.events());
            told.iter().any(|(reason, _)| *reason == "InterfaceUnusable")
        })
        .await;
        node.wait_until_idle().await;
        told.extend(node.events());
        let unusable: Vec<_> = told.iter().filter(|(reason, _)| *reason == "InterfaceUnusable").collect();
        assert!(unusable.len() == 1 && unusable[0].1.contains("net.ipv6.conf.kube-lb0.disable_ipv6"), "{told:?}");
        assert!(told.iter().all(|(reason, _)| *reason != "AnnouncementFailed"), "{told:?}");
        setting("0");
        eventually("healed", || cidrs("kube-lb0").len() == 4).await;
        node.kill();
    });
}

#[test]
fn case_15_a_directory_that_cannot_be_written_is_reported_once() {
    in_namespace(|| async {
        interfaces();
        // Where the state file is written before it is renamed.
        std::fs::create_dir_all(run_dir().join("services.new")).unwrap();
        let mut node = Node::with(&groups(), &[service("routed", REMOTE)]).await;
        eventually("announced", remote_is_there).await;
        let mut told = Vec::new();
        eventually("told", || {
            told.extend(node.event_reasons());
            told.contains(&"RecordUnwritable")
        })
        .await;
        assert!(node.metrics().contains("purelb_lbnodeagent_record_unwritable 1"));
        tokio::time::sleep(Duration::from_millis(1200)).await;
        told.extend(node.event_reasons());
        assert_eq!(told.iter().filter(|reason| **reason == "RecordUnwritable").count(), 1);
        std::fs::remove_dir(run_dir().join("services.new")).unwrap();
        eventually("written", || node.metrics().contains("purelb_lbnodeagent_record_unwritable 0")).await;
        node.kill();
    });
}

#[test]
fn case_63_a_selection_that_matches_nothing_is_reported_and_alternative_names_match() {
    in_namespace(|| async {
        interfaces();
        let mut node = Node::start().await;
        node.deliver_agent(&json!({"local": {"localInterface": "^ens"}})).await;
        node.deliver_lists(&groups(), &[service("local", LOCAL)]).await;
        let mut told = Vec::new();
        eventually("told", || {
            told.extend(node.events());
            // On the Node and on the LBNodeAgent.
            let about = |(reason, text): &&(&str, String)| *reason == "InterfaceUnusable" && text.contains("eth0");
            told.iter().filter(about).count() == 2
        })
        .await;
        ip("link property add dev eth0 altname ens7");
        eventually("announced", local_is_there).await;
    });
}

/// metallb 531: hosts have two hardware addresses for one VIP.
#[test]
fn an_interface_that_answers_arp_for_another_is_reported() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        ip_batch("link add eth1 type veth peer name other\nlink set eth1 up\naddress add 192.168.50.61/24 dev eth1\n");
        let mut node = Node::with(&groups(), &[service("local", LOCAL)]).await;
        let mut told = Vec::new();
        let about =
            |(reason, text): &&(&str, String)| *reason == "ConfigurationWarning" && text.contains("eth0 and eth1");
        eventually("told", || {
            told.extend(node.events());
            told.iter().filter(about).count() == 1
        })
        .await;
        // Where the kernel was told not to, nothing is said.
        node.stop().await;
        let setting = |value: &str| std::fs::write("/proc/sys/net/ipv4/conf/eth1/arp_ignore", value).unwrap();
        setting("1");
        let mut node = Node::with(&groups(), &[service("local", LOCAL)]).await;
        eventually("adopted", local_is_there).await;
        node.wait_until_idle().await;
        assert_eq!(node.events().iter().filter(about).count(), 0);
    });
}
