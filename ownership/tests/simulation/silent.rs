//! Kernels that answer while their agents are silent.

use ownership::ClaimReason;
use ownership::Notification;

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
