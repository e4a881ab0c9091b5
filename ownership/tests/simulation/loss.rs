//! Lossy links and deaf nodes: addresses do not wander.

use std::time::Duration;

use crate::row::{ms, owner, row};
use crate::sim::Setup;

#[test]
fn a_fifth_of_all_packets_lost() {
    let mut sums = Vec::new();
    let mut moves = Vec::new();
    row("20 % loss for 60 s", &Setup::default(), |cluster| {
        let start = cluster.now;
        cluster.change("20 % loss", |net| net.loss = 200);
        cluster.run(ms(60_000));
        cluster.change("no loss", |net| net.loss = 0);
        cluster.run(ms(3000));
        for number in 0..3 {
            sums.push(cluster.measure.sum_double(cluster.vip(number), start, cluster.now));
            moves.push(
                cluster.measure.addresses[&cluster.vip(number)].owners.iter().filter(|(at, _)| *at > start).count(),
            );
        }
        start
    })
    .bounds(999, 999, 999);
    println!("20 % loss: most moves {:?}, sum of doubles {:?}", moves.iter().max(), sums.iter().max());
    assert!(moves.iter().all(|moves| *moves <= 1) && sums.iter().all(|sum| *sum < ms(1000)));
}

#[test]
fn a_cut_node_is_replaced_in_spite_of_loss() {
    row("cut at 10 % loss", &Setup::default(), |cluster| {
        cluster.change("10 % loss", |net| net.loss = 100);
        let (node, start) = (owner(cluster, 0), cluster.now);
        cluster.cut(node);
        cluster.run(ms(5000));
        start
    })
    .bounds(600, 999, 999);
}

#[test]
fn a_deaf_node_steals_nothing() {
    for gateway in [true, false] {
        row("deaf", &Setup { gateway, client: true, ..Setup::default() }, |cluster| {
            let start = cluster.now;
            let deaf = (owner(cluster, 0) + 1) % 3;
            let kept: Vec<_> = (0..3).filter(|number| owner(cluster, *number) != deaf).collect();
            let port = cluster.port(deaf, 0);
            cluster.change("deaf", |net| {
                net.deaf.insert(port);
            });
            cluster.run(ms(15_000));
            for number in kept {
                assert_eq!(cluster.double(cluster.vip(number), start), Duration::ZERO);
                if cluster.without(cluster.vip(number), start) > Duration::ZERO
                    || cluster.nodes[deaf].kernel.contains(&cluster.vip(number))
                {
                    cluster.fail("the deaf node took it");
                }
            }
            let healed = cluster.now;
            cluster.change("hears again", |net| {
                net.deaf.remove(&port);
            });
            cluster.run(ms(3000));
            for number in 0..3 {
                assert!(cluster.double(cluster.vip(number), healed) <= ms(200));
                owner(cluster, number);
            }
            start
        })
        .bounds(999, 999, 200);
    }
}
