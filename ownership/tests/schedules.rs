//! Random schedules: faults of every kind at random times, invariants at every step, and peace at the end.
//!
//! | Variable | Sets |
//! |---|---|
//! | `OWNERSHIP_SEEDS` | how many seeds of 2 to 5 nodes (default 10,000) |
//! | `OWNERSHIP_MEDIUM` | how many seeds of 12 to 24 nodes, on both sides of [`EAGER`] (default 32) |
//! | `OWNERSHIP_LARGE` | how many seeds of 50 nodes (default 100) |
//! | `OWNERSHIP_FROM` | the first seed (default 1) |
//! | `OWNERSHIP_SEED` | the seed of [`one_seed`] |
//!
//! The seeds are dealt out to several tests, so that a runner uses all processors. A failing seed prints its trace; it
//! then belongs into [`REGRESSIONS`].

// The helpers of a test may panic, like the test itself.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::struct_excessive_bools)]
#![allow(clippy::large_enum_variant, clippy::needless_pass_by_value, clippy::unused_self)]
#![allow(clippy::single_match_else, clippy::semicolon_if_nothing_returned)]

mod sim;

use std::net::IpAddr;
use std::time::Duration;

use ownership::membership::EAGER;
use ownership::{Qualified, Stop, Time};
use sim::network::Port;
use sim::world::Node;
use sim::{Family, Setup, World};

/// Seeds that failed once, with what they were drawn from.
///
/// The second draw's two: an agent that started without API server kept an address beside a stronger claim; the row
/// `an_agent_that_starts_without_api_yields` shows it without chance.
const REGRESSIONS: &[(Draw, &[u64])] =
    &[(Draw::First, &[35, 55, 219, 579, 682, 918, 1241, 1317, 1690, 6964]), (Draw::Second, &[2430, 4856])];

/// What a seed chooses from. A new kind of cluster or fault makes a new draw, so that seeds that failed stay what
/// they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Draw {
    /// IPv4 only, gateways that answer, 17 kinds of faults.
    First,
    /// All families, silent gateways, snooping switches, `skip-ipv6-dad`, 22 kinds of faults.
    Second,
    /// And probes 5 to 100 ms apart, differently on each cluster.
    Third,
}

/// Two answers of nodes that hear each other end within this, counted from the last fault.
const SETTLED: Duration = Duration::from_millis(1200);
/// Claims made without hearing each other's questions (`skip-ipv6-dad`, a snooping switch) end within this, whenever
/// they are made.
const UNASKED: Duration = Duration::from_millis(300);
/// Up to `EAGER` members claims are told to everybody, beyond that by rumour; in the last two most are heard of seldom.
const MEDIUM: [usize; 4] = [12, EAGER + 1, EAGER + 2, 24];
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
    draw: Draw,
    owners: Vec<Vec<usize>>,
}

