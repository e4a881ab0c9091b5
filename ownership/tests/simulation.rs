//! The protocol on a simulated network: the rows of the project's table, each over many seeds, with its bounds.
//!
//! `OWNERSHIP_SEEDS` sets how many seeds a row takes. Each test prints what it measured (`--nocapture`).

// The helpers of a test may panic, like the test itself.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::struct_excessive_bools)]
#![allow(clippy::large_enum_variant, clippy::needless_pass_by_value, clippy::unused_self)]
#![allow(clippy::single_match_else, clippy::semicolon_if_nothing_returned)]

mod sim;

use std::collections::BTreeSet;
use std::time::Duration;

use ownership::{ConflictPolicy, Event, Fact, NodeId, Qualified, Stop, Time};
use sim::{Family, Setup, World};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn seeds(default: u64) -> u64 {
    let wanted: Option<u64> = std::env::var("OWNERSHIP_SEEDS").ok().and_then(|text| text.parse().ok());
    wanted.unwrap_or(default).max(1)
}

/// What a row saw.
#[derive(Debug, Default)]
struct Row {
    without: Vec<Duration>,
    double: Vec<Duration>,
}

/// Runs a row: the scenario ends with the world at its end and says from when on to look, at how many addresses.
fn row(name: &str, setup: &Setup, mut scenario: impl FnMut(&mut World) -> Time) -> Row {
    let mut row = Row::default();
    for seed in 1..=seeds(20) {
        let mut world = World::settled(Setup { seed, family: Family::of(seed), ..setup.clone() });
        for number in 0..setup.vips {
            if world.owner(world.vip(number)).is_none() {
                world.fail("not settled");
            }
        }
        let after = scenario(&mut world);
        for address in world.wants.keys() {
            let (without, double) = (world.without(*address, after), world.double(*address, after));
            if std::env::var("OWNERSHIP_FAIL_MS").is_ok_and(|limit| without.max(double) > ms(limit.parse().unwrap())) {
                world.fail(&format!("{without:?} without, {double:?} double at {address}"));
            }
            if without > ms(1000) {
                world.fail(&format!("{name}: {without:?} without an answer at {address}"));
            }
            row.without.push(without);
            row.double.push(double);
        }
    }
    row.without.sort();
    row.double.sort();
    println!(
        "{name}: without median {:?} worst {:?}; double worst {:?}",
        row.affected(),
        row.worst(),
        row.worst_double()
    );
    row
}

impl Row {
    /// The median of the addresses that were without an answer at all.
    fn affected(&self) -> Duration {
        let affected: Vec<_> = self.without.iter().filter(|span| !span.is_zero()).collect();
        affected.get(affected.len() / 2).map_or(Duration::ZERO, |span| **span)
    }

    fn worst(&self) -> Duration {
        self.without.last().copied().unwrap_or_default()
    }

    fn worst_double(&self) -> Duration {
        self.double.last().copied().unwrap_or_default()
    }

    #[track_caller]
    fn bounds(&self, median: u64, worst: u64, double: u64) {
        assert!(self.affected() <= ms(median), "median {:?}", self.affected());
        assert!(self.worst() <= ms(worst), "worst {:?}", self.worst());
        assert!(self.worst_double() <= ms(double), "double {:?}", self.worst_double());
    }
}

fn wait(world: &mut World, below: usize) {
    let pause = u64::try_from(world.rng.below(below)).unwrap();
    world.run(ms(pause));
}

fn owner(world: &World, number: usize) -> usize {
    world.owner(world.vip(number)).unwrap_or_else(|| world.fail("no owner"))
}

#[test]
fn cut_node_and_its_return() {
    let mut back = Vec::new();
    let cut = row("cut", &Setup::default(), |world| {
        wait(world, 300);
        let (node, start) = (owner(world, 0), world.now);
        world.cut(node);
        world.run(ms(5000));
        let heir = owner(world, 0);
        let healed = world.now;
        let lost = world.without(world.vip(0), start);
        world.heal(node);
        world.run(ms(12_000));
        back.push(world.double(world.vip(0), healed));
        assert_eq!(world.owner(world.vip(0)), Some(heir), "moved back");
        assert_eq!(world.without(world.vip(0), healed), Duration::ZERO);
        assert!(lost > Duration::ZERO);
        // The double answers of the return are measured on their own.
        start
    });
    back.sort();
    println!("return: double median {:?} worst {:?}", back[back.len() / 2], back.last());
    cut.bounds(500, 999, 200);
    assert!(back.last() <= Some(&ms(200)));
}

