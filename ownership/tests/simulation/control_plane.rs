//! The API server or gossip fails: nothing moves without a cause.

use ownership::{Event, Notification};

use crate::row::{ms, owner, row, seeds, wait};
use crate::sim::{Cluster, Family, Setup};

#[test]
fn api_server_stopped() {
    row("API stopped for 60 s", &Setup::default(), |cluster| {
        let start = cluster.now;
        let owners: Vec<_> = (0..3).map(|number| owner(cluster, number)).collect();
        cluster.set_api(false);
        cluster.run(ms(60_000));
        cluster.set_api(true);
        cluster.run(ms(3000));
        assert_eq!(owners, (0..3).map(|number| owner(cluster, number)).collect::<Vec<_>>());
        start
    })
    .bounds(0, 0, 0);
}

#[test]
fn one_node_stale_hands_over() {
    row("one stale", &Setup::default(), |cluster| {
        let (node, start) = (owner(cluster, 0), cluster.now);
        cluster.deliver(node, Event::Watches { current: false });
        cluster.run(ms(25_000));
        assert_eq!(owner(cluster, 0), node);
        cluster.run(ms(10_000));
        assert_ne!(owner(cluster, 0), node);
        start
    })
    .bounds(10, 10, 0);
}

#[test]
fn gossip_network_fails() {
    row("network A fails", &Setup { two_networks: true, ..Setup::default() }, |cluster| {
        let (node, start) = (owner(cluster, 0), cluster.now);
        let port = cluster.port(node, 1);
        cluster.change("A fails", |net| net.cut(port));
        cluster.run(ms(10_000));
        assert_eq!(owner(cluster, 0), node);
        cluster.change("A heals", |net| net.heal(port));
        cluster.run(ms(5000));
        assert_eq!(owner(cluster, 0), node);
        start
    })
    .bounds(0, 0, 0);
}

#[test]
fn gossip_is_blocked_everywhere() {
    row("no UDP at all", &Setup { two_networks: true, ..Setup::default() }, |cluster| {
        let start = cluster.now;
        // Only gossip is on segment 1, and nothing but ARP passes on segment 0.
        cluster.block_udp = true;
        cluster.run(ms(15_000));
        for number in 0..3 {
            owner(cluster, number);
        }
        assert!((0..3).all(|node| {
            cluster.notifications(node, start).any(|notification| *notification == Notification::GossipSilent)
        }));
        start
    })
    .bounds(0, 0, 0);
}

/// No agent hears of another's claim. The heirs look at the kernel of the owner, whose agent is silent to them, when it
/// dies.
#[test]
fn gossip_is_blocked_everywhere_and_the_owner_dies() {
    row("no UDP at all, owner dies", &Setup { nodes: 5, vips: 10, ..Setup::default() }, |cluster| {
        cluster.block_udp = true;
        wait(cluster, 3000);
        cluster.run(ms(10_000));
        let (node, start) = (owner(cluster, 0), cluster.now);
        cluster.power_off(node);
        cluster.run(ms(8000));
        for number in 0..10 {
            assert_ne!(owner(cluster, number), node);
        }
        start
    })
    .bounds(450, 999, 0);
}

/// Two agents hold an address since the network was cut between them. Both are restarted while the API server is down:
/// they know each other by their state files alone, and settle whose it is.
#[test]
fn agents_that_restart_without_api_know_each_other() {
    for seed in 1..=seeds(20) {
        let setup = Setup { seed, nodes: 2, vips: 1, family: Family::of(seed), ..Setup::default() };
        let mut cluster = Cluster::settled(setup);
        let (node, address) = (owner(&cluster, 0), cluster.vip(0));
        cluster.set_api(false);
        cluster.cut(node);
        cluster.run(ms(4000));
        assert!(cluster.nodes.iter().all(|node| node.kernel.contains(&address)), "the other has not taken it over");
        for restarted in [0, 1] {
            cluster.kill_agent(restarted);
        }
        cluster.heal(node);
        for restarted in [0, 1] {
            cluster.start_agent(restarted);
        }
        cluster.run(ms(1000));
        assert_eq!(cluster.answers(address), [1 - node], "seed {seed}");
    }
}
