//! The first claims: of a cluster, of one node, of a new Service.

use std::time::Duration;

use ownership::{Notification, Qualified};

use crate::row::{ms, owner, row, seeds, wait};
use crate::sim::{Cluster, Family, Setup};

#[test]
fn all_power_on_together() {
    let mut worst = Duration::ZERO;
    for seed in 1..=seeds(20) {
        let mut cluster =
            Cluster::new(Setup { seed, family: Family::of(seed), nodes: 5, vips: 10, ..Setup::default() });
        let start = cluster.now;
        for node in 0..5 {
            cluster.power_on(node);
            wait(&mut cluster, 60);
        }
        cluster.run(ms(6000));
        for number in 0..10 {
            let seen = &cluster.measure.addresses[&cluster.vip(number)];
            assert!(seen.double.is_empty(), "seed {seed}: {seen:?}");
            assert_eq!(seen.owners.len(), 1, "seed {seed}: {seen:?}");
            worst = worst.max(seen.owners[0].0.since(start));
        }
    }
    println!("power on: worst time to the one owner {worst:?}");
    assert!(worst < ms(2000));
}

#[test]
fn one_node_alone_serves() {
    for family in Family::ALL {
        for gateway in [true, false] {
            let mut cluster = Cluster::new(Setup { nodes: 1, gateway, client: false, family, ..Setup::default() });
            let start = cluster.now;
            cluster.power_on(0);
            cluster.run(ms(5000));
            let first = cluster.measure.addresses[&cluster.vip(0)].now.clone();
            assert!(cluster.nodes[0].kernel.contains(&cluster.vip(0)), "{first:?} since {start:?}");
        }
    }
}

#[test]
fn a_lone_node_serves_though_its_gateway_never_answers() {
    for family in Family::ALL {
        let silent = Setup { nodes: 1, silent_gateway: true, client: false, family, ..Setup::default() };
        let mut cluster = Cluster::new(silent);
        let start = cluster.now;
        cluster.power_on(0);
        cluster.run(ms(6000));
        for number in 0..3 {
            let served = cluster.measure.addresses[&cluster.vip(number)].owners.first().map(|(at, _)| at.since(start));
            assert!(served.is_some_and(|served| served < ms(4000)), "{served:?}");
        }
        assert!(
            cluster.notifications(0, start).any(|notification| matches!(notification, Notification::Deaf { .. })),
            "not said that it waits"
        );
    }
}

#[test]
fn services_come_and_go() {
    for seed in 1..=seeds(20) {
        let mut cluster = Cluster::settled(Setup { seed, family: Family::of(seed), ..Setup::default() });
        let start = cluster.now;
        cluster.serve(cluster.vip(7), Qualified::All, 0);
        cluster.run(ms(1000));
        let served = cluster.measure.addresses[&cluster.vip(7)].owners[0].0.since(start);
        assert!(served < ms(200), "{served:?}");
        cluster.stop_serving(cluster.vip(7));
        cluster.run(ms(1000));
        assert!(cluster.answers(cluster.vip(7)).is_empty());
    }
}

#[test]
fn services_that_skip_the_question() {
    row("skip-ipv6-dad", &Setup { skip_probe: true, ..Setup::default() }, |cluster| {
        let start = cluster.now;
        let address = cluster.vip(7);
        cluster.serve(address, Qualified::All, 0);
        cluster.run(ms(1000));
        let served = cluster.measure.addresses[&address].owners[0].0.since(start);
        // Delay of the watch, and three probes if they are not skipped.
        assert!(served < ms(if address.is_ipv6() { 31 } else { 100 }), "{served:?}");
        let node = owner(cluster, 7);
        let start = cluster.now;
        cluster.cut(node);
        cluster.run(ms(4000));
        start
    })
    .bounds(500, 999, 0);
}

#[test]
fn two_that_do_not_know_each_others_hardware_addresses() {
    let mut worst = Duration::ZERO;
    for seed in 1..=seeds(20) {
        let mut cluster = Cluster::new(Setup { seed, nodes: 2, vips: 8, ..Setup::default() });
        for (node, other) in [(0, 1), (1, 0)] {
            let other = cluster.nodes[other].id.clone();
            cluster.unlisted.insert((node, other));
        }
        let start = cluster.now;
        cluster.power_on(0);
        cluster.power_on(1);
        cluster.run(ms(6000));
        for number in 0..8 {
            let seen = &cluster.measure.addresses[&cluster.vip(number)];
            worst = worst.max(seen.owners.first().map_or(ms(6000), |(at, _)| at.since(start)));
        }
    }
    println!("two strangers: worst time to an owner {worst:?}");
    assert!(worst < ms(3000));
}