#[test]
fn cut_during_an_outage_of_the_api_server() {
    row("cut without API", &Setup::default(), |world| {
        world.set_api(false);
        world.run(ms(5000));
        let (node, start) = (owner(world, 0), world.now);
        world.cut(node);
        world.run(ms(5000));
        start
    })
    .bounds(500, 999, 0);
}

#[test]
fn power_off_with_five_nodes() {
    row("power off", &Setup { nodes: 5, vips: 10, ..Setup::default() }, |world| {
        wait(world, 300);
        let (node, start) = (owner(world, 0), world.now);
        world.power_off(node);
        world.run(ms(5000));
        start
    })
    .bounds(500, 999, 0);
}

#[test]
fn two_nodes_and_a_gateway() {
    row("two nodes, one cut", &Setup { nodes: 2, ..Setup::default() }, |world| {
        let (node, start) = (owner(world, 0), world.now);
        world.cut(node);
        world.run(ms(5000));
        start
    })
    .bounds(500, 999, 0);
}

/// Whether the network is heard is known at the decision, however long the questions take.
#[test]
fn two_nodes_and_a_gateway_that_ask_slowly() {
    let setup = Setup { nodes: 2, probe_interval: ms(100), ..Setup::default() };
    row("two nodes that ask each 100 ms, one powered off", &setup, |world| {
        let (node, start) = (owner(world, 0), world.now);
        world.power_off(node);
        world.run(ms(5000));
        let deaf = world.facts(1 - node, start).any(|fact| matches!(fact, Fact::Deaf { .. }));
        assert!(!deaf, "it hears the gateway");
        start
    })
    .bounds(900, 999, 0);
}

#[test]
fn owner_and_first_heir() {
    row("owner and first heir", &Setup { nodes: 5, vips: 6, ..Setup::default() }, |world| {
        let (node, start) = (owner(world, 0), world.now);
        let state = world.nodes[node].machine.as_ref().unwrap().address(world.vip(0)).unwrap();
        let heir = world.nodes.iter().position(|other| Some(&other.id) == state.heir.as_ref()).unwrap();
        world.cut(node);
        world.cut(heir);
        world.run(ms(5000));
        start
    })
    .bounds(999, 999, 0);
}

#[test]
fn agent_killed_and_restarted() {
    row("kill -9", &Setup::default(), |world| {
        let (node, start) = (owner(world, 0), world.now);
        world.kill_agent(node);
        wait(world, 6000);
        world.start_agent(node);
        world.run(ms(8000));
        assert_eq!(world.owner(world.vip(0)), Some(node), "moved");
        start
    })
    .bounds(0, 0, 0);
}

#[test]
fn rolling_update() {
    row("rolling update", &Setup { nodes: 4, ..Setup::default() }, |world| {
        let start = world.now;
        for node in 0..4 {
            world.stop(node, Stop::Restart);
            world.kill_agent(node);
            wait(world, 4000);
            world.start_agent(node);
            wait(world, 3000);
        }
        world.run(ms(5000));
        start
    })
    .bounds(0, 0, 0);
}

#[test]
fn api_server_stopped() {
    row("API stopped for 60 s", &Setup::default(), |world| {
        let start = world.now;
        let owners: Vec<_> = (0..3).map(|number| owner(world, number)).collect();
        world.set_api(false);
        world.run(ms(60_000));
        world.set_api(true);
        world.run(ms(3000));
        assert_eq!(owners, (0..3).map(|number| owner(world, number)).collect::<Vec<_>>());
        start
    })
    .bounds(0, 0, 0);
}

