//! Start, stop and outages: what happens to addresses while no agent runs, or none knows the cluster.

use std::time::{Duration, Instant};

use kube::runtime::watcher::Event;
use lbnodeagent::cluster::input::Input;
use lbnodeagent::cluster::service::ServiceView;
use serde_json::{Value, json};

use crate::node::{LOCAL, Lan, Node, REMOTE, local_is_there, remote_is_there};
use crate::objects::{groups, service, service_group};
use crate::support::{
    Monitor, add_dummy, addresses, agent_thread_is_left, cidrs, eventually, in_namespace, ip, ip_batch, run_dir,
};

fn both() -> [Value; 2] {
    [service("routed", REMOTE), service("local", LOCAL)]
}

/// After an uninstall no agent returns: the kernel removes the addresses and their routes.
#[test]
fn addresses_outlive_the_agent_and_then_the_kernel_removes_them() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let mut wide = groups();
        wide.push(service_group("wide", "remote", "10.9.0.0/24", "10.9.0.0/16", "default"));
        let node = Node::start_with(Duration::from_secs(3)).await;
        node.deliver_lists(&wide, &[&both()[..], &[service("wide", &["10.9.0.7"])]].concat()).await;
        eventually("announced", || local_is_there() && cidrs("kube-lb0").len() == 3).await;
        ip("address add 198.51.100.1/32 dev kube-lb0");
        node.stop().await;
        let start = Instant::now();
        assert!(local_is_there() && cidrs("kube-lb0").len() == 4);
        assert!(ip("route show").contains("10.9.0.0/16 dev kube-lb0"));
        let own = || cidrs("eth0") == ["192.168.50.11/24", "fd00:50::11/64"];
        eventually("gone", || own() && cidrs("kube-lb0") == ["198.51.100.1/32"]).await;
        let took = start.elapsed();
        assert!(took > Duration::from_secs(2) && took < Duration::from_secs(6), "{took:?}");
        assert!(!ip("route show").contains("10.9.0.0/16"));
    });
}

/// As after a reboot: the state file was on a tmpfs, and the kernel has no address of ours.
#[test]
fn a_fresh_kernel_gets_everything() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let node = Node::with(&groups(), &both()).await;
        eventually("announced", || remote_is_there() && local_is_there()).await;
        node.kill();
        eventually("ended", || !agent_thread_is_left()).await;
        // A record from before the reboot does no harm.
        std::fs::write(run_dir().join("addresses"), "77 192.168.50.11/24\n77 198.51.100.1/32\n").unwrap();
        ip_batch(
            "address flush dev kube-lb0\n\
             address del 192.168.50.200/24 dev eth0\n\
             address del fd00:50::f000/64 dev eth0\n\
             address add 198.51.100.1/32 dev kube-lb0\n",
        );
        let mut node = Node::with(&groups(), &both()).await;
        eventually("announced", || cidrs("kube-lb0").len() == 3 && local_is_there()).await;
        let mut events = Vec::new();
        eventually("events", || {
            events.extend(node.event_reasons());
            ["AnnouncingLocal", "AnnouncingNonLocal"].iter().all(|reason| events.contains(reason))
        })
        .await;
        assert!(cidrs("kube-lb0").contains(&"198.51.100.1/32".to_owned()));
    });
}

/// The agent is killed and started again with another aggregation, dummy interface and NIC.
#[test]
fn a_configuration_that_changed_meanwhile_is_applied() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let node = Node::with(&groups(), &both()).await;
        eventually("announced", || remote_is_there() && local_is_there()).await;
        node.kill();
        let mut changed = groups();
        changed[0] = service_group("routed4", "remote", "172.30.200.155-172.30.200.160", "172.30.200.0/24", "default");
        let node = Node::with(&changed, &both()).await;
        eventually("another aggregation", || {
            cidrs("kube-lb0") == ["172.30.200.155/24", "2001:470:8bf5:2:2::1/128"] && local_is_there()
        })
        .await;
        node.kill();
        ip_batch(
            "link add eth1 type veth peer name other\nlink set other up\nlink set eth1 up\n\
             address add 192.168.50.21/24 dev eth1\n",
        );
        add_dummy("lb1");
        let node = Node::start().await;
        let agent = json!({"local": {"dummyInterface": "lb1", "localInterface": "^eth1$"}});
        node.deliver_agent(&agent).await;
        node.deliver_lists(&groups(), &both()).await;
        eventually("another dummy interface", || {
            cidrs("lb1") == ["172.30.200.155/32", "2001:470:8bf5:2:2::1/128"] && cidrs("kube-lb0").is_empty()
        })
        .await;
        // The new NIC has no IPv6 network.
        eventually("another NIC", || {
            cidrs("eth1") == ["192.168.50.200/24", "192.168.50.21/24"]
                && cidrs("eth0") == ["192.168.50.11/24", "fd00:50::11/64"]
        })
        .await;
    });
}

