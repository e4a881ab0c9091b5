//! Netlink requests, and the kernel's notifications.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::AddressAttributes;
use lbnodeagent::kernel::netlink::monitor::Monitor;
use lbnodeagent::kernel::netlink::requests::Kernel;
use lbnodeagent::model::address::{AddressKey, MARK};
use lbnodeagent::model::observed::Observed;
use lbnodeagent::model::operation::{Entry, Operation, Purpose};
use lbnodeagent::model::ours::Ours;
use lbnodeagent::model::placement::{Kind, Placement};
use lbnodeagent::model::writer::Writer;
use lbnodeagent::plan::operations::{NO_ANCHORS, Plan};
use nix::errno::Errno;
use runtime::BootTime;

use crate::support::{add_dummy, addresses, cidrs, in_namespace, ip};

fn key(index: u32, cidr: &str) -> AddressKey {
    let (ip, prefix_len) = cidr.split_once('/').unwrap();
    AddressKey { ip: ip.parse().unwrap(), index, prefix_len: prefix_len.parse().unwrap() }
}

fn placement(index: u32, cidr: &str, attributes: AddressAttributes) -> Placement {
    Placement { kind: Kind::Remote, key: key(index, cidr), aggregate: None, attributes }
}

fn put(index: u32, cidr: &str, attributes: AddressAttributes) -> Operation {
    Operation::Put(Entry::ours(&placement(index, cidr, attributes)), Purpose::Add)
}

fn dummy(kernel: &mut Kernel) -> u32 {
    add_dummy("kube-lb0");
    let observed = kernel.dump().unwrap();
    kernel.ensure_dummy("kube-lb0", &observed).unwrap()
}

#[test]
fn a_dump_shows_what_ip_made() {
    in_namespace(|| async {
        ip("link add eth0 type veth peer name far");
        ip("link set eth0 up");
        ip("link set far up");
        ip("address add 192.0.2.1/24 brd 192.0.2.255 dev eth0 valid_lft 1000 preferred_lft 500");
        ip("address add 2001:db8::1/64 dev eth0 nodad noprefixroute");
        ip("route add default via 192.0.2.254 metric 7");
        ip("-6 route add default dev eth0 metric 9");
        let observed = Kernel::open().unwrap().dump().unwrap();
        let eth0 = observed.index_of("eth0").unwrap();
        assert!(observed.links[&eth0].works() && observed.links[&eth0].mac.is_some());
        let v4 = &observed.addresses[&key(eth0, "192.0.2.1/24")];
        assert_eq!((v4.valid, v4.preferred, v4.mark), (Some(1000), Some(500), None));
        assert_eq!(v4.broadcast, Some("192.0.2.255".parse().unwrap()));
        let v6 = &observed.addresses[&key(eth0, "2001:db8::1/64")];
        assert!(v6.no_prefix_route && v6.usable && v6.valid.is_none());
        let routes: Vec<_> = observed.routes.iter().map(|route| (route.index, route.metric)).collect();
        assert_eq!(routes, [(eth0, 7), (eth0, 9)]);
    });
}

#[test]
fn addresses_are_marked_and_have_their_attributes() {
    in_namespace(|| async {
        let mut kernel = Kernel::open().unwrap();
        let index = dummy(&mut kernel);
        let local = AddressAttributes { preferred_lifetime: Some(0), ..AddressAttributes::LOCAL };
        let results = kernel
            .apply(&[
                put(index, "172.30.200.155/32", AddressAttributes::REMOTE),
                put(index, "10.9.0.1/16", AddressAttributes::REMOTE),
                put(index, "2001:db8::1/128", AddressAttributes::REMOTE),
                put(index, "2001:db8::2/64", local),
            ])
            .unwrap();
        assert_eq!(results, [Ok(()); 4]);
        let dumped = kernel.dump().unwrap();
        let marks: Vec<_> =
            dumped.addresses.values().filter(|found| found.scope == 0).map(|found| found.mark).collect();
        assert_eq!(marks, [Some(MARK); 4]);
        let lines = addresses("kube-lb0");
        let has = |words: &[&str]| lines.iter().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(has(&["172.30.200.155/32", "valid_lft forever"]), "{lines:#?}");
        assert!(has(&["10.9.0.1/16", "brd 10.9.255.255"]), "{lines:#?}");
        assert!(has(&["2001:db8::1/128", "nodad", "valid_lft forever"]), "{lines:#?}");
        assert!(
            has(&["2001:db8::2/64", "deprecated", "noprefixroute", "valid_lft 300sec preferred_lft 0sec"]),
            "{lines:#?}"
        );
        assert!(ip("route show").contains("10.9.0.0/16 dev kube-lb0"));
        // A renewal keeps the mark.
        kernel.apply(&[put(index, "172.30.200.155/32", AddressAttributes::LOCAL)]).unwrap();
        let found = kernel.dump().unwrap().addresses[&key(index, "172.30.200.155/32")].clone();
        assert_eq!((found.mark, found.valid), (Some(MARK), Some(300)));
    });
}