#[test]
fn one_node_stale_hands_over() {
    row("one stale", &Setup::default(), |world| {
        let (node, start) = (owner(world, 0), world.now);
        world.deliver(node, Event::Watches { current: false });
        world.run(ms(25_000));
        assert_eq!(owner(world, 0), node);
        world.run(ms(10_000));
        assert_ne!(owner(world, 0), node);
        start
    })
    .bounds(10, 10, 0);
}

#[test]
fn planned_moves() {
    row("exclusion label", &Setup::default(), |world| {
        let (node, start) = (owner(world, 0), world.now);
        world.exclude(node, true);
        world.run(ms(2000));
        assert_ne!(owner(world, 0), node);
        start
    })
    .bounds(10, 10, 0);
    row("leaving", &Setup::default(), |world| {
        let (node, start) = (owner(world, 0), world.now);
        world.stop(node, Stop::Leaving);
        world.run(ms(2000));
        assert!(world.facts(node, start).any(|fact| *fact == Fact::Left));
        start
    })
    .bounds(10, 10, 0);
    row("rebalance", &Setup { nodes: 4, vips: 8, ..Setup::default() }, |world| {
        world.cut(1);
        world.run(ms(3000));
        world.heal(1);
        world.run(ms(3000));
        let start = world.now;
        for number in 0..8 {
            world.want(world.vip(number), Qualified::All, 1);
        }
        world.run(ms(3000));
        for number in 0..8 {
            let mut nodes: Vec<_> = world.nodes.iter().map(|node| node.id.clone()).collect();
            ownership::order::sort(&mut nodes, &world.vip(number));
            if world.nodes[owner(world, number)].id != nodes[0] {
                world.fail("not on its first choice");
            }
        }
        start
    })
    .bounds(10, 10, 0);
    row("policy Local", &Setup::default(), |world| {
        let (node, start) = (owner(world, 0), world.now);
        let other: BTreeSet<NodeId> =
            world.nodes.iter().filter(|n| n.id != world.nodes[node].id).map(|n| n.id.clone()).collect();
        world.want(world.vip(0), Qualified::Tiers(vec![other.clone(), BTreeSet::new()]), 0);
        world.run(ms(2000));
        let now = owner(world, 0);
        assert_ne!(now, node);
        world.want(world.vip(0), Qualified::Tiers(vec![BTreeSet::new()]), 0);
        world.run(ms(2000));
        assert_eq!(owner(world, 0), now, "no endpoint anywhere: it stays");
        start
    })
    .bounds(10, 10, 0);
}

#[test]
fn the_successor_dies_in_the_middle() {
    row("successor dies", &Setup::default(), |world| {
        let (node, start) = (owner(world, 0), world.now);
        world.exclude(node, true);
        // Within the exchange of offer, accept and go.
        let pause = u64::try_from(world.rng.below(2500)).unwrap();
        world.run(Duration::from_micros(pause));
        let heir = (0..3).find(|other| *other != node).unwrap();
        let state = world.nodes[heir].machine.as_ref().unwrap().address(world.vip(0)).unwrap();
        let dying = if state.doing == "takes it over" || state.doing == "holds it" { heir } else { 3 - node - heir };
        world.cut(dying);
        world.run(ms(5000));
        start
    })
    .bounds(999, 999, 0);
}

#[test]
fn gossip_network_fails() {
    row("network A fails", &Setup { two_networks: true, ..Setup::default() }, |world| {
        let (node, start) = (owner(world, 0), world.now);
        let port = world.port(node, 1);
        world.change("A fails", |net| net.cut(port));
        world.run(ms(10_000));
        assert_eq!(owner(world, 0), node);
        world.change("A heals", |net| net.heal(port));
        world.run(ms(5000));
        assert_eq!(owner(world, 0), node);
        start
    })
    .bounds(0, 0, 0);
}

#[test]
fn gossip_is_blocked_everywhere() {
    row("no UDP at all", &Setup { two_networks: true, ..Setup::default() }, |world| {
        let start = world.now;
        // Only gossip is on segment 1, and nothing but ARP passes on segment 0.
        world.block_udp = true;
        world.run(ms(15_000));
        for number in 0..3 {
            owner(world, number);
        }
        assert!((0..3).all(|node| world.facts(node, start).any(|fact| *fact == Fact::GossipSilent)));
        start
    })
    .bounds(0, 0, 0);
}

