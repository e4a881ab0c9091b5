//! Members of an earlier release among those of this one: a rolling upgrade, with failures in the middle of it.

use std::collections::BTreeSet;

use ownership::{NodeId, Notification, Qualified, Refusal};

use crate::row::{ms, owner, row, seeds, wait};
use crate::sim::{Cluster, Family, Setup};

fn five() -> Setup {
    Setup { nodes: 5, vips: 6, ..Setup::default() }
}

/// Back to the earlier release and forward again, node by node: nothing moves.
#[test]
fn rolling_upgrade() {
    row("rolling upgrade", &five(), |cluster| {
        let start = cluster.now;
        let owners: Vec<_> = (0..6).map(|number| owner(cluster, number)).collect();
        for node in 0..5 {
            cluster.downgrade(node);
            wait(cluster, 3000);
        }
        for node in 0..5 {
            cluster.run(ms(1000));
            cluster.upgrade(node);
            wait(cluster, 8000);
        }
        cluster.run(ms(8000));
        assert_eq!((0..6).map(|number| owner(cluster, number)).collect::<Vec<_>>(), owners, "moved");
        start
    })
    .bounds(0, 0, 0);
}

/// While it runs, a node of the earlier release dies whose addresses no agent of this release has ever claimed.
#[test]
fn a_node_of_the_earlier_release_dies() {
    row("an earlier release's node dies", &five(), |cluster| {
        let dead = owner(cluster, 0);
        for node in 0..5 {
            cluster.downgrade(node);
        }
        for node in (0..5).filter(|node| *node != dead) {
            cluster.upgrade(node);
        }
        cluster.run(ms(6000));
        assert_eq!(owner(cluster, 0), dead, "taken");
        wait(cluster, 1000);
        let start = cluster.now;
        cluster.power_off(dead);
        cluster.run(ms(6000));
        for number in 0..6 {
            assert!(owner(cluster, number) != dead);
        }
        start
    })
    .bounds(600, 999, 0);
}

/// A node of this release dies while the others are of the earlier one, but for one.
#[test]
fn a_node_of_this_release_dies() {
    row("this release's node dies", &five(), |cluster| {
        let dead = owner(cluster, 0);
        let heir = (dead + 1) % 5;
        for node in (0..5).filter(|node| ![dead, heir].contains(node)) {
            cluster.downgrade(node);
        }
        cluster.run(ms(6000));
        let start = cluster.now;
        let held: Vec<_> = cluster.nodes[dead].kernel.iter().copied().collect();
        cluster.cut(dead);
        cluster.run(ms(6000));
        for address in held {
            assert!(cluster.nodes[heir].kernel.contains(&address));
        }
        start
    });
}

/// The kernel of an earlier release's node lives, and an address is not there any more.
#[test]
fn an_address_that_an_earlier_release_lost_is_served() {
    for seed in 1..=seeds(20) {
        let mut cluster = Cluster::settled(Setup { seed, family: Family::of(seed), ..five() });
        let (node, address) = (owner(&cluster, 0), cluster.vip(0));
        for number in 0..5 {
            cluster.downgrade(number);
        }
        for number in (0..5).filter(|number| *number != node) {
            cluster.upgrade(number);
        }
        cluster.run(ms(4000));
        cluster.expire(node);
        cluster.run(ms(9000));
        assert!(cluster.owner(address).is_some_and(|owner| owner != node), "{:?}", cluster.answers(address));
    }
}

/// A new address is claimed by an agent of the earlier release, which names itself a moment later. Nobody else takes it.
#[test]
fn what_an_earlier_release_has_just_claimed_is_left_to_it() {
    for seed in 1..=seeds(20) {
        let mut cluster = Cluster::settled(Setup { seed, family: Family::of(seed), ..five() });
        cluster.downgrade(2);
        cluster.run(ms(5000));
        let (address, start) = (cluster.vip(9), cluster.now);
        cluster.earlier_takes(2, address);
        cluster.serve(address, Qualified::All, 0);
        cluster.run(ms(20_000));
        assert_eq!(cluster.answers(address), [2]);
        assert_eq!(cluster.double(address, start), ms(0));
    }
}

/// kube-proxy in IPVS mode on a node of the earlier release answers for every VIP: for an address that nobody is named
/// for it counts for two seconds.
#[test]
fn case_29_an_earlier_release_under_ipvs_blocks_no_new_claim() {
    for seed in 1..=seeds(20) {
        let mut cluster = Cluster::settled(Setup { seed, family: Family::of(seed), ..five() });
        cluster.downgrade(2);
        cluster.run(ms(5000));
        let (address, start) = (cluster.vip(9), cluster.now);
        cluster.nodes[2].ipvs.insert(address);
        cluster.serve(address, Qualified::All, 0);
        cluster.run(ms(5000));
        let seen = &cluster.measure.addresses[&address];
        let served = seen.owners.first().map(|(at, _)| at.since(start));
        assert!(served.is_some_and(|served| served > ms(1900) && served < ms(3500)), "{served:?}");
        let id = &cluster.nodes[2].id;
        let told = |node| {
            cluster.notifications(node, start).any(
                |notification| matches!(notification, Notification::StrictArpNeeded { node, routed: false, .. } if node == id),
            )
        };
        assert!((0..5).any(told));
        // Its owner dies: the next heir is not kept waiting either.
        let node = owner(&cluster, 9);
        let start = cluster.now;
        cluster.power_off(node);
        cluster.run(ms(8000));
        assert!(cluster.owner(address).is_some_and(|next| next != node));
        assert!(cluster.without(address, start) < ms(3500), "{:?}", cluster.without(address, start));
    }
}