#[test]
fn a_failure_in_a_batch_has_its_own_result() {
    in_namespace(|| async {
        let mut kernel = Kernel::open().unwrap();
        let index = dummy(&mut kernel);
        let results = kernel
            .apply(&[
                put(index, "172.30.200.155/32", AddressAttributes::REMOTE),
                put(index + 1000, "172.30.200.156/32", AddressAttributes::REMOTE),
                Operation::Delete(key(index, "172.30.200.157/32")),
                Operation::Delete(key(index + 1000, "172.30.200.157/32")),
                put(index, "172.30.200.158/32", AddressAttributes::REMOTE),
            ])
            .unwrap();
        assert_eq!(results, [Ok(()), Err(Errno::ENODEV), Ok(()), Ok(()), Ok(())]);
        assert_eq!(cidrs("kube-lb0"), ["172.30.200.155/32", "172.30.200.158/32"]);
    });
}

#[test]
fn an_existing_interface_is_used_without_promotion_of_secondary_addresses() {
    in_namespace(|| async {
        std::fs::write("/proc/sys/net/ipv4/conf/default/promote_secondaries", "1").unwrap();
        let mut kernel = Kernel::open().unwrap();
        let index = dummy(&mut kernel);
        assert_eq!(kernel.dump().unwrap().index_of("kube-lb0"), Some(index));
        assert!(ip("link show kube-lb0").contains(",UP"));
        let promote =
            std::fs::read_to_string("/proc/thread-self/net/../../sys/net/ipv4/conf/kube-lb0/promote_secondaries")
                .or_else(|_| std::fs::read_to_string("/proc/sys/net/ipv4/conf/kube-lb0/promote_secondaries"));
        assert_eq!(promote.unwrap().trim(), "0");
    });
}

/// On kernels without the type, this tests only that they refuse.
#[test]
fn a_missing_interface_is_created() {
    in_namespace(|| async {
        let has_dummies = crate::support::try_ip("link add probe type dummy").0;
        let mut kernel = Kernel::open().unwrap();
        let outcome = kernel.ensure_dummy("kube-lb0", &Observed::default());
        if has_dummies {
            assert!(ip("link show kube-lb0").contains(",UP"));
            assert_eq!(Some(outcome.unwrap()), kernel.dump().unwrap().index_of("kube-lb0"));
        } else {
            eprintln!("this kernel has no dummy interfaces: only the refusal is tested");
            assert!(outcome.unwrap_err().to_string().contains("cannot create"));
        }
    });
}

/// Plans for a set of desired addresses and applies the plan. Returns the number of operations.
fn apply_plan(kernel: &mut Kernel, index: u32, cidr: &[&str]) -> usize {
    let desired: BTreeMap<IpAddr, Placement> = cidr
        .iter()
        .map(|cidr| placement(index, cidr, AddressAttributes::REMOTE))
        .map(|placement| (placement.key.ip, placement))
        .collect();
    let observed = kernel.dump().unwrap();
    let none = BTreeSet::new();
    let plan = Plan {
        anchors: &NO_ANCHORS,
        desired: &desired,
        observed: &observed,
        ours: Ours::new(&none, true),
        remote_links: &[index].into(),
        writer: Writer::Sole,
        sweep: true,
        interval: 30,
        now: BootTime::now(),
    };
    let all: BTreeSet<IpAddr> = desired.keys().copied().chain(plan.ours_in_kernel()).collect();
    let operations = plan.operations(all);
    let results = kernel.apply(&operations).unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    operations.len()
}

#[test]
fn addresses_of_one_prefix_survive_each_others_deletion() {
    in_namespace(|| async {
        for promote in ["0", "1"] {
            std::fs::write("/proc/sys/net/ipv4/conf/all/promote_secondaries", promote).unwrap();
            let mut kernel = Kernel::open().unwrap();
            let index = dummy(&mut kernel);
            apply_plan(&mut kernel, index, &["10.9.0.1/16", "10.9.0.2/16", "10.9.0.3/16", "10.9.0.4/32"]);
            // The primary address is removed.
            apply_plan(&mut kernel, index, &["10.9.0.2/16", "10.9.0.3/16", "10.9.0.4/32"]);
            assert_eq!(cidrs("kube-lb0"), ["10.9.0.2/16", "10.9.0.3/16", "10.9.0.4/32"]);
            assert!(ip("route show").contains("10.9.0.0/16 dev kube-lb0"));
            assert_eq!(apply_plan(&mut kernel, index, &["10.9.0.2/16", "10.9.0.3/16", "10.9.0.4/32"]), 0);
            // The new primary address and another are removed at once.
            apply_plan(&mut kernel, index, &["10.9.0.3/16"]);
            assert_eq!(cidrs("kube-lb0"), ["10.9.0.3/16"]);
            apply_plan(&mut kernel, index, &[]);
            assert!(cidrs("kube-lb0").is_empty() && !ip("route show").contains("10.9.0.0/16"));
            ip("link del kube-lb0");
        }
    });
}

