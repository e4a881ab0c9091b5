//! Agents that stop, start, or stand still: nothing moves.

use std::time::Duration;

use ownership::Stop;

use crate::row::{ms, owner, row, wait};
use crate::sim::Setup;

#[test]
fn agent_killed_and_restarted() {
    row("kill -9", &Setup::default(), |cluster| {
        let (node, start) = (owner(cluster, 0), cluster.now);
        cluster.kill_agent(node);
        wait(cluster, 6000);
        cluster.start_agent(node);
        cluster.run(ms(8000));
        assert_eq!(cluster.owner(cluster.vip(0)), Some(node), "moved");
        start
    })
    .bounds(0, 0, 0);
}

#[test]
fn rolling_update() {
    row("rolling update", &Setup { nodes: 4, ..Setup::default() }, |cluster| {
        let start = cluster.now;
        for node in 0..4 {
            cluster.stop(node, Stop::Restart);
            cluster.kill_agent(node);
            wait(cluster, 4000);
            cluster.start_agent(node);
            wait(cluster, 3000);
        }
        cluster.run(ms(5000));
        start
    })
    .bounds(0, 0, 0);
}

#[test]
fn agent_paused() {
    row("agent paused for 20 s", &Setup::default(), |cluster| {
        let (node, start) = (owner(cluster, 0), cluster.now);
        cluster.pause(node, ms(20_000));
        cluster.run(ms(30_000));
        assert_eq!(owner(cluster, 0), node);
        start
    })
    .bounds(0, 0, 0);
}

#[test]
fn lifetime_ends_after_the_agent() {
    row("agent gone, lifetime ends", &Setup::default(), |cluster| {
        let node = owner(cluster, 0);
        let start = cluster.now;
        cluster.kill_agent(node);
        cluster.run(ms(60_000));
        assert_eq!(cluster.without(cluster.vip(0), start), Duration::ZERO);
        let end = cluster.now;
        cluster.expire(node);
        cluster.run(ms(5000));
        end
    })
    .bounds(500, 500, 0);
}

#[test]
fn a_switch_that_carries_no_questions_to_groups() {
    // The agent dies, its kernel serves; only a question to its own hardware address gets there.
    row("snooping, agent dead", &Setup { snooping: true, ..Setup::default() }, |cluster| {
        let (node, start) = (owner(cluster, 0), cluster.now);
        cluster.kill_agent(node);
        cluster.run(ms(15_000));
        assert_eq!(owner(cluster, 0), node);
        start
    })
    .bounds(0, 0, 0);
}

#[test]
fn an_agent_that_starts_without_api_yields() {
    // Its node was cut and lost its addresses to others, its agent died, and the API server with what is wanted is away.
    row("start without API", &Setup::default(), |cluster| {
        let (node, start) = (owner(cluster, 0), cluster.now);
        cluster.cut(node);
        cluster.kill_agent(node);
        cluster.run(ms(5000));
        let heir = owner(cluster, 0);
        cluster.set_api(false);
        cluster.start_agent(node);
        wait(cluster, 300);
        let healed = cluster.now;
        cluster.heal(node);
        cluster.run(ms(5000));
        assert_eq!(owner(cluster, 0), heir);
        for address in cluster.specs.keys() {
            assert!(cluster.double(*address, healed) < ms(500), "{:?}", cluster.double(*address, healed));
        }
        cluster.set_api(true);
        cluster.run(ms(5000));
        start
    })
    .bounds(500, 999, 500);
}

#[test]
fn an_agent_that_left_and_came_back_is_a_candidate_again() {
    row("left and back", &Setup::default(), |cluster| {
        let (node, start) = (owner(cluster, 0), cluster.now);
        cluster.stop(node, Stop::Leaving);
        cluster.run(ms(500));
        cluster.kill_agent(node);
        // Soon enough that the others have not given the former boot up.
        cluster.start_agent(node);
        cluster.run(ms(3000));
        let id = cluster.nodes[node].id.clone();
        for (number, other) in cluster.nodes.iter().enumerate().filter(|(number, _)| *number != node) {
            let states = other.machine.iter().flat_map(ownership::Machine::member_statuses);
            let flags: Vec<u8> = states.filter(|state| state.node == id).map(|state| state.flags).collect();
            assert_eq!(flags, [ownership::wire::SELECTED], "as node {number} knows node {node}");
        }
        start
    })
    .bounds(500, 999, 0);
}
