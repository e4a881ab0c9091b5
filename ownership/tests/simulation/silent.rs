//! Kernels that answer while their agents are silent.

use ownership::{ClaimReason, Notification, Qualified};

use crate::row::{ms, owner, row, seeds};
use crate::sim::{Cluster, Family, Setup};

/// Its answers come later than the last probe.
#[test]
fn case_s2_a_slow_kernel_keeps_what_its_silent_agent_had() {
    for (seed, delay) in (1..=seeds(3)).flat_map(|seed| [20_000, 50_000, 70_000, 240_000].map(|delay| (seed, delay))) {
        let setup = Setup { seed, vips: 10, family: Family::of(seed), ..Setup::default() };
        let mut cluster = Cluster::settled(setup);
        let (node, start) = (owner(&cluster, 0), cluster.now);
        cluster.kill_agent(node);
        cluster.change("slow", |net| net.delay_min_us = delay);
        cluster.run(ms(12_000));
        let taken = (0..3).flat_map(|number| cluster.notifications(number, start)).filter(|notification| {
            matches!(notification, Notification::Claimed { cause: ClaimReason::AgentSilent, .. })
        });
        assert_eq!(taken.count(), 0, "seed {seed}, {delay} us");
    }
}

/// Its node was cut off meanwhile, and the addresses were taken over.
#[test]
fn case_s2_a_kernel_that_comes_back_without_its_agent_gets_its_addresses_back() {
    row("back without its agent", &Setup::default(), |cluster| {
        let node = owner(cluster, 0);
        cluster.kill_agent(node);
        cluster.run(ms(5000));
        cluster.cut(node);
        cluster.run(ms(3000));
        assert_ne!(owner(cluster, 0), node);
        let start = cluster.now;
        cluster.heal(node);
        cluster.run(ms(4000));
        assert_eq!(owner(cluster, 0), node);
        // The agent runs again, and keeps them.
        cluster.start_agent(node);
        cluster.run(ms(4000));
        assert_eq!(owner(cluster, 0), node);
        start
    })
    .bounds(0, 0, 3200);
}

/// The switch answers questions to everybody from its cache: what is dead is taken over all the same, and a kernel that
/// serves without its agent keeps what it has.
#[test]
fn a_switch_that_answers_for_a_dead_node() {
    let setup = Setup { suppressing: true, ..Setup::default() };
    row("suppressing switch, cut", &setup, |cluster| {
        let (node, start) = (owner(cluster, 0), cluster.now);
        cluster.cut(node);
        cluster.run(ms(6000));
        assert_ne!(owner(cluster, 0), node);
        start
    })
    .bounds(600, 999, 0);
    row("suppressing switch, agent dead", &setup, |cluster| {
        let (node, start) = (owner(cluster, 0), cluster.now);
        cluster.kill_agent(node);
        cluster.run(ms(15_000));
        assert_eq!(owner(cluster, 0), node);
        start
    })
    .bounds(0, 0, 0);
}

/// As before, and the switch takes its time: its answers come after the node itself was asked.
#[test]
fn a_switch_that_answers_late_for_a_dead_node() {
    for delay in [15_000, 25_000, 38_000] {
        row("suppressing switch that is slow, cut", &Setup { suppressing: true, ..Setup::default() }, |cluster| {
            cluster.change("slow switch", |net| net.cache_us = delay);
            cluster.run(ms(3000));
            let (node, start) = (owner(cluster, 0), cluster.now);
            cluster.cut(node);
            cluster.run(ms(6000));
            assert_ne!(owner(cluster, 0), node);
            start
        })
        .bounds(700, 999, 0);
    }
}

/// The link of a node whose agent is dead blinks just before its members believe the agent silent: what the first heir
/// asked while it suspected the node is no look at its kernel, which is slow.
#[test]
fn a_suspicion_before_the_agent_is_believed_silent() {
    let mut quiet = 0;
    let blinks = [70, 100, 130, 160];
    let steps = || (0..60).flat_map(|step| blinks.map(|blink| (1800 + step * 40, blink)));
    for (seed, (before, blink)) in (1..=seeds(2)).flat_map(|seed| steps().map(move |step| (seed, step))) {
        let setup = Setup { seed, vips: 6, family: Family::of(seed), ..Setup::default() };
        let mut cluster = Cluster::settled(setup);
        let (node, start) = (owner(&cluster, 0), cluster.now);
        cluster.kill_agent(node);
        cluster.change("slow", |net| net.delay_min_us = 40_000);
        cluster.run(ms(before));
        cluster.cut(node);
        cluster.run(ms(blink));
        cluster.heal(node);
        cluster.run(ms(4000));
        if (0..3)
            .flat_map(|number| cluster.notifications(number, start))
            .any(|said| matches!(said, Notification::Alarm { .. }))
        {
            continue;
        }
        quiet += 1;
        let taken = (0..3).flat_map(|number| cluster.notifications(number, start));
        let taken: Vec<_> = taken.filter(|said| matches!(said, Notification::Claimed { .. })).collect();
        assert!(taken.is_empty(), "seed {seed}, {before} ms, {blink} ms: {taken:?}");
    }
    assert!(quiet > 100, "{quiet} blinks without an alarm");
}

/// Traffic policy Local: an agent that is not heard because gossip is blocked has not stopped. Where others are heard, a
/// silent one loses what its node does not qualify for any more.
#[test]
fn gossip_that_is_blocked_is_no_silent_agent() {
    for seed in 1..=seeds(10) {
        for nodes in [2, 3] {
            let setup = Setup { seed, nodes, vips: 1, family: Family::of(seed), ..Setup::default() };
            let mut cluster = Cluster::settled(setup);
            let (node, address) = (owner(&cluster, 0), cluster.vip(0));
            let other = cluster.nodes[(node + 1) % nodes].id.clone();
            cluster.block_udp = true;
            cluster.run(ms(8000));
            let start = cluster.now;
            cluster.serve(address, Qualified::Tiers(vec![[other.clone()].into()]), 0);
            cluster.run(ms(30_000));
            assert!(cluster.double(address, start).is_zero(), "seed {seed}: {:?}", cluster.answers(address));
            cluster.block_udp = false;
            cluster.run(ms(3000));
            assert_eq!(cluster.answers(address), [(node + 1) % nodes], "seed {seed}, {nodes} nodes");
        }
        let mut cluster = Cluster::settled(Setup { seed, vips: 1, family: Family::of(seed), ..Setup::default() });
        let (node, address) = (owner(&cluster, 0), cluster.vip(0));
        let other = cluster.nodes[(node + 1) % 3].id.clone();
        cluster.kill_agent(node);
        cluster.run(ms(5000));
        cluster.serve(address, Qualified::Tiers(vec![[other].into()]), 0);
        cluster.run(ms(15_000));
        assert!(cluster.nodes[(node + 1) % 3].kernel.contains(&address), "seed {seed}");
    }
}
