//! Random schedules: faults of every kind at random times, invariants at every step, and peace at the end.
//!
//! `OWNERSHIP_SEEDS` sets how many (default 150), `OWNERSHIP_SEED` runs one. A failing seed prints its trace; it then
//! belongs into [`REGRESSIONS`].

// The helpers of a test may panic, like the test itself.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::struct_excessive_bools)]
#![allow(clippy::large_enum_variant, clippy::needless_pass_by_value, clippy::unused_self)]
#![allow(clippy::single_match_else, clippy::semicolon_if_nothing_returned)]

mod sim;

use std::time::Duration;

use ownership::{Qualified, Time};
use sim::world::vip;
use sim::{Setup, World};

/// Seeds that failed once.
const REGRESSIONS: &[u64] = &[35, 55, 219, 579, 682, 918, 1241, 1317, 1690, 6964];

/// Two answers of nodes that hear each other end within this, counted from the last fault.
const SETTLED: Duration = Duration::from_millis(1200);
/// Without a fault for so long, nothing moves any more.
const QUIET: Duration = Duration::from_secs(9);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

struct Schedule {
    world: World,
    /// The last fault or repair.
    fault: Time,
    lossy: bool,
    owners: Vec<Vec<usize>>,
}

impl Schedule {
    fn new(seed: u64, nodes: Option<usize>) -> Self {
        let mut rng = ownership::rng::Rng::new(seed);
        let setup = Setup {
            nodes: nodes.unwrap_or(2 + rng.below(4)),
            vips: 1 + rng.below(5),
            two_networks: rng.below(3) == 0,
            gateway: rng.below(4) > 0,
            client: true,
            seed,
        };
        let mut world = World::settled(setup);
        if world.rng.below(3) == 0 {
            world.change("duplicates and delays", |net| {
                net.duplicates = 100;
                net.delay_spread_us = 3000;
            });
        }
        let fault = world.now;
        Self { world, fault, lossy: false, owners: Vec::new() }
    }

    fn node(&mut self) -> usize {
        let count = self.world.nodes.len();
        self.world.rng.below(count)
    }

    /// Runs in steps of 50 ms and checks after each.
    fn run(&mut self, length: Duration) {
        let end = self.world.now + length;
        while self.world.now < end {
            self.world.run(ms(50));
            if self.world.rng.below(20) == 0 {
                self.world.client_asks(vip(0));
            }
            self.check();
        }
    }

    fn check(&mut self) {
        let world = &self.world;
        let since = world.now.since(self.fault);
        let mut owners = Vec::new();
        for address in world.wants.keys() {
            let answers = world.answers(*address);
            let speaking =
                answers.iter().all(|node| world.nodes[*node].machine.is_some() && !world.nodes[*node].paused);
            if answers.len() > 1 && speaking && !self.lossy && since > SETTLED && self.connected(&answers) {
                world.fail(&format!("{answers:?} both answer for {address}, {since:?} after the last fault"));
            }
            owners.push(answers);
        }
        if since > QUIET && self.owners.len() == owners.len() && self.owners != owners {
            world.fail(&format!("answers changed from {:?} to {owners:?} without a cause", self.owners));
        }
        self.owners = owners;
    }

    /// Whether nodes reach each other on every network.
    fn connected(&self, nodes: &[usize]) -> bool {
        let world = &self.world;
        let segments = if world.setup.two_networks { 2 } else { 1 };
        (0..segments).all(|segment| {
            nodes
                .iter()
                .all(|a| nodes.iter().all(|b| world.net.both_ways(world.port(*a, segment), world.port(*b, segment))))
        })
    }