impl Schedule {
    fn new(seed: u64, nodes: Option<usize>, draw: Draw) -> Self {
        let mut rng = ownership::rng::Rng::new(seed);
        let mut setup = Setup {
            nodes: nodes.unwrap_or(2 + rng.below(4)),
            vips: 1 + rng.below(5),
            two_networks: rng.below(3) == 0,
            gateway: rng.below(4) > 0,
            seed,
            ..Setup::default()
        };
        if draw != Draw::First {
            setup.family = Family::ALL[rng.below(3)];
            setup.silent_gateway = rng.below(6) == 0;
            setup.snooping = rng.below(6) == 0;
            setup.skip_probe = rng.below(6) == 0;
        }
        if draw == Draw::Third {
            setup.probe_interval = ms([5, 10, 10, 10, 30, 100][rng.below(6)]);
        }
        let mut world = World::settled(setup);
        if world.rng.below(3) == 0 {
            world.change("duplicates and delays", |net| {
                net.duplicates = 100;
                net.delay_spread_us = 3000;
            });
        }
        let fault = world.now;
        Self { world, fault, lossy: false, draw, owners: Vec::new() }
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
                self.world.client_asks(self.world.vip(0));
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
            let unasked = world.setup.skip_probe || world.setup.snooping;
            let allowed = unasked && world.now.since(world.measure.addresses[address].since) <= UNASKED;
            if answers.len() > 1 && speaking && !self.lossy && since > SETTLED && !allowed && self.connected(&answers) {
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
        match world.rng.below(if self.draw == Draw::First { 17 } else { 22 }) {
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
                    world.unwant(world.vip(number))
                } else {
                    world.want(world.vip(number), Qualified::All, world.now.as_micros())
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
            16 => {
                let port = world.port(node, 0);
                world.change(&format!("{node} is mute"), |net| {
                    net.mute.insert(port);
                });
            }
            17 => {
                let gone_first = world.rng.below(2) == 0;
                world.move_link(node, gone_first);
            }
            18 => world.set_gateway(!world.hosts[1].up),
            19 => {
                let number = world.rng.below(6);
                let address = world.vip(number);
                if world.nodes[node].kernel.contains(&address) && world.knows(node, address) {
                    world.delete_by_hand(node, address);
                }
            }
            20 => world.set_refusing(node, !world.nodes[node].refuses),
            _ => {
                world.stop(node, Stop::Restart);
                world.kill_agent(node);
                world.start_agent(node);
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
        if self.draw != Draw::First {
            world.set_gateway(true);
        }
        for node in 0..world.nodes.len() {
            world.heal(node);
            world.set_refusing(node, false);
            if !world.nodes[node].carrier {
                world.set_carrier(node, true);
            }
            if world.nodes[node].powered { world.start_agent(node) } else { world.power_on(node) }
        }
        self.lossy = false;
        self.fault = self.fault.max(self.world.now);
    }

    /// Something happens; after it no address is without an answer, or with two, for longer than so.
    fn event(&mut self, what: &str, without: Duration, double: Duration, happens: impl FnOnce(&mut World)) {
        let start = self.world.now;
        self.fault = start;
        happens(&mut self.world);
        self.run(ms(4000));
        let world = &self.world;
        let worst = |seen: fn(&World, IpAddr, Time) -> Duration| {
            world.wants.keys().map(|address| seen(world, *address, start)).max().unwrap_or_default()
        };
        let (none, two) = (worst(World::without), worst(World::double));
        println!("{what}: without an answer for {none:?}, with two for {two:?}");
        assert!(none <= without && two <= double, "{what}: {none:?} {two:?}");
        for address in world.wants.keys() {
            assert_eq!(world.answers(*address).len(), 1, "{address}");
        }
    }

    /// The agent is restarted: at first its new boot has a lower incarnation than the former one, and fewer claims.
    /// Some hear of it by rumour before they hear itself.
    fn restart(&mut self, node: usize) {
        for excluded in [true, false] {
            self.world.exclude(node, excluded);
            self.run(ms(1000));
        }
        let port = |host| Port { host, segment: 0 };
        let deaf = (0..self.world.nodes.len()).filter(|other| *other != node && other % 4 == 0);
        let pairs: Vec<_> = deaf.map(|other| (port(node), port(other))).collect();
        self.world.change("some do not hear it", |net| net.blocked.extend(&pairs));
        self.world.kill_agent(node);
        self.world.start_agent(node);
        self.world.run(ms(500));
        self.world.change("all hear it", |net| net.blocked.clear());
        self.fault = self.world.now;
        self.run(ms(2000));
    }

    /// An address that nobody else may have is wanted: how long until every machine knows that this node has it.
    fn known_everywhere(&mut self, node: usize, number: usize) -> Duration {
        let start = self.world.now;
        self.fault = start;
        let (address, owner) = (self.world.vip(number), self.world.nodes[node].id.clone());
        self.world.want(address, Qualified::Tiers(vec![[owner.clone()].into()]), 0);
        let knows = |node: &Node| {
            let state = |machine: &ownership::Machine| machine.address(address);
            node.machine.as_ref().is_none_or(|machine| state(machine).is_some_and(|s| s.owner.as_ref() == Some(&owner)))
        };
        while !self.world.nodes.iter().all(knows) {
            let took = self.world.now.since(start);
            assert!(took < ms(9000), "{number} is not known everywhere");
            self.run(ms(50));
        }
        self.world.now.since(start)
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

fn schedule(seed: u64, nodes: Option<usize>, faults: usize, draw: Draw) {
    let mut schedule = Schedule::new(seed, nodes, draw);
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

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Each `of`-th seed, beginning with the `share`-th.
fn seeds(name: &str, default: u64, share: u64, of: u64) -> impl Iterator<Item = u64> {
    let from = number("OWNERSHIP_FROM").unwrap_or(1);
    (from..from + number(name).unwrap_or(default)).filter(move |seed| seed % of == share)
}

#[test]
fn seeds_that_failed_once() {
    for (draw, seeds) in REGRESSIONS {
        for seed in *seeds {
            schedule(*seed, None, 12, *draw);
        }
    }
}

/// By hand: `OWNERSHIP_SEED=35 cargo test -p ownership --test schedules -- --ignored one_seed`.
#[test]
#[ignore = "for a seed that failed"]
fn one_seed() {
    schedule(number("OWNERSHIP_SEED").unwrap_or(1), None, 12, Draw::Third);
}

macro_rules! shares {
    ($of:literal: $($share:literal $name:ident)*) => {
        $(
            #[test]
            fn $name() {
                for seed in seeds("OWNERSHIP_SEEDS", 10_000, $share, $of) {
                    schedule(seed, None, 12, Draw::Third);
                }
                for seed in seeds("OWNERSHIP_MEDIUM", 32, $share, $of) {
                    schedule(seed, Some(MEDIUM[usize::try_from(seed).unwrap() % MEDIUM.len()]), 10, Draw::Third);
                }
                for seed in seeds("OWNERSHIP_LARGE", 100, $share, $of) {
                    schedule(seed, Some(50), 10, Draw::Third);
                }
            }
        )*
    };
}

shares!(16: 0 random_00 1 random_01 2 random_02 3 random_03 4 random_04 5 random_05 6 random_06 7 random_07 8 random_08 9 random_09 10 random_10 11 random_11 12 random_12 13 random_13 14 random_14 15 random_15);

/// Far sooner than everybody has pinged everybody, also of a node whose former boots had more claims than it has now.
#[test]
fn claims_of_a_restarted_node_are_known_everywhere() {
    for nodes in MEDIUM.into_iter().chain([50]) {
        // In a small cluster, who did not hear the new boot start hears it when they next ping each other.
        let missed = if nodes > EAGER + 1 { ms(1000) } else { ms(500) * u32::try_from(nodes).unwrap() };
        let mut worst = [ms(0); 2];
        for seed in 1..=3 {
            let mut world = World::settled(Setup { nodes, vips: 1, seed, ..Setup::default() });
            let node = world.rng.below(nodes);
            let fault = world.now;
            let mut schedule = Schedule { world, fault, lossy: false, draw: Draw::Third, owners: Vec::new() };
            for (restarts, worst) in worst.iter_mut().enumerate() {
                for number in 1..=5 {
                    *worst = (*worst).max(schedule.known_everywhere(node, number));
                    // Versions that the next boot does not reach.
                    schedule.world.unwant(schedule.world.vip(number));
                    schedule.run(ms(500));
                }
                if restarts == 0 {
                    schedule.restart(node);
                    schedule.restart(node);
                }
            }
        }
        println!("{nodes} nodes: {:?} before, {:?} after two restarts", worst[0], worst[1]);
        assert!(worst[0] <= ms(1000) && worst[1] <= missed, "{nodes} nodes: {worst:?}");
    }
}

/// One network of a thousand nodes: what it costs at rest, and an owner that is cut off, comes back, crashes, is
/// excluded, and whose agent is restarted twice. By hand:
/// `cargo test -p ownership --test schedules -- --ignored thousand --nocapture`.
#[test]
#[ignore = "takes minutes"]
fn thousand_nodes() {
    let (nodes, vips) = (1000, 100);
    let mut world = World::new(Setup { nodes, vips, seed: 1, ..Setup::default() });
    for node in 0..nodes {
        world.power_on(node);
        if node % 100 == 99 {
            world.run(ms(100));
        }
    }
    let fault = world.now;
    let mut schedule = Schedule { world, fault, lossy: false, draw: Draw::Third, owners: Vec::new() };
    schedule.run(ms(10_000));
    let traffic = |world: &World| {
        let sum = |count: fn(&Node) -> u64| world.nodes.iter().map(count).sum::<u64>();
        [sum(|node| node.sent), sum(|node| node.bytes)]
    };
    let before = traffic(&schedule.world);
    schedule.run(ms(5000));
    let [datagrams, bytes] = [0, 1].map(|what| (traffic(&schedule.world)[what] - before[what]) / 5000);
    println!("at rest, per node and second: {datagrams} datagrams of {bytes} bytes together");
    assert!(datagrams <= 80 && bytes <= 12_000, "{datagrams} datagrams, {bytes} bytes");

    let victim = schedule.world.owner(schedule.world.vip(0)).unwrap();
    schedule.event("cut off", ms(1000), ms(0), |world| world.cut(victim));
    schedule.event("back", ms(0), ms(300), |world| world.heal(victim));
    let victim = schedule.world.owner(schedule.world.vip(0)).unwrap();
    schedule.event("crashed", ms(1000), ms(0), |world| world.power_off(victim));
    let victim = schedule.world.owner(schedule.world.vip(0)).unwrap();
    schedule.event("excluded", ms(10), ms(0), |world| world.exclude(victim, true));
    assert_ne!(schedule.world.owner(schedule.world.vip(0)), Some(victim));
    schedule.restart(victim);
    schedule.restart(victim);
    let known = schedule.known_everywhere(victim, vips);
    println!("restarted twice: what it claims next is known everywhere after {known:?}");
    assert!(known <= ms(2000), "{known:?}");
}