/// Traffic policy Local: an agent of the earlier release takes what this node does not qualify for any more.
#[test]
fn a_node_that_does_not_qualify_yields_to_the_earlier_release() {
    for seed in 1..=seeds(20) {
        let mut cluster = Cluster::settled(Setup { seed, family: Family::of(seed), nodes: 2, ..Setup::default() });
        let (node, address) = (owner(&cluster, 0), cluster.vip(0));
        let other = 1 - node;
        cluster.downgrade(other);
        cluster.run(ms(5000));
        let set: BTreeSet<NodeId> = [cluster.nodes[other].id.clone()].into();
        cluster.serve(address, Qualified::Tiers(vec![set]), 0);
        cluster.run(ms(2000));
        assert_eq!(cluster.answers(address), [node], "nobody can take it over");
        cluster.earlier_takes(other, address);
        cluster.run(ms(1000));
        assert_eq!(cluster.answers(address), [other]);
    }
}

/// Datagrams of the earlier release are counted, answered by nothing, and no reason to speak of a firewall.
#[test]
fn datagrams_of_the_earlier_release_are_counted() {
    let mut cluster = Cluster::settled(Setup { nodes: 2, ..Setup::default() });
    cluster.downgrade(1);
    cluster.run(ms(5000));
    let start = cluster.now;
    let refused = cluster.nodes[0].machine.as_mut().unwrap().handle(
        ownership::Event::Datagram { from: "10.0.0.2:7475".parse().unwrap(), bytes: b"PO\x01rest".to_vec() },
        start,
    );
    let sent = refused.iter().filter(|action| matches!(action, ownership::Action::Send { .. })).count();
    assert_eq!(sent, 0);
    assert!(refused.contains(&ownership::Action::Notify(Notification::Refused(Refusal::Version))));
    cluster.run(ms(20_000));
    assert!(!cluster.notifications(0, start).any(|notification| *notification == Notification::GossipSilent));
}

/// Its kernel answers questions to everybody only: it lives, and keeps what `announcing-*` gives to it.
#[test]
fn an_earlier_release_that_does_not_answer_alone() {
    row("an earlier release that does not answer alone", &Setup::default(), |cluster| {
        let node = owner(cluster, 0);
        cluster.downgrade(node);
        cluster.nodes[node].ignores_unicast = true;
        let start = cluster.now;
        cluster.run(ms(30_000));
        assert_eq!(owner(cluster, 0), node);
        start
    })
    .bounds(0, 0, 0);
}

/// Nobody could name it while the API server was down: what it said of its claims before counts.
#[test]
fn what_an_earlier_release_took_along_is_left_to_it() {
    for seed in 1..=seeds(20) {
        let mut cluster = Cluster::settled(Setup { seed, family: Family::of(seed), ..Setup::default() });
        let (node, address) = (owner(&cluster, 0), cluster.vip(0));
        cluster.set_api(false);
        cluster.exclude(node, true);
        cluster.run(ms(2000));
        let other = owner(&cluster, 0);
        assert_ne!(other, node);
        cluster.downgrade(other);
        cluster.run(ms(6000));
        let start = cluster.now;
        cluster.exclude(node, false);
        cluster.run(ms(20_000));
        assert_eq!(cluster.answers(address), [other]);
        assert_eq!(cluster.double(address, start), ms(0));
    }
}

/// It was cut off, and another node took over: its kernel answers again, and nobody can take the address out of it.
#[test]
fn what_an_earlier_release_still_serves_is_left_to_it() {
    for seed in 1..=seeds(20) {
        let mut cluster = Cluster::settled(Setup { seed, family: Family::of(seed), ..Setup::default() });
        let (node, address) = (owner(&cluster, 0), cluster.vip(0));
        cluster.downgrade(node);
        cluster.run(ms(5000));
        cluster.cut(node);
        cluster.run(ms(2000));
        assert!(cluster.owner(address).is_some_and(|next| next != node));
        cluster.heal(node);
        cluster.run(ms(2500));
        let start = cluster.now;
        cluster.run(ms(20_000));
        assert_eq!(cluster.answers(address), [node]);
        assert_eq!(cluster.double(address, start), ms(0));
    }
}
