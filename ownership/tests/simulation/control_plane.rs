//! The API server or gossip fails: nothing moves without a cause.

use ownership::{Event, Notification};

use crate::row::{ms, owner, row};
use crate::sim::Setup;

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
