//! Our addresses beside those of the host and of others, which the agent never changes.

use std::time::Duration;

use crate::changes::{measured_enough, start_announcing};
use crate::node::{LOCAL, Lan, Node, REMOTE, local_is_there, remote_is_there};
use crate::objects::{groups, service, service_group};
use crate::support::{addresses, cidrs, eventually, in_namespace, ip, ip_batch, try_ip};

/// With `promote_secondaries`, which systemd turns on, an address of ours becomes the primary one of the network when
/// the node is renumbered. The kernel creates the connected route for the primary address only, and ours has none.
#[test]
fn a_renumbered_node_keeps_its_network() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        std::fs::write("/proc/sys/net/ipv4/conf/eth0/promote_secondaries", "1").unwrap();
        let mut node = start_announcing().await;
        let mut times = Vec::new();
        let (mut old, mut new) = (11, 12);
        while !measured_enough("renumbered", &times) {
            node.forget_events();
            ip_batch(&format!("address add 192.168.50.{new}/24 dev eth0\naddress del 192.168.50.{old}/24 dev eth0\n"));
            let own = || ip("route show 192.168.50.0/24").contains(&format!("src 192.168.50.{new}"));
            times.push(eventually("a route to the network", || own() && local_is_there()).await);
            node.wait_for_event(&["AddressRepaired"]).await;
            assert!(ip("route show default").contains("192.168.50.1 dev eth0"));
            (old, new) = (new, old);
        }
        node.delete(&service("local", LOCAL)).await;
        eventually("withdrawn", || cidrs("eth0") == [format!("192.168.50.{old}/24"), "fd00:50::11/64".to_owned()])
            .await;
    });
}

/// An address of ours has become the primary one while no agent ran, and no Service uses it any more.
async fn remove_primary_address(promote_then: &str) -> Lan {
    let lan = Lan::new().await;
    let promote = |value| std::fs::write("/proc/sys/net/ipv4/conf/eth0/promote_secondaries", value).unwrap();
    promote("1");
    let node = start_announcing().await;
    node.stop().await;
    ip_batch("address add 192.168.50.12/24 dev eth0\naddress del 192.168.50.11/24 dev eth0\n");
    let is_primary = |line: &String| line.contains("192.168.50.200/24") && !line.contains("secondary");
    assert!(addresses("eth0").iter().any(is_primary));
    promote(promote_then);
    let node = Node::with(&groups(), &[service("routed", REMOTE)]).await;
    eventually("swept", || cidrs("eth0") == ["192.168.50.12/24", "fd00:50::11/64"]).await;
    assert!(ip("route show 192.168.50.0/24").contains("src 192.168.50.12"));
    // The node's own address is still known as not ours.
    node.apply(&service("local", LOCAL)).await;
    eventually("announced", local_is_there).await;
    node.delete(&service("local", LOCAL)).await;
    eventually("withdrawn", || cidrs("eth0") == ["192.168.50.12/24", "fd00:50::11/64"]).await;
    lan
}

#[test]
fn removing_a_primary_address_keeps_the_others() {
    in_namespace(|| async {
        let _lan = remove_primary_address("1").await;
        assert!(ip("route show default").contains("192.168.50.1 dev eth0"));
    });
}

/// Without `promote_secondaries`, the kernel deletes all other addresses of the network with it.
#[test]
fn addresses_that_the_kernel_deletes_with_a_primary_one_are_restored() {
    in_namespace(|| async {
        let _lan = remove_primary_address("0").await;
    });
}

/// Without `promote_secondaries`, the kernel deletes our address with the node's own.
#[test]
fn our_address_that_the_kernel_deletes_with_the_nodes_own_comes_back() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let mut node = start_announcing().await;
        let mut times = Vec::new();
        while !measured_enough("deleted with the node's own", &times) {
            node.forget_events();
            ip_batch(
                "address del 192.168.50.11/24 dev eth0\n\
                 address add 192.168.50.11/24 dev eth0\n\
                 route replace default via 192.168.50.1 dev eth0\n",
            );
            let own = || ip("route show 192.168.50.0/24").contains("src 192.168.50.11");
            times.push(eventually("back", || local_is_there() && own()).await);
            node.wait_for_event(&["AddressRepaired", "AnnouncingLocal"]).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
}

