//! Other hosts that answer for an address.

use ownership::{ConflictPolicy, Event, Notification, Qualified};

use crate::row::{ms, owner, row, seeds};
use crate::sim::{Cluster, Family, Setup};

#[test]
fn foreign_host_before_us() {
    for seed in 1..=seeds(20) {
        let mut cluster = Cluster::settled(Setup { seed, family: Family::of(seed), vips: 1, ..Setup::default() });
        let host = cluster.add_foreign(cluster.vip(9));
        let start = cluster.now;
        cluster.serve(cluster.vip(9), Qualified::All, 0);
        cluster.run(ms(20_000));
        assert!((0..3).all(|node| !cluster.nodes[node].kernel.contains(&cluster.vip(9))));
        assert!((0..3).any(|node| {
            cluster
                .notifications(node, start)
                .any(|notification| matches!(notification, Notification::AddressConflict { defended: false, .. }))
        }));
        let notifications: usize = (0..3)
            .map(|n| {
                cluster.notifications(n, start).filter(|f| matches!(f, Notification::AddressConflict { .. })).count()
            })
            .sum();
        assert!(notifications < 40, "{notifications} events");
        cluster.set_foreign(host, false);
        cluster.run(ms(10_000));
        assert!(cluster.owner(cluster.vip(9)).is_some_and(|owner| owner < 3));
    }
}

#[test]
fn foreign_host_after_us() {
    for seed in 1..=seeds(20) {
        let mut cluster = Cluster::settled(Setup { seed, family: Family::of(seed), ..Setup::default() });
        let (node, start) = (owner(&cluster, 0), cluster.now);
        let host = cluster.add_foreign(cluster.vip(0));
        for _ in 0..25 {
            cluster.foreign_announces(host, cluster.vip(0));
            cluster.run(ms(1000));
        }
        let defended = cluster
            .notifications(node, start)
            .filter(|f| matches!(f, Notification::AddressConflict { defended: true, .. }))
            .count();
        assert!((2..=3).contains(&defended), "{defended}");
        assert!(cluster.nodes[node].kernel.contains(&cluster.vip(0)));
    }
}

#[test]
fn conflict_policies() {
    for family in Family::ALL {
        for policy in [ConflictPolicy::Warn, ConflictPolicy::Off] {
            let mut cluster = Cluster::settled(Setup { vips: 1, family, ..Setup::default() });
            for node in 0..3 {
                cluster.deliver(node, Event::Policy(policy));
            }
            let start = cluster.now;
            cluster.add_foreign(cluster.vip(9));
            cluster.serve(cluster.vip(9), Qualified::All, 0);
            cluster.run(ms(3000));
            assert!((0..3).any(|node| cluster.nodes[node].kernel.contains(&cluster.vip(9))));
            let said = (0..3).any(|node| {
                cluster
                    .notifications(node, start)
                    .any(|notification| matches!(notification, Notification::AddressConflict { .. }))
            });
            assert_eq!(said, policy == ConflictPolicy::Warn);
        }
    }
}

#[test]
fn case_05_proxy_arp_is_no_foreign_host() {
    for family in Family::ALL {
        let mut cluster = Cluster::settled(Setup { vips: 1, family, ..Setup::default() });
        let start = cluster.now;
        let host = cluster.add_foreign(cluster.vip(9));
        let unused = Cluster::unused(cluster.vip(9));
        cluster.hosts[host - 3].addresses.insert(unused);
        cluster.serve(cluster.vip(9), Qualified::All, 0);
        cluster.run(ms(3000));
        assert!((0..3).any(|node| cluster.nodes[node].kernel.contains(&cluster.vip(9))));
        assert!((0..3).any(|node| {
            cluster.notifications(node, start).any(|notification| matches!(notification, Notification::ProxyArp { .. }))
        }));
    }
}

#[test]
fn a_kernel_that_answers_for_what_it_does_not_hold() {
    for family in Family::ALL {
        let mut cluster = Cluster::settled(Setup { vips: 1, family, ..Setup::default() });
        let start = cluster.now;
        // kube-ipvs0 without strict ARP, on every node.
        for node in 0..3 {
            let address = cluster.vip(9);
            cluster.nodes[node].ipvs.insert(address);
        }
        cluster.serve(cluster.vip(9), Qualified::All, 0);
        cluster.run(ms(3000));
        assert_eq!((0..3).filter(|node| cluster.nodes[*node].kernel.contains(&cluster.vip(9))).count(), 1);
        assert!((0..3).any(|node| {
            cluster
                .notifications(node, start)
                .any(|notification| matches!(notification, Notification::StrictArpNeeded { .. }))
        }));
    }
}

#[test]
fn taken_out_by_hand() {
    row("deleted by hand", &Setup::default(), |cluster| {
        let (node, start) = (owner(cluster, 0), cluster.now);
        cluster.delete_by_hand(node, cluster.vip(0));
        cluster.run(ms(2000));
        assert_eq!(owner(cluster, 0), node);
        start
    })
    .bounds(50, 50, 0);
}

/// All of fifty nodes answer for what they do not hold, ten of them without an agent: each is asked, and all at the same
/// time.
#[test]
fn case_29_fifty_kernels_that_answer_are_asked_together() {
    for seed in 1..=seeds(3) {
        let setup = Setup { seed, nodes: 50, vips: 1, family: Family::of(seed), ..Setup::default() };
        let mut cluster = Cluster::settled(setup);
        let address = cluster.vip(9);
        for node in 0..50 {
            cluster.nodes[node].ipvs.insert(address);
            if node % 5 == 0 {
                cluster.kill_agent(node);
            }
        }
        cluster.run(ms(8000));
        let start = cluster.now;
        cluster.serve(address, Qualified::All, 0);
        cluster.run(ms(3000));
        let (at, node) = cluster.measure.addresses[&address].owners[0];
        let asked: u32 = cluster.sent_by(node, start - ms(1000)).iter().map(|frames| frames.asked_all).sum();
        println!("fifty kernels: {:?}, {asked} questions", at.since(start));
        assert!(at.since(start) < ms(300), "seed {seed}: {:?}", at.since(start));
        assert!(asked <= 12, "seed {seed}: {asked} questions");
    }
}

/// All questions of the first look for a free address are lost: the router is a proxy all the same as soon as it is heard.
/// The next look is 300 ms later, at addresses that another node is to have.
#[test]
fn case_05_lost_questions_make_a_proxy_no_foreign_host() {
    for (seed, lost) in (1..=seeds(5)).flat_map(|seed| [35, 60, 250].map(|lost| (seed, lost))) {
        let mut cluster = Cluster::settled(Setup { seed, vips: 1, family: Family::of(seed), ..Setup::default() });
        let start = cluster.now;
        let addresses: Vec<_> = (9..59).map(|number| cluster.vip(number)).collect();
        let host = cluster.add_foreign(addresses[0]);
        let index = host - cluster.nodes.len();
        cluster.hosts[index].addresses.extend(addresses.iter().copied());
        for address in &addresses {
            cluster.serve(*address, Qualified::All, 0);
        }
        cluster.run(ms(lost));
        cluster.hosts[index].addresses.extend(addresses.iter().map(|address| Cluster::unused(*address)));
        cluster.run(ms(3000));
        for address in &addresses {
            let served = (0..3).any(|node| cluster.nodes[node].kernel.contains(address));
            if !served {
                cluster
                    .fail(&format!("lost for {lost} ms: {address} is not served after {:?}", cluster.now.since(start)));
            }
        }
    }
}