#[test]
fn address_network_fails() {
    row("network B fails", &Setup { two_networks: true, ..Setup::default() }, |world| {
        let (node, start) = (owner(world, 0), world.now);
        let port = world.port(node, 0);
        world.change("B fails", |net| net.cut(port));
        world.run(ms(5000));
        assert_ne!(owner(world, 0), node);
        let healed = world.now;
        world.change("B heals", |net| net.heal(port));
        world.run(ms(5000));
        assert_ne!(owner(world, 0), node);
        assert_eq!(world.double(world.vip(0), healed), Duration::ZERO);
        start
    })
    .bounds(999, 999, 0);
}

#[test]
fn cable_pulled() {
    row("carrier lost", &Setup::default(), |world| {
        let (node, start) = (owner(world, 0), world.now);
        world.set_carrier(node, false);
        wait(world, 5000);
        let replugged = world.now;
        world.set_carrier(node, true);
        world.run(ms(5000));
        let _ = (replugged, start);
        start
    })
    .bounds(500, 999, 200);
}

#[test]
fn agent_paused() {
    row("agent paused for 20 s", &Setup::default(), |world| {
        let (node, start) = (owner(world, 0), world.now);
        world.pause(node, ms(20_000));
        world.run(ms(30_000));
        assert_eq!(owner(world, 0), node);
        start
    })
    .bounds(0, 0, 0);
}

#[test]
fn lifetime_ends_after_the_agent() {
    row("agent gone, lifetime ends", &Setup::default(), |world| {
        let node = owner(world, 0);
        let start = world.now;
        world.kill_agent(node);
        world.run(ms(60_000));
        assert_eq!(world.without(world.vip(0), start), Duration::ZERO);
        let end = world.now;
        world.expire(node);
        world.run(ms(5000));
        end
    })
    .bounds(500, 500, 0);
}

#[test]
fn a_fifth_of_all_packets_lost() {
    let mut sums = Vec::new();
    let mut moves = Vec::new();
    row("20 % loss for 60 s", &Setup::default(), |world| {
        let start = world.now;
        world.change("20 % loss", |net| net.loss = 200);
        world.run(ms(60_000));
        world.change("no loss", |net| net.loss = 0);
        world.run(ms(3000));
        for number in 0..3 {
            sums.push(world.measure.sum_double(world.vip(number), start, world.now));
            moves.push(world.measure.addresses[&world.vip(number)].owners.iter().filter(|(at, _)| *at > start).count());
        }
        start
    })
    .bounds(999, 999, 999);
    println!("20 % loss: most moves {:?}, sum of doubles {:?}", moves.iter().max(), sums.iter().max());
    assert!(moves.iter().all(|moves| *moves <= 1) && sums.iter().all(|sum| *sum < ms(1000)));
}

#[test]
fn a_cut_node_is_replaced_in_spite_of_loss() {
    row("cut at 10 % loss", &Setup::default(), |world| {
        world.change("10 % loss", |net| net.loss = 100);
        let (node, start) = (owner(world, 0), world.now);
        world.cut(node);
        world.run(ms(5000));
        start
    })
    .bounds(600, 999, 999);
}

#[test]
fn a_deaf_node_steals_nothing() {
    for gateway in [true, false] {
        row("deaf", &Setup { gateway, client: true, ..Setup::default() }, |world| {
            let start = world.now;
            let deaf = (owner(world, 0) + 1) % 3;
            let kept: Vec<_> = (0..3).filter(|number| owner(world, *number) != deaf).collect();
            let port = world.port(deaf, 0);
            world.change("deaf", |net| {
                net.deaf.insert(port);
            });
            world.run(ms(15_000));
            for number in kept {
                assert_eq!(world.double(world.vip(number), start), Duration::ZERO);
                if world.without(world.vip(number), start) > Duration::ZERO
                    || world.nodes[deaf].kernel.contains(&world.vip(number))
                {
                    world.fail("the deaf node took it");
                }
            }
            let healed = world.now;
            world.change("hears again", |net| {
                net.deaf.remove(&port);
            });
            world.run(ms(3000));
            for number in 0..3 {
                assert!(world.double(world.vip(number), healed) <= ms(200));
                owner(world, number);
            }
            start
        })
        .bounds(999, 999, 200);
    }
}

