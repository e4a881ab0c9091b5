//! Many addresses.

use std::time::Instant;

use api_types::AddressAttributes;
use lbnodeagent::kernel::netlink::monitor::Monitor;
use lbnodeagent::kernel::netlink::requests::Kernel;
use lbnodeagent::model::address::AddressKey;
use lbnodeagent::model::operation::{Entry, Operation, Purpose};
use lbnodeagent::model::placement::{Kind, Placement};

use crate::node::{Node, interfaces};
use crate::objects::{service, service_group};
use crate::support::{add_dummy, cidrs, eventually, in_namespace};

#[test]
fn ten_thousand_remote_addresses() {
    in_namespace(|| async {
        interfaces();
        let groups = [service_group("big", "remote", "10.64.0.0/16", "10.64.0.0/16", "/32")];
        let address = |n: u32| std::net::Ipv4Addr::from_bits(0x0a40_0000 + n).to_string();
        come_and_go(&groups, (0..10_000).map(address).collect()).await;
    });
}

/// Fewer, because the kernel needs longer for each additional address.
#[test]
fn two_thousand_remote_ipv6_addresses() {
    in_namespace(|| async {
        interfaces();
        let groups = [service_group("big", "remote", "2001:db8::/64", "2001:db8::/64", "/128")];
        come_and_go(&groups, (1..=2_000).map(|n| format!("2001:db8::{n:x}")).collect()).await;
    });
}

async fn come_and_go(groups: &[serde_json::Value], all: Vec<String>) {
    let services: Vec<_> = all.iter().enumerate().map(|(n, ip)| service(&format!("s{n}"), &[ip])).collect();
    let node = Node::start().await;
    let start = Instant::now();
    node.deliver_lists(groups, &services).await;
    eventually("ready", || node.readiness.get().is_ok()).await;
    eprintln!("{} addresses after {:?}", all.len(), start.elapsed());
    assert_eq!(cidrs("kube-lb0").len(), all.len());
    let start = Instant::now();
    node.delete(&services[77]).await;
    eventually("one less", || cidrs("kube-lb0").len() == all.len() - 1).await;
    eprintln!("one withdrawn after {:?}", start.elapsed());
    let start = Instant::now();
    node.stop().await;
    eprintln!("stopped after {:?}", start.elapsed());
    assert_eq!(cidrs("kube-lb0").len(), all.len() - 1);
}

#[test]
fn lost_notifications_are_noticed() {
    in_namespace(|| async {
        add_dummy("kube-lb0");
        let mut kernel = Kernel::open().unwrap();
        let observed = kernel.dump().unwrap();
        let index = kernel.ensure_dummy("kube-lb0", &observed).unwrap();
        let mut monitor = Monitor::open().unwrap();
        let keys = (0..10_000_u32).map(|n| AddressKey {
            ip: std::net::Ipv4Addr::from_bits(0x0a40_0000 + n).into(),
            index,
            prefix_len: 32,
        });
        let puts: Vec<Operation> = keys
            .map(|key| Placement { kind: Kind::Remote, key, aggregate: None, attributes: AddressAttributes::REMOTE })
            .map(|placement| Operation::Put(Entry::ours(&placement), Purpose::Add))
            .collect();
        let deletes: Vec<Operation> = puts.iter().map(|put| Operation::Delete(*put.key())).collect();
        for operations in [&puts, &deletes, &puts, &deletes, &puts] {
            assert!(kernel.apply(operations).unwrap().iter().all(Result::is_ok));
        }
        assert!(monitor.read().lost, "the buffer holds all notifications: increase their number in this test");
        assert!(!monitor.read().lost);
    });
}
