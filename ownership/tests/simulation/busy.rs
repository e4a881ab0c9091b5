//! Agents that run 50 to 400 ms late each second time, because their processors are busy: they take nothing from a kernel that lives.

use ownership::{Notification, Qualified, Time};

use crate::row::{ms, owner, row, seeds};
use crate::sim::{Cluster, Family, Setup};

fn busy(cluster: &mut Cluster, nodes: &[usize]) {
    for node in nodes {
        cluster.set_busy(*node, true);
    }
    cluster.run(ms(3000));
}

fn alarms(cluster: &Cluster, after: Time) -> usize {
    let own = |notification: &&Notification| matches!(notification, Notification::Alarm { own: true, .. });
    (0..cluster.nodes.len()).map(|node| cluster.notifications(node, after).filter(own).count()).sum()
}

/// A foreign host has the address, and its answers take longer than the wait after the last question.
#[test]
fn a_busy_node_claims_nothing_that_a_foreign_host_answers_for() {
    for (seed, delay) in (1..=seeds(20)).flat_map(|seed| [50, 20_000].map(|delay| (seed, delay))) {
        let mut cluster = Cluster::settled(Setup { seed, family: Family::of(seed), vips: 1, ..Setup::default() });
        busy(&mut cluster, &[0, 1, 2]);
        cluster.change("slow", |net| net.delay_min_us = delay);
        let (address, start) = (cluster.vip(9), cluster.now);
        cluster.add_foreign(address);
        cluster.serve(address, Qualified::All, 0);
        cluster.run(ms(20_000));
        let double = cluster.double(address, start);
        assert!(double.is_zero(), "seed {seed}, {delay} us: two hosts had it for {double:?}");
    }
}

/// The agent of the owner is dead, and its kernel serves.
#[test]
fn a_busy_node_leaves_the_kernel_of_a_silent_agent_its_addresses() {
    row("agent dead, others busy", &Setup::default(), |cluster| {
        let node = owner(cluster, 0);
        busy(cluster, &[(node + 1) % 3, (node + 2) % 3]);
        let start = cluster.now;
        cluster.kill_agent(node);
        cluster.run(ms(20_000));
        assert_eq!(owner(cluster, 0), node);
        assert_eq!(alarms(cluster, start), 0, "seed {}", cluster.setup.seed);
        start
    })
    .bounds(0, 0, 0);
}

/// Nothing happens but that processors are busy: on one node, on all.
#[test]
fn busy_nodes_move_nothing() {
    for count in [1, 3] {
        row("busy", &Setup::default(), |cluster| {
            let owners: Vec<_> = (0..3).map(|number| owner(cluster, number)).collect();
            let start = cluster.now;
            let nodes: Vec<_> = (0..count).collect();
            busy(cluster, &nodes);
            cluster.run(ms(30_000));
            assert_eq!((0..3).map(|number| owner(cluster, number)).collect::<Vec<_>>(), owners, "moved");
            assert_eq!(alarms(cluster, start), 0, "seed {}", cluster.setup.seed);
            start
        })
        .bounds(0, 0, 0);
    }
}

/// A busy node that is the only heir takes over all the same.
#[test]
fn a_busy_node_takes_over_what_is_gone() {
    for seed in 1..=seeds(20) {
        let mut cluster = Cluster::settled(Setup { seed, nodes: 2, family: Family::of(seed), ..Setup::default() });
        let node = owner(&cluster, 0);
        busy(&mut cluster, &[1 - node]);
        let start = cluster.now;
        cluster.power_off(node);
        cluster.run(ms(10_000));
        assert_eq!(owner(&cluster, 0), 1 - node);
        let without = cluster.without(cluster.vip(0), start);
        assert!(without < ms(6000), "seed {seed}: {without:?}");
    }
}

/// The first heir is busy: it asks, and takes its time to decide. The second one does not wait for it for ever.
#[test]
fn a_busy_first_heir_holds_off_no_other() {
    let mut worst = ms(0);
    for seed in 1..=seeds(100) {
        let mut cluster = Cluster::settled(Setup { seed, vips: 1, family: Family::of(seed), ..Setup::default() });
        let node = owner(&cluster, 0);
        let state = cluster.nodes[node].machine.as_ref().unwrap().address(cluster.vip(0)).unwrap();
        let heir = cluster.nodes.iter().position(|other| Some(&other.id) == state.heir.as_ref()).unwrap();
        busy(&mut cluster, &[heir]);
        let start = cluster.now;
        cluster.power_off(node);
        cluster.run(ms(10_000));
        worst = worst.max(cluster.without(cluster.vip(0), start));
    }
    println!("a busy first heir: {worst:?}");
    assert!(worst < ms(1000), "{worst:?}");
}

/// As before, with many addresses; and the busy one dies before it has decided.
#[test]
fn a_busy_first_heir_of_many_addresses_holds_off_no_other() {
    for (seed, dies) in (1..=seeds(60)).flat_map(|seed| [false, true].map(|dies| (seed, dies))) {
        let mut cluster = Cluster::settled(Setup { seed, vips: 150, family: Family::of(seed), ..Setup::default() });
        cluster.run(ms(12_000));
        let node = owner(&cluster, 0);
        let heir = (node + 1) % 3;
        busy(&mut cluster, &[heir]);
        let start = cluster.now;
        cluster.power_off(node);
        if dies {
            cluster.run(ms(700));
            cluster.power_off(heir);
        }
        cluster.run(ms(10_000));
        let without = cluster.specs.keys().map(|address| cluster.without(*address, start)).max().unwrap();
        println!("a busy first heir of many addresses, that dies: {dies}: {without:?}");
        assert!(without < ms(if dies { 2500 } else { 1500 }), "seed {seed}, dies: {dies}: {without:?}");
    }
}