#[test]
fn foreign_host_before_us() {
    for seed in 1..=seeds(20) {
        let mut world = World::settled(Setup { seed, family: Family::of(seed), vips: 1, ..Setup::default() });
        let host = world.add_foreign(world.vip(9));
        let start = world.now;
        world.want(world.vip(9), Qualified::All, 0);
        world.run(ms(20_000));
        assert!((0..3).all(|node| !world.nodes[node].kernel.contains(&world.vip(9))));
        assert!((0..3).any(|node| {
            world.facts(node, start).any(|fact| matches!(fact, Fact::AddressConflict { defended: false, .. }))
        }));
        let facts: usize =
            (0..3).map(|n| world.facts(n, start).filter(|f| matches!(f, Fact::AddressConflict { .. })).count()).sum();
        assert!(facts < 40, "{facts} events");
        world.set_foreign(host, false);
        world.run(ms(10_000));
        assert!(world.owner(world.vip(9)).is_some_and(|owner| owner < 3));
    }
}

#[test]
fn foreign_host_after_us() {
    for seed in 1..=seeds(20) {
        let mut world = World::settled(Setup { seed, family: Family::of(seed), ..Setup::default() });
        let (node, start) = (owner(&world, 0), world.now);
        let host = world.add_foreign(world.vip(0));
        for _ in 0..25 {
            world.foreign_announces(host, world.vip(0));
            world.run(ms(1000));
        }
        let defended =
            world.facts(node, start).filter(|f| matches!(f, Fact::AddressConflict { defended: true, .. })).count();
        assert!((2..=3).contains(&defended), "{defended}");
        assert!(world.nodes[node].kernel.contains(&world.vip(0)));
    }
}

#[test]
fn conflict_policies() {
    for family in Family::ALL {
        for policy in [ConflictPolicy::Warn, ConflictPolicy::Off] {
            let mut world = World::settled(Setup { vips: 1, family, ..Setup::default() });
            for node in 0..3 {
                world.deliver(node, Event::Policy(policy));
            }
            let start = world.now;
            world.add_foreign(world.vip(9));
            world.want(world.vip(9), Qualified::All, 0);
            world.run(ms(3000));
            assert!((0..3).any(|node| world.nodes[node].kernel.contains(&world.vip(9))));
            let said =
                (0..3).any(|node| world.facts(node, start).any(|fact| matches!(fact, Fact::AddressConflict { .. })));
            assert_eq!(said, policy == ConflictPolicy::Warn);
        }
    }
}

#[test]
fn proxy_arp_is_no_foreign_host() {
    for family in Family::ALL {
        let mut world = World::settled(Setup { vips: 1, family, ..Setup::default() });
        let start = world.now;
        let host = world.add_foreign(world.vip(9));
        let unused = World::unused(world.vip(9));
        world.hosts[host - 3].addresses.insert(unused);
        world.want(world.vip(9), Qualified::All, 0);
        world.run(ms(3000));
        assert!((0..3).any(|node| world.nodes[node].kernel.contains(&world.vip(9))));
        assert!((0..3).any(|node| world.facts(node, start).any(|fact| matches!(fact, Fact::ProxyArp { .. }))));
    }
}

#[test]
fn a_kernel_that_answers_for_what_it_does_not_hold() {
    for family in Family::ALL {
        let mut world = World::settled(Setup { vips: 1, family, ..Setup::default() });
        let start = world.now;
        // kube-ipvs0 without strict ARP, on every node.
        for node in 0..3 {
            let address = world.vip(9);
            world.nodes[node].ipvs.insert(address);
        }
        world.want(world.vip(9), Qualified::All, 0);
        world.run(ms(3000));
        assert_eq!((0..3).filter(|node| world.nodes[*node].kernel.contains(&world.vip(9))).count(), 1);
        assert!((0..3).any(|node| world.facts(node, start).any(|fact| matches!(fact, Fact::StrictArpNeeded { .. }))));
    }
}