#[test]
fn after_a_plan_is_applied_the_next_is_empty() {
    in_namespace(|| async {
        let mut kernel = Kernel::open().unwrap();
        let index = dummy(&mut kernel);
        let desired = ["172.30.200.155/32", "10.9.0.1/16", "10.9.0.2/16", "2001:db8::1/128", "2001:db8::2/64"];
        assert_eq!(apply_plan(&mut kernel, index, &desired), 5);
        assert_eq!(apply_plan(&mut kernel, index, &desired), 0);
        // Other aggregations.
        let desired = ["172.30.200.155/24", "10.9.0.1/32", "10.9.0.2/16", "2001:db8::1/64", "2001:db8::2/128"];
        assert!(apply_plan(&mut kernel, index, &desired) > 0);
        assert_eq!(apply_plan(&mut kernel, index, &desired), 0);
        assert_eq!(
            cidrs("kube-lb0"),
            ["10.9.0.1/32", "10.9.0.2/16", "172.30.200.155/24", "2001:db8::1/64", "2001:db8::2/128"]
        );
    });
}

#[test]
fn notifications_bring_the_state_up_to_date() {
    in_namespace(|| async {
        let mut monitor = Monitor::open().unwrap();
        let mut kernel = Kernel::open().unwrap();
        let mut observed = kernel.dump().unwrap();
        let index = dummy(&mut kernel);
        kernel
            .apply(&[
                put(index, "10.9.0.1/16", AddressAttributes::REMOTE),
                put(index, "2001:db8::1/64", AddressAttributes::REMOTE),
            ])
            .unwrap();
        ip("address add 192.0.2.1/24 dev kube-lb0");
        ip("route add default via 192.0.2.254");
        // Notifications of our own changes are there at once, except those of IPv6 addresses, which come later.
        catch_up(&mut monitor, &mut observed, &mut kernel).await;
        assert_eq!(observed.routes.len(), 1);
        ip("link del kube-lb0");
        catch_up(&mut monitor, &mut observed, &mut kernel).await;
        assert!(observed.routes.is_empty());
    });
}

#[test]
fn only_default_routes_wake_the_agent() {
    in_namespace(|| async {
        let mut monitor = Monitor::open().unwrap();
        let mut kernel = Kernel::open().unwrap();
        let mut observed = kernel.dump().unwrap();
        let index = dummy(&mut kernel);
        let operations = [put(index, "192.0.2.1/24", AddressAttributes::REMOTE)];
        assert_eq!(kernel.apply(&operations).unwrap(), [Ok(())]);
        ip("address add 2001:db8::1/64 dev kube-lb0 nodad");
        // The kernel reports IPv6 addresses some time after they are added, the interface's link-local one too.
        catch_up(&mut monitor, &mut observed, &mut kernel).await;
        while tokio::time::timeout(std::time::Duration::from_millis(100), monitor.wait()).await.is_ok() {
            monitor.read();
        }
        ip("route add 10.0.0.0/8 via 192.0.2.254");
        ip("-6 route add 2001:db8:1::/48 via 2001:db8::2");
        ip("route del 10.0.0.0/8");
        let notified = tokio::time::timeout(std::time::Duration::from_millis(100), monitor.wait());
        assert!(notified.await.is_err(), "a notification of a route that is no default route arrived");
        for (route, family) in [("via 192.0.2.254", ""), ("via 2001:db8::2", "-6 ")] {
            ip(&format!("{family}route add default {route}"));
            ip(&format!("{family}route del default {route}"));
            let notified = tokio::time::timeout(std::time::Duration::from_secs(5), monitor.wait());
            notified.await.expect("no notification of a default route arrived").unwrap();
            assert_eq!(monitor.read().changes.len(), 2);
        }
    });
}

/// Applies notifications until the observed state is the kernel's.
async fn catch_up(monitor: &mut Monitor, observed: &mut Observed, kernel: &mut Kernel) {
    loop {
        for change in monitor.read().changes {
            observed.apply(change);
        }
        if observed.differences(&kernel.dump().unwrap()).is_empty() {
            return;
        }
        let notified = tokio::time::timeout(std::time::Duration::from_secs(5), monitor.wait());
        notified.await.expect("no further notification, and the observed state differs from the kernel's").unwrap();
    }
}