    fn disturb(&mut self) {
        let node = self.node();
        let other = self.node();
        let world = &mut self.world;
        match world.rng.below(17) {
            0 => world.cut(node),
            1 | 2 => world.heal(node),
            3 => world.kill_agent(node),
            4 | 5 => world.start_agent(node),
            6 => world.power_off(node),
            7 => {
                if !world.nodes[node].powered {
                    world.power_on(node);
                }
            }
            8 => {
                let length = ms(u64::try_from(world.rng.below(6000)).unwrap());
                world.pause(node, length);
                self.fault = self.fault.max(world.now + length);
                return;
            }
            9 => {
                let (a, b) = (world.port(node, 0), world.port(other, 0));
                world.change(&format!("one way {node} -> {other} blocked"), |net| {
                    net.blocked.insert((a, b));
                });
            }
            10 => {
                let loss = [0, 50, 200][world.rng.below(3)];
                world.change(&format!("loss {loss}"), |net| net.loss = loss);
                self.lossy |= loss > 0;
            }
            11 => {
                let api = !world.api;
                world.set_api(api);
            }
            12 => {
                let excluded = !world.nodes[node].excluded;
                world.exclude(node, excluded);
            }
            13 => {
                let number = world.rng.below(6);
                if world.rng.below(3) == 0 {
                    world.unwant(vip(number))
                } else {
                    world.want(vip(number), Qualified::All, world.now.as_micros())
                }
            }
            14 => {
                let carrier = !world.nodes[node].carrier;
                world.set_carrier(node, carrier);
            }
            15 => {
                let port = world.port(node, 0);
                world.change(&format!("{node} is deaf"), |net| {
                    net.deaf.insert(port);
                });
            }
            _ => {
                let port = world.port(node, 0);
                world.change(&format!("{node} is mute"), |net| {
                    net.mute.insert(port);
                });
            }
        }
        self.fault = self.fault.max(self.world.now);
    }

    fn repair(&mut self) {
        let world = &mut self.world;
        world.change("everything is repaired", |net| {
            net.blocked.clear();
            net.loss = 0;
        });
        if !world.api {
            world.set_api(true);
        }
        for node in 0..world.nodes.len() {
            world.heal(node);
            if !world.nodes[node].carrier {
                world.set_carrier(node, true);
            }
            if world.nodes[node].powered { world.start_agent(node) } else { world.power_on(node) }
        }
        self.lossy = false;
        self.fault = self.fault.max(self.world.now);
    }

    /// Exactly one answer for what is wanted, none for the rest.
    fn peace(&mut self) {
        self.run(ms(12_000));
        let world = &self.world;
        for address in world.measure.addresses.keys() {
            let answers = world.answers(*address);
            let expected = usize::from(world.wants.contains_key(address));
            if answers.len() != expected {
                world.fail(&format!("{answers:?} answer for {address} in peace, {expected} should"));
            }
        }
        for node in &world.nodes {
            let agrees = node.machine.as_ref().is_some_and(|machine| {
                world.wants.keys().all(|address| machine.address(*address).is_some_and(|state| state.owner.is_some()))
            });
            if !agrees {
                world.fail(&format!("{} does not know an owner", node.id));
            }
        }
    }
}

fn schedule(seed: u64, nodes: Option<usize>, faults: usize) {
    let mut schedule = Schedule::new(seed, nodes);
    for _ in 0..faults {
        schedule.disturb();
        let pause = match schedule.world.rng.below(4) {
            0 => 30,
            1 => 400,
            2 => 1500,
            _ => 4000,
        };
        let pause = u64::try_from(schedule.world.rng.below(pause)).unwrap();
        schedule.run(ms(pause));
    }
    schedule.repair();
    schedule.peace();
}

#[test]
fn random_schedules() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("OWNERSHIP_SEED") {
        return schedule(seed, None, 12);
    }
    let from = number("OWNERSHIP_FROM").unwrap_or(1);
    for seed in REGRESSIONS.iter().copied().chain(from..from + number("OWNERSHIP_SEEDS").unwrap_or(150)) {
        schedule(seed, None, 12);
    }
}

#[test]
fn fifty_nodes() {
    let count = std::env::var("OWNERSHIP_LARGE").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    for seed in 1..=count {
        schedule(seed, Some(50), 10);
    }
}

/// By hand: `cargo test -p ownership --test schedules -- --ignored thousand --nocapture`.
#[test]
#[ignore = "takes minutes"]
fn thousand_nodes() {
    let setup = Setup { nodes: 1000, vips: 100, seed: 1, ..Setup::default() };
    let mut world = World::settled(setup);
    let start = world.now;
    let sent: u64 = world.nodes.iter().map(|node| node.sent).sum();
    world.run(ms(10_000));
    let rate = (world.nodes.iter().map(|node| node.sent).sum::<u64>() - sent) / 10_000;
    println!("datagrams per node and second: {rate}");
    for number in 0..100 {
        assert_eq!(world.answers(vip(number)).len(), 1, "{number}");
    }
    let node = world.owner(vip(0)).unwrap();
    world.cut(node);
    world.run(ms(5000));
    for number in 0..100 {
        let (without, double) = (world.without(vip(number), start), world.double(vip(number), start));
        assert!(without < ms(1000) && double.is_zero(), "{without:?} {double:?}");
    }
}