#[test]
fn all_power_on_together() {
    let mut worst = Duration::ZERO;
    for seed in 1..=seeds(20) {
        let mut world = World::new(Setup { seed, family: Family::of(seed), nodes: 5, vips: 10, ..Setup::default() });
        let start = world.now;
        for node in 0..5 {
            world.power_on(node);
            wait(&mut world, 60);
        }
        world.run(ms(6000));
        for number in 0..10 {
            let seen = &world.measure.addresses[&world.vip(number)];
            assert!(seen.double.is_empty(), "seed {seed}: {seen:?}");
            assert_eq!(seen.owners.len(), 1, "seed {seed}: {seen:?}");
            worst = worst.max(seen.owners[0].0.since(start));
        }
    }
    println!("power on: worst time to the one owner {worst:?}");
    assert!(worst < ms(2000));
}

#[test]
fn one_node_alone_serves() {
    for family in Family::ALL {
        for gateway in [true, false] {
            let mut world = World::new(Setup { nodes: 1, gateway, client: false, family, ..Setup::default() });
            let start = world.now;
            world.power_on(0);
            world.run(ms(5000));
            let first = world.measure.addresses[&world.vip(0)].now.clone();
            assert!(world.nodes[0].kernel.contains(&world.vip(0)), "{first:?} since {start:?}");
        }
    }
}

#[test]
fn taken_out_by_hand() {
    row("deleted by hand", &Setup::default(), |world| {
        let (node, start) = (owner(world, 0), world.now);
        world.delete_by_hand(node, world.vip(0));
        world.run(ms(2000));
        assert_eq!(owner(world, 0), node);
        start
    })
    .bounds(50, 50, 0);
}

#[test]
fn services_come_and_go() {
    for seed in 1..=seeds(20) {
        let mut world = World::settled(Setup { seed, family: Family::of(seed), ..Setup::default() });
        let start = world.now;
        world.want(world.vip(7), Qualified::All, 0);
        world.run(ms(1000));
        let served = world.measure.addresses[&world.vip(7)].owners[0].0.since(start);
        assert!(served < ms(200), "{served:?}");
        world.unwant(world.vip(7));
        world.run(ms(1000));
        assert!(world.answers(world.vip(7)).is_empty());
    }
}

#[test]
fn a_lone_node_serves_though_its_gateway_never_answers() {
    for family in Family::ALL {
        let silent = Setup { nodes: 1, silent_gateway: true, client: false, family, ..Setup::default() };
        let mut world = World::new(silent);
        let start = world.now;
        world.power_on(0);
        world.run(ms(6000));
        for number in 0..3 {
            let served = world.measure.addresses[&world.vip(number)].owners.first().map(|(at, _)| at.since(start));
            assert!(served.is_some_and(|served| served < ms(4000)), "{served:?}");
        }
        assert!(world.facts(0, start).any(|fact| matches!(fact, Fact::Deaf { .. })), "not said that it waits");
    }
}

#[test]
fn another_interface() {
    // The old one goes after the new one is there: nothing moves, and the neighbours are told again.
    row("another interface", &Setup::default(), |world| {
        let (node, start) = (owner(world, 0), world.now);
        // The announcements of the claim are over.
        world.run(ms(3000));
        let before = world.announced;
        world.move_link(node, false);
        world.run(ms(50));
        assert!(world.announced > before, "no neighbour was told");
        world.run(ms(5000));
        assert_eq!(owner(world, 0), node);
        start
    })
    .bounds(0, 0, 0);
    // It goes first: a crash of the link.
    row("another interface after the old one", &Setup::default(), |world| {
        let (node, start) = (owner(world, 0), world.now);
        world.move_link(node, true);
        world.run(ms(5000));
        start
    })
    .bounds(500, 999, 0);
}