/// An interface has an IPv6 address only once: the kernel accepts it with another prefix length, but keeps the old one.
#[test]
fn an_ipv6_address_with_another_prefix_length_is_replaced() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        ip("link set kube-lb0 up");
        ip("address add 2001:470:8bf5:2:2::1/128 dev kube-lb0 nodad");
        let group = |aggregation| {
            service_group("routed", "remote", "2001:470:8bf5:2:2::/80", "2001:470:8bf5:2::/64", aggregation)
        };
        let node = Node::with(&[group("default")], &[service("routed", &REMOTE[1..])]).await;
        for (aggregation, length) in [("default", 64), ("/128", 128), ("/72", 72), ("/64", 64)] {
            node.apply_object(&group(aggregation)).await;
            // A second change before the kernel has reported the first.
            eventually("the prefix length", || cidrs("kube-lb0") == [format!("{}/{length}", REMOTE[1])]).await;
            node.apply_object(&group("/100")).await;
            node.apply_object(&group(aggregation)).await;
        }
        eventually("the prefix length", || cidrs("kube-lb0") == [format!("{}/64", REMOTE[1])]).await;
        node.wait_for_address("announced", REMOTE[1], |address| address.announced).await;
    });
}

#[test]
fn what_is_not_ours_is_never_touched() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        // Added by hand: one with another prefix length, one with a lifetime like those of DHCP.
        ip("address add fd00:50::f000/128 dev eth0 nodad");
        ip("address add 192.168.50.200/24 dev eth0 valid_lft 3600 preferred_lft 3600");
        ip("address add 198.51.100.1/32 dev kube-lb0");
        let mut node = Node::with(&groups(), &[service("local", LOCAL), service("routed", REMOTE)]).await;
        eventually("announced", || cidrs("kube-lb0").len() == 3).await;
        for address in LOCAL {
            node.wait_for_address("refused", address, |address| address.reason == "refused" && !address.announced)
                .await;
        }
        let events = node.events();
        let refusals =
            events.iter().filter(|(reason, text)| *reason == "AnnouncementFailed" && text.contains("not from us"));
        assert_eq!(refusals.count(), 2, "{events:#?}");
        let untouched = || {
            let lines = addresses("eth0");
            let has = |words: &[&str]| lines.iter().any(|line| words.iter().all(|word| line.contains(word)));
            has(&["fd00:50::f000/128", "valid_lft forever"]) && has(&["192.168.50.200/24", "valid_lft 3"])
        };
        assert!(untouched(), "{:#?}", addresses("eth0"));
        node.delete(&service("local", LOCAL)).await;
        node.delete(&service("routed", REMOTE)).await;
        eventually("withdrawn", || cidrs("kube-lb0") == ["198.51.100.1/32"]).await;
        assert!(untouched(), "{:#?}", addresses("eth0"));
        // After they are removed, the addresses are free.
        node.apply(&service("local", LOCAL)).await;
        ip("address del fd00:50::f000/128 dev eth0");
        ip("address del 192.168.50.200/24 dev eth0");
        for address in LOCAL {
            node.wait_for_address("announced", address, |address| address.announced).await;
        }
        assert!(local_is_there(), "{:#?}", addresses("eth0"));
        // An address of ours stays ours when somebody replaces it.
        ip("address replace 192.168.50.200/24 dev eth0");
        let renewed = |line: &String| line.contains("192.168.50.200/24") && !line.contains("valid_lft forever");
        eventually("ours again", || addresses("eth0").iter().any(renewed)).await;
        node.wait_for_address("held", LOCAL[0], |address| address.announced && address.reason == "electionWon").await;
        assert!(try_ip("address show dev eth0").1.contains("192.168.50.11/24"));
    });
}

#[test]
fn overlap_with_a_connected_network_is_refused_until_it_is_gone() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        ip_batch("link add eth1 type veth peer name other\nlink set eth1 up\naddress add 10.9.1.1/24 dev eth1\n");
        let mut all = groups();
        all.push(service_group("wide", "remote", "10.9.0.0/24", "10.9.0.0/16", "default"));
        let mut node = Node::with(&all, &[service("wide", &["10.9.0.7"]), service("routed", REMOTE)]).await;
        eventually("announced", remote_is_there).await;
        let mut events = node.events();
        eventually("an event", || {
            events.extend(node.events());
            events.iter().any(|(reason, text)| *reason == "AnnouncementFailed" && text.contains("10.9.1.0/24 of eth1"))
        })
        .await;
        node.wait_for_address("refused", "10.9.0.7", |address| address.reason == "refused").await;
        ip("address del 10.9.1.1/24 dev eth1");
        eventually("announced", || cidrs("kube-lb0").contains(&"10.9.0.7/16".to_owned())).await;
        // The network appears while the address is announced.
        ip("address add 10.9.1.1/24 dev eth1");
        eventually("withdrawn", remote_is_there).await;
    });
}