/// The watches deliver everything again, and the agent applies only the differences.
#[test]
fn after_an_outage_only_differences_are_applied() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let mut node = Node::with(&groups(), &both()).await;
        eventually("announced", || remote_is_there() && local_is_there()).await;
        // The kernel reports IPv6 addresses some time after they are added.
        tokio::time::sleep(Duration::from_millis(300)).await;
        node.discard_events();
        let since: Vec<_> = node.state().await.addresses.into_iter().map(|address| address.since).collect();
        let monitor = Monitor::start();
        for current in [false, true] {
            for name in lbnodeagent::cluster::input::REQUIRED {
                node.send(Input::Watch { name, current }).await;
            }
            node.wait_until_idle().await;
        }
        relist(&node, &both()).await;
        node.wait_until_idle().await;
        assert_eq!(without_link_local(monitor.lines()), Vec::<String>::new());
        assert!(node.event_reasons().is_empty());
        assert_eq!(node.state().await.addresses.into_iter().map(|address| address.since).collect::<Vec<_>>(), since);
        // One was deleted meanwhile, one is new.
        let monitor = Monitor::start();
        relist(&node, &[service("local", LOCAL), service("new", &["172.30.200.156"])]).await;
        eventually("applied", || cidrs("kube-lb0") == ["172.30.200.156/32"]).await;
        node.wait_until_idle().await;
        let lines = without_link_local(monitor.lines());
        for ip in REMOTE {
            assert!(
                lines.iter().any(|line| line.starts_with("Deleted") && line.contains(&format!("{ip}/"))),
                "{lines:#?}"
            );
        }
        let new = |line: &String| !line.starts_with("Deleted") && line.contains("172.30.200.156/32");
        assert!(lines.iter().any(new), "{lines:#?}");
        let others = |line: &&String| !line.contains("172.30.200.15") && !line.contains(REMOTE[1]);
        assert_eq!(lines.iter().filter(others).collect::<Vec<_>>(), Vec::<&String>::new());
        assert!(local_is_there());
    });
}

/// Leaves out link-local addresses, which the kernel gives to a new interface within some seconds.
fn without_link_local(mut lines: Vec<String>) -> Vec<String> {
    lines.retain(|line| !line.contains("fe80:"));
    lines
}

async fn relist(node: &Node, services: &[Value]) {
    node.send(Input::Service(Event::Init)).await;
    for service in services {
        let view = ServiceView::new(&serde_json::from_value(service.clone()).unwrap(), true);
        node.send(Input::Service(Event::InitApply(view))).await;
    }
    node.send(Input::Service(Event::InitDone)).await;
}

/// Until it knows the cluster, the agent extends the lifetimes that its predecessor left.
#[test]
fn what_runs_out_before_the_cluster_is_known_is_kept() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let node = Node::start_with(Duration::from_secs(4)).await;
        node.deliver_lists(&groups(), &both()).await;
        eventually("announced", || remote_is_there() && local_is_there()).await;
        node.stop().await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        // The API server does not answer when the agent starts.
        let _node = Node::start().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(remote_is_there() && local_is_there());
        let finite =
            |line: &String| !line.contains("valid_lft forever") || line.contains("50.11/") || line.contains("50::11/");
        let lines = [addresses("eth0"), addresses("kube-lb0")].concat();
        assert!(lines.iter().all(finite), "{lines:#?}");
    });
}