#[test]
fn hundreds_of_addresses() {
    for family in Family::ALL {
        let mut world = World::settled(Setup { nodes: 2, vips: 1200, family, ..Setup::default() });
        let (node, start) = (owner(&world, 0), world.now);
        world.most_adds = 0;
        world.cut(node);
        world.run(ms(3000));
        let worst = world.wants.keys().map(|address| world.without(*address, start)).max().unwrap();
        println!("{family:?}: {} addresses at once, the last after {worst:?}", world.most_adds);
        assert_eq!(world.most_adds, 256, "not limited, or too few at once to show it");
        assert!(worst < ms(1000), "{worst:?}");
        for number in 0..1200 {
            owner(&world, number);
        }
    }
}

#[test]
fn a_switch_that_carries_no_questions_to_groups() {
    // The agent dies, its kernel serves; only a question to its own hardware address gets there.
    row("snooping, agent dead", &Setup { snooping: true, ..Setup::default() }, |world| {
        let (node, start) = (owner(world, 0), world.now);
        world.kill_agent(node);
        world.run(ms(15_000));
        assert_eq!(owner(world, 0), node);
        start
    })
    .bounds(0, 0, 0);
}

#[test]
fn services_that_skip_the_question() {
    row("skip-ipv6-dad", &Setup { skip_probe: true, ..Setup::default() }, |world| {
        let start = world.now;
        let address = world.vip(7);
        world.want(address, Qualified::All, 0);
        world.run(ms(1000));
        let served = world.measure.addresses[&address].owners[0].0.since(start);
        // Delay of the watch, and three probes if they are not skipped.
        assert!(served < ms(if address.is_ipv6() { 31 } else { 100 }), "{served:?}");
        let node = owner(world, 7);
        let start = world.now;
        world.cut(node);
        world.run(ms(4000));
        start
    })
    .bounds(500, 999, 0);
}

#[test]
fn an_agent_that_starts_without_api_yields() {
    // Its node was cut and lost its addresses to others, its agent died, and the API server with what is wanted is away.
    row("start without API", &Setup::default(), |world| {
        let (node, start) = (owner(world, 0), world.now);
        world.cut(node);
        world.kill_agent(node);
        world.run(ms(5000));
        let heir = owner(world, 0);
        world.set_api(false);
        world.start_agent(node);
        wait(world, 300);
        let healed = world.now;
        world.heal(node);
        world.run(ms(5000));
        assert_eq!(owner(world, 0), heir);
        for address in world.wants.keys() {
            assert!(world.double(*address, healed) < ms(500), "{:?}", world.double(*address, healed));
        }
        world.set_api(true);
        world.run(ms(5000));
        start
    })
    .bounds(500, 999, 500);
}

#[test]
fn two_that_do_not_know_each_others_hardware_addresses() {
    let mut worst = Duration::ZERO;
    for seed in 1..=seeds(20) {
        let mut world = World::new(Setup { seed, nodes: 2, vips: 8, ..Setup::default() });
        for (node, other) in [(0, 1), (1, 0)] {
            let other = world.nodes[other].id.clone();
            world.unlisted.insert((node, other));
        }
        let start = world.now;
        world.power_on(0);
        world.power_on(1);
        world.run(ms(6000));
        for number in 0..8 {
            let seen = &world.measure.addresses[&world.vip(number)];
            worst = worst.max(seen.owners.first().map_or(ms(6000), |(at, _)| at.since(start)));
        }
    }
    println!("two strangers: worst time to an owner {worst:?}");
    assert!(worst < ms(3000));
}

#[test]
fn an_agent_that_left_and_came_back_is_a_candidate_again() {
    row("left and back", &Setup::default(), |world| {
        let (node, start) = (owner(world, 0), world.now);
        world.stop(node, Stop::Leaving);
        world.run(ms(500));
        world.kill_agent(node);
        // Soon enough that the others have not given the former boot up.
        world.start_agent(node);
        world.run(ms(3000));
        let id = world.nodes[node].id.clone();
        for (number, other) in world.nodes.iter().enumerate().filter(|(number, _)| *number != node) {
            let states = other.machine.iter().flat_map(ownership::Machine::member_states);
            let flags: Vec<u8> = states.filter(|state| state.node == id).map(|state| state.flags).collect();
            assert_eq!(flags, [ownership::wire::SELECTED], "as node {number} knows node {node}");
        }
        start
    })
    .bounds(500, 999, 0);
}
