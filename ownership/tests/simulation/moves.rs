//! Planned moves: fewer than 10 ms without an answer.

use std::collections::BTreeSet;
use std::time::Duration;

use ownership::{NodeId, Notification, Qualified, Stop};

use crate::row::{ms, owner, row, seeds};
use crate::sim::{Cluster, Family, Setup};

#[test]
fn planned_moves() {
    row("exclusion label", &Setup::default(), |cluster| {
        let (node, start) = (owner(cluster, 0), cluster.now);
        cluster.exclude(node, true);
        cluster.run(ms(2000));
        assert_ne!(owner(cluster, 0), node);
        start
    })
    .bounds(10, 10, 0);
    row("leaving", &Setup::default(), |cluster| {
        let (node, start) = (owner(cluster, 0), cluster.now);
        cluster.stop(node, Stop::Leaving);
        cluster.run(ms(2000));
        assert!(cluster.notifications(node, start).any(|notification| *notification == Notification::Left));
        start
    })
    .bounds(10, 10, 0);
    row("rebalance", &Setup { nodes: 4, vips: 8, ..Setup::default() }, |cluster| {
        cluster.cut(1);
        cluster.run(ms(3000));
        cluster.heal(1);
        cluster.run(ms(3000));
        let start = cluster.now;
        for number in 0..8 {
            cluster.serve(cluster.vip(number), Qualified::All, 1);
        }
        cluster.run(ms(3000));
        for number in 0..8 {
            let mut nodes: Vec<_> = cluster.nodes.iter().map(|node| node.id.clone()).collect();
            ownership::order::sort(&mut nodes, &cluster.vip(number));
            if cluster.nodes[owner(cluster, number)].id != nodes[0] {
                cluster.fail("not on its first choice");
            }
        }
        start
    })
    .bounds(10, 10, 0);
    row("policy Local", &Setup::default(), |cluster| {
        let (node, start) = (owner(cluster, 0), cluster.now);
        let other: BTreeSet<NodeId> =
            cluster.nodes.iter().filter(|n| n.id != cluster.nodes[node].id).map(|n| n.id.clone()).collect();
        cluster.serve(cluster.vip(0), Qualified::Tiers(vec![other.clone(), BTreeSet::new()]), 0);
        cluster.run(ms(2000));
        let now = owner(cluster, 0);
        assert_ne!(now, node);
        cluster.serve(cluster.vip(0), Qualified::Tiers(vec![BTreeSet::new()]), 0);
        cluster.run(ms(2000));
        assert_eq!(owner(cluster, 0), now, "no endpoint anywhere: it stays");
        start
    })
    .bounds(10, 10, 0);
}

#[test]
fn the_successor_dies_in_the_middle() {
    row("successor dies", &Setup::default(), |cluster| {
        let (node, start) = (owner(cluster, 0), cluster.now);
        cluster.exclude(node, true);
        // Within the exchange of offer, accept and go.
        let pause = u64::try_from(cluster.rng.below(2500)).unwrap();
        cluster.run(Duration::from_micros(pause));
        let heir = (0..3).find(|other| *other != node).unwrap();
        let state = cluster.nodes[heir].machine.as_ref().unwrap().address(cluster.vip(0)).unwrap();
        let dying = if state.doing == "takes it over" || state.doing == "holds it" { heir } else { 3 - node - heir };
        cluster.cut(dying);
        cluster.run(ms(5000));
        start
    })
    .bounds(999, 999, 0);
}

/// A member that is suspected, and answers before the alarm, is still the one that is to have an address.
#[test]
fn a_suspicion_changes_no_choice() {
    let mut suspected = 0;
    for (seed, delay) in (1..=seeds(5)).flat_map(|seed| (0..20).map(move |step| (seed, 140 + step * 10))) {
        let setup = Setup { seed, vips: 1, family: Family::of(seed), ..Setup::default() };
        let mut cluster = Cluster::settled(setup);
        let (address, start) = (cluster.vip(9), cluster.now);
        let tiers = [0, 1].map(|node| [cluster.nodes[node].id.clone()].into());
        cluster.cut(0);
        cluster.run(ms(delay));
        cluster.serve(address, Qualified::Tiers(tiers.into()), 0);
        cluster.run(ms(30));
        cluster.heal(0);
        cluster.run(ms(3000));
        let alarm = |said: &Notification| matches!(said, Notification::Alarm { .. });
        if (0..3).flat_map(|node| cluster.notifications(node, start)).any(alarm) {
            continue;
        }
        suspected += usize::from(delay >= 200);
        let chosen = cluster.measure.addresses[&address].owners.first().map(|(_, node)| *node);
        assert_eq!(chosen, Some(0), "seed {seed}, {delay} ms");
    }
    assert!(suspected > 0, "no suspicion without an alarm");
}
