//! Many addresses.

use std::time::Instant;

use crate::node::{Node, interfaces, service, service_group};
use crate::support::{addresses, eventually, in_namespace};

#[test]
fn ten_thousand_remote_addresses() {
    in_namespace(|| async {
        interfaces();
        let groups = [service_group("big", "remote", "10.64.0.0/16", "10.64.0.0/16", "/32")];
        let services: Vec<_> = (0..10_000_u32)
            .map(|n| service(&format!("s{n}"), &[&std::net::Ipv4Addr::from_bits(0x0a40_0000 + n).to_string()]))
            .collect();
        let node = Node::start().await;
        let start = Instant::now();
        node.lists(&groups, &services).await;
        eventually("ready", || node.readiness.get().is_ok()).await;
        eprintln!("10,000 addresses after {:?}", start.elapsed());
        assert_eq!(addresses("kube-lb0").len(), 10_000);
        let start = Instant::now();
        node.delete(&services[77]).await;
        eventually("one less", || addresses("kube-lb0").len() == 9_999).await;
        eprintln!("one withdrawn after {:?}", start.elapsed());
        let start = Instant::now();
        node.stop().await;
        eprintln!("stopped after {:?}", start.elapsed());
    });
}
