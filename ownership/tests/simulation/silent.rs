//! Kernels that answer while their agents are silent.

use std::time::Duration;

use ownership::{ClaimReason, Notification, Qualified, ReleaseReason, Time};

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

/// The longest time for which two kernels answered for an address, of all of them.
fn longest_double(cluster: &Cluster, after: Time) -> Duration {
    cluster.specs.keys().map(|address| cluster.double(*address, after)).max().unwrap()
}

/// A port is down for half a second, behind it a kernel whose agent is dead: what was taken over meanwhile goes back. Ten
/// kernels are asked in a second.
#[test]
fn case_s2_a_kernel_that_comes_back_gets_many_addresses_back() {
    for (vips, seed) in [(3, 1), (60, 1), (60, 2), (300, 1)] {
        let mut cluster = Cluster::settled(Setup { seed, vips, family: Family::of(seed), ..Setup::default() });
        let (node, start) = (owner(&cluster, 0), cluster.now);
        let held = cluster.nodes[node].kernel.len();
        cluster.kill_agent(node);
        cluster.run(ms(5000));
        cluster.cut(node);
        cluster.run(ms(1000));
        cluster.heal(node);
        let back = cluster.now;
        // Each of the two others asks for its share.
        let bound = ms(3200 + 100 * u64::try_from(held).unwrap());
        cluster.run(bound + ms(1000));
        let double = longest_double(&cluster, start);
        println!("{held} addresses back without their agent: two answers for {double:?}");
        assert!(cluster.now.since(back) > bound && double <= bound, "seed {seed}: {double:?}");
        let taken = (0..3).filter(|other| *other != node).flat_map(|other| cluster.notifications(other, start));
        assert!(taken.filter(|said| matches!(said, Notification::Claimed { .. })).count() >= held, "not taken over");
        assert_eq!(owner(&cluster, 0), node);
    }
}

/// The kernel of another silent agent is looked at meanwhile, for more addresses than further looks have room for.
#[test]
fn case_s2_a_kernel_that_comes_back_is_noticed_whatever_else_is_looked_at() {
    for seed in 1..=seeds(3) {
        let mut cluster = Cluster::settled(Setup { seed, vips: 30, family: Family::of(seed), ..Setup::default() });
        let (node, start) = (owner(&cluster, 0), cluster.now);
        let other = owner(&cluster, (0..30).find(|number| owner(&cluster, *number) != node).unwrap());
        // One address of the first, the others' stay.
        for number in 1..30 {
            if owner(&cluster, number) == node {
                cluster.stop_serving(cluster.vip(number));
            }
        }
        cluster.run(ms(1000));
        cluster.kill_agent(node);
        cluster.kill_agent(other);
        cluster.run(ms(6000));
        cluster.cut(node);
        cluster.run(ms(1000));
        cluster.heal(node);
        cluster.run(ms(6000));
        let double = longest_double(&cluster, start);
        println!("back beside another silent agent: two answers for {double:?}");
        assert!(double <= ms(3200), "seed {seed}: {double:?}");
        assert_eq!(owner(&cluster, 0), node);
    }
}

/// The agent of the owner is dead, and then its node: a switch answers from its cache after this node has taken over.
#[test]
fn a_late_answer_of_a_switch_undoes_no_takeover() {
    for delay in [15_000, 25_000, 38_000] {
        let setup = Setup { suppressing: true, ..Setup::default() };
        row("suppressing switch that is slow, agent dead, then its node", &setup, |cluster| {
            cluster.change("slow switch", |net| net.cache_us = delay);
            let node = owner(cluster, 0);
            cluster.kill_agent(node);
            cluster.run(ms(5000));
            let start = cluster.now;
            cluster.power_off(node);
            cluster.run(ms(6000));
            assert_ne!(owner(cluster, 0), node);
            let undone = (0..3).flat_map(|other| cluster.notifications(other, start));
            let undone =
                undone.filter(|said| matches!(said, Notification::Released { why: ReleaseReason::KernelServes, .. }));
            assert_eq!(undone.count(), 0, "seed {}", cluster.setup.seed);
            start
        })
        // Where the switch passes no question on, two may claim at the same time.
        .bounds(700, 999, 10);
    }
}

/// One node does not hear a kernel that serves without its agent, and others do: it asks again and again, for a hundred
/// addresses no more often than looks may.
#[test]
fn a_kernel_that_only_others_hear_is_not_asked_without_end() {
    for seed in 1..=seeds(3) {
        let setup = Setup { seed, vips: 300, family: Family::of(seed), ..Setup::default() };
        let mut cluster = Cluster::settled(setup);
        cluster.run(ms(12_000));
        let node = owner(&cluster, 0);
        let (deaf, start) = ((node + 1) % 3, cluster.now);
        let (from, to) = (cluster.port(node, 0), cluster.port(deaf, 0));
        cluster.kill_agent(node);
        cluster.change("one way", |net| {
            net.blocked.insert((from, to));
        });
        cluster.run(ms(8000));
        let asked: Vec<_> = cluster.sent_by(deaf, start).iter().map(|frames| frames.asked_all).collect();
        println!("a kernel that only others hear: {asked:?} questions to everybody");
        // Five for each address, and then few; in the end one more for each, and they are taken over.
        assert!(asked.iter().sum::<u32>() <= 1300, "seed {seed}: {asked:?}");
    }
}
