//! Two speakers on a network that loses, delays and reorders, with restarts and pauses, from fixed seeds.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use bfd::report::PeerReport;
use bfd::wanted::WantedPeer;
use bfd::{Action, Datagram, Event, Hops, Packet, Rng, Role, State, Table, Time, Wanted};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The node, which is ours, and the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Node,
    Router,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Node => Self::Router,
            Self::Router => Self::Node,
        }
    }

    fn address(self) -> IpAddr {
        match self {
            Self::Node => "192.0.2.10".parse().unwrap(),
            Self::Router => "192.0.2.1".parse().unwrap(),
        }
    }
}

/// One side's process.
struct Process {
    table: Option<Table>,
    wanted: Wanted,
    report: Vec<PeerReport>,
    /// Not called before then; what arrives waits.
    paused: Time,
    waiting: Vec<Vec<u8>>,
}

struct World {
    now: Time,
    rng: Rng,
    sides: [Process; 2],
    flying: BTreeMap<(Time, u64), (Side, Vec<u8>)>,
    number: u64,
    /// In percent.
    loss: u32,
    /// In milliseconds.
    delay: u32,
    /// Packets do not overtake each other.
    ordered: bool,
    cut: bool,
    /// When each side changed its state.
    changes: Vec<(Time, Side, State)>,
    /// When the node sent.
    sent: Vec<(Time, Packet)>,
    /// What the node said and heard contradict the rule that a living node does not say Down by itself.
    lies: Vec<String>,
}

impl World {
    fn new(seed: u64, router_interval: u32) -> Self {
        let process = |side: Side, role| {
            let peer = WantedPeer {
                role,
                interval_milliseconds: router_interval,
                minimum_interval_milliseconds: if role == Role::Active { router_interval } else { 50 },
                ..WantedPeer::new(side.other().address())
            };
            Process {
                table: None,
                wanted: Wanted::new(vec![peer]),
                report: Vec::new(),
                paused: Time::default(),
                waiting: Vec::new(),
            }
        };
        let mut world = Self {
            now: Time::from_millis(1_000_000),
            rng: Rng::new(seed),
            sides: [process(Side::Node, Role::Passive), process(Side::Router, Role::Active)],
            flying: BTreeMap::new(),
            number: 0,
            loss: 0,
            delay: 1,
            ordered: false,
            cut: false,
            changes: Vec::new(),
            sent: Vec::new(),
            lies: Vec::new(),
        };
        world.start(Side::Node);
        world.start(Side::Router);
        world
    }

    fn side(&mut self, side: Side) -> &mut Process {
        &mut self.sides[usize::from(side == Side::Router)]
    }

    /// The node goes on with what its last process has left, the router begins anew.
    fn start(&mut self, side: Side) {
        let seed = u64::from(self.rng.next());
        let process = self.side(side);
        let before = if side == Side::Node { std::mem::take(&mut process.report) } else { Vec::new() };
        process.table = Some(Table::new(Rng::new(seed), &before));
        process.paused = Time::default();
        self.configure(side);
    }

    fn configure(&mut self, side: Side) {
        let peers = self.side(side).wanted.peers().unwrap();
        self.handle(side, Event::Peers(peers.into_iter().map(|peer| (peer, vec!["test".to_owned()])).collect()));
    }

    /// As by `kill -9`: what the report has is all that stays.
    fn kill(&mut self, side: Side) {
        self.side(side).table = None;
        self.side(side).waiting.clear();
    }

    fn handle(&mut self, side: Side, event: Event<'_>) {
        let now = self.now;
        let before = self.state(side);
        let heard = match &event {
            Event::Datagram(datagram) => Packet::decode(datagram.bytes).ok().map(|packet| packet.state),
            _ => None,
        };
        let process = self.side(side);
        let Some(table) = &mut process.table else { return };
        let actions = table.handle(now, event);
        process.report = table.report();
        for action in actions {
            match action {
                Action::Send(packet) => self.send(side, packet.bytes.to_vec()),
                Action::Changed { transition, .. } => {
                    self.changes.push((now, side, transition.to));
                    let asked = matches!(heard, Some(State::Down | State::AdminDown));
                    if side == Side::Node && before == State::Up && !asked && transition.diagnostic.bits() != 1 {
                        self.lies.push(format!("{now:?}: {transition:?} after {heard:?}"));
                    }
                }
                Action::Refused { .. } | Action::Close { .. } => {}
            }
        }
    }

    fn send(&mut self, from: Side, bytes: Vec<u8>) {
        if from == Side::Node {
            let packet = Packet::decode(&bytes).unwrap();
            assert_ne!(packet.state, State::AdminDown);
            assert!(!(packet.poll && packet.final_));
            self.sent.push((self.now, packet));
        }
        if self.cut || self.rng.up_to(99) < self.loss {
            return;
        }
        let delay = ms(u64::from(self.rng.up_to(self.delay)));
        self.number += 1;
        let last = self.flying.keys().next_back().map_or(Time::default(), |(at, _)| *at);
        let arrives = if self.ordered { self.now.after(delay).max(last) } else { self.now.after(delay) };
        self.flying.insert((arrives, self.number), (from.other(), bytes));
    }

    fn deliver(&mut self, to: Side, bytes: &[u8]) {
        let datagram = Datagram {
            source: to.other().address(),
            interface: "eth0",
            destination: to.address(),
            hops: Hops::Single,
            ttl: 255,
            bytes,
        };
        self.handle(to, Event::Datagram(datagram));
    }

    /// Goes on for so long.
    fn run(&mut self, time: Duration) {
        let end = self.now.after(time);
        loop {
            let due = |process: &Process| {
                let table = process.table.as_ref()?;
                let next = if process.waiting.is_empty() { table.next_deadline()? } else { Time::default() };
                Some(next.max(process.paused))
            };
            let timers = self.sides.iter().filter_map(due).min();
            let flying = self.flying.keys().next().map(|(at, _)| *at);
            let next = timers.into_iter().chain(flying).min().filter(|at| *at <= end);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            while let Some(entry) = self.flying.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (to, bytes) = entry.remove();
                if self.side(to).table.is_some() {
                    self.side(to).waiting.push(bytes);
                }
            }
            for side in [Side::Node, Side::Router] {
                let now = self.now;
                if self.side(side).paused > now {
                    continue;
                }
                for bytes in std::mem::take(&mut self.side(side).waiting) {
                    self.deliver(side, &bytes);
                }
                if self.side(side).table.as_ref().and_then(Table::next_deadline).is_some_and(|at| at <= now) {
                    self.handle(side, Event::Tick);
                }
            }
        }
        self.now = end;
    }

    fn state(&self, side: Side) -> State {
        let process = &self.sides[usize::from(side == Side::Router)];
        let session = process
            .table
            .as_ref()
            .and_then(|table| table.report().first()?.sessions.first().map(|session| session.state));
        session.unwrap_or(State::Down)
    }

    fn both_up(&self) -> bool {
        self.state(Side::Node) == State::Up && self.state(Side::Router) == State::Up
    }

    /// How often the router has lost the node since a moment.
    fn losses(&self, since: Time) -> usize {
        self.changes.iter().filter(|(at, side, to)| *at >= since && *side == Side::Router && *to == State::Down).count()
    }

    /// A world in which both are Up and have agreed about their timers.
    fn up(seed: u64, router_interval: u32) -> Self {
        let mut world = Self::new(seed, router_interval);
        world.run(ms(5000));
        assert!(world.both_up(), "seed {seed}: {:?}", world.changes);
        world
    }
}

#[test]
fn undisturbed_for_an_hour() {
    for (seed, interval) in [(1, 300), (2, 100), (3, 50), (4, 1000)] {
        let mut world = World::up(seed, interval);
        let start = world.now;
        world.run(ms(3_600_000));
        assert!(world.both_up());
        assert_eq!(world.losses(start), 0);
        let interval = u64::from(interval.max(50));
        let mut gaps: Vec<Duration> = Vec::new();
        let sent: Vec<Time> = world.sent.iter().map(|(at, _)| *at).filter(|at| *at > start.after(ms(2000))).collect();
        gaps.extend(sent.windows(2).map(|pair| pair[1].since(pair[0])));
        assert!(gaps.iter().all(|gap| *gap >= ms(interval) * 3 / 4 && *gap <= ms(interval)), "{:?}", gaps.iter().max());
        // The jitter uses its window.
        let mean = gaps.iter().sum::<Duration>() / u32::try_from(gaps.len()).unwrap();
        assert!(mean > ms(interval) * 86 / 100 && mean < ms(interval) * 89 / 100, "{mean:?}");
    }
}

#[test]
fn a_router_notices_a_cut_within_its_detection_time() {
    for seed in 0..200 {
        let mut world = World::up(seed, 300);
        world.run(ms(u64::from(world.rng.clone().up_to(1000))));
        world.cut = true;
        let start = world.now;
        world.run(ms(901));
        assert_eq!(world.losses(start), 1, "seed {seed}");
        // It comes back by itself.
        world.run(ms(20_000));
        world.cut = false;
        world.run(ms(5000));
        assert!(world.both_up(), "seed {seed}");
        assert_eq!(world.lies, Vec::<String>::new());
    }
}

#[test]
fn a_killed_process_is_back_in_the_same_session() {
    for seed in 0..200 {
        let mut world = World::up(seed, 300);
        let start = world.now;
        for _ in 0..20 {
            let (gap, rest) = (u64::from(world.rng.up_to(590)), u64::from(world.rng.up_to(3000)));
            world.kill(Side::Node);
            world.run(ms(gap));
            world.start(Side::Node);
            world.run(ms(rest));
        }
        assert_eq!(world.losses(start), 0, "seed {seed}");
        assert!(world.both_up());
        assert_eq!(world.lies, Vec::<String>::new());
    }
}

#[test]
fn a_planned_restart_is_no_event() {
    for seed in 0..100 {
        let mut world = World::up(seed, 100);
        // A packet from before the Poll that arrives after it would undo it.
        (world.delay, world.ordered) = (20, true);
        world.run(ms(50));
        let start = world.now;
        for _ in 0..10 {
            world.handle(Side::Node, Event::SlowDown(ms(30_000)));
            let deadline = world.now.after(ms(3000));
            while !world.side(Side::Node).table.as_ref().unwrap().is_slow() && world.now < deadline {
                world.run(ms(1));
            }
            world.kill(Side::Node);
            world.run(ms(20_000));
            world.start(Side::Node);
            world.run(ms(3000));
            // As fast as before.
            let report = &world.side(Side::Router).table.as_ref().unwrap().report()[0].sessions[0];
            assert_eq!(report.detection_time_microseconds, 300_000, "seed {seed}");
        }
        assert_eq!(world.losses(start), 0, "seed {seed}");
        assert_eq!(world.lies, Vec::<String>::new());
    }
}

#[test]
fn changed_settings_flap_nothing() {
    for seed in 0..100 {
        let mut world = World::up(seed, 100);
        world.loss = 3;
        world.side(Side::Router).wanted.peers[0].multiplier = 10;
        world.side(Side::Node).wanted.peers[0].multiplier = 10;
        world.configure(Side::Node);
        world.configure(Side::Router);
        world.run(ms(3000));
        let start = world.now;
        for _ in 0..30 {
            let (side, interval) = if world.rng.up_to(1) == 0 { (Side::Node, 50) } else { (Side::Router, 100) };
            let interval = interval + world.rng.up_to(900);
            let peer = &mut world.side(side).wanted.peers[0];
            (peer.interval_milliseconds, peer.minimum_interval_milliseconds) = (interval, interval);
            world.configure(side);
            let rest = u64::from(world.rng.up_to(4000));
            world.run(ms(rest));
        }
        assert_eq!(world.losses(start), 0, "seed {seed}: {:?}", world.changes);
        assert!(world.both_up());
    }
}

#[test]
fn a_restarted_router_is_followed() {
    for seed in 0..200 {
        let mut world = World::up(seed, 300);
        let gap = u64::from(world.rng.up_to(5000));
        world.kill(Side::Router);
        world.run(ms(gap));
        world.start(Side::Router);
        world.run(ms(4000));
        assert!(world.both_up(), "seed {seed}: {:?}", world.changes);
        let since = world.now;
        world.run(ms(10_000));
        assert_eq!(world.losses(since), 0);
        assert_eq!(world.lies, Vec::<String>::new());
    }
}

#[test]
fn a_paused_process_keeps_the_session() {
    for seed in 0..200 {
        let mut world = World::up(seed, 300);
        let start = world.now;
        for _ in 0..20 {
            let side = if world.rng.up_to(1) == 0 { Side::Node } else { Side::Router };
            let pause = u64::from(world.rng.up_to(550));
            world.side(side).paused = world.now.after(ms(pause));
            world.run(ms(2000));
        }
        assert_eq!(world.losses(start), 0, "seed {seed}: {:?}", world.changes);
    }
}

/// The node's machine stands still, and its clock jumps when it goes on: nobody listened meanwhile.
#[test]
fn a_jump_of_the_clock_is_no_silence() {
    for seed in 0..100 {
        let mut world = World::up(seed, 300);
        let start = world.now;
        let jump = 500 + u64::from(world.rng.up_to(60_000));
        // The router's machine stands still as well.
        world.flying.clear();
        world.now = world.now.after(ms(jump));
        world.run(ms(5000));
        assert!(world.both_up(), "seed {seed}");
        assert_eq!(world.losses(start), 0, "seed {seed}: {:?}", world.changes);
    }
}

#[test]
fn whatever_happened_it_comes_up_again() {
    for seed in 0..300 {
        let mut world = World::new(seed, [50, 100, 300, 1000][usize::try_from(seed % 4).unwrap()]);
        for _ in 0..30 {
            world.loss = world.rng.up_to(60);
            world.delay = world.rng.up_to(400);
            world.cut = world.rng.up_to(9) == 0;
            let rest = u64::from(world.rng.up_to(3000));
            let pause = u64::from(world.rng.up_to(2000));
            let side = if world.rng.up_to(1) == 0 { Side::Node } else { Side::Router };
            match world.rng.up_to(5) {
                0 => {
                    world.kill(side);
                    world.run(ms(pause));
                    world.start(side);
                }
                1 => world.side(side).paused = world.now.after(ms(pause)),
                2 => world.handle(Side::Node, Event::SlowDown(ms(10_000))),
                3 => world.now = world.now.after(ms(pause)),
                _ => {}
            }
            world.run(ms(rest));
        }
        assert_eq!(world.lies, Vec::<String>::new(), "seed {seed}");
        (world.loss, world.delay, world.cut) = (0, 5, false);
        world.kill(Side::Node);
        world.start(Side::Node);
        world.run(ms(70_000));
        assert!(world.both_up(), "seed {seed}: {:?}", world.changes.last_chunk::<4>());
        let since = world.now;
        world.run(ms(20_000));
        assert_eq!(world.losses(since), 0, "seed {seed}");
    }
}

/// What loss alone does, by the arithmetic of the protocol: a session is lost when all packets of a detection time are.
#[test]
fn a_fifth_of_all_packets_lost() {
    let mut lost = 0;
    for seed in 0..20 {
        let mut world = World::up(seed, 300);
        let start = world.now;
        world.loss = 20;
        world.run(ms(600_000));
        lost += world.losses(start);
        world.loss = 0;
        world.run(ms(5000));
        assert!(world.both_up());
        assert_eq!(world.lies, Vec::<String>::new());
    }
    // 20 times 10 minutes, both directions: 0.008 for each of 3.4 packets a second.
    println!("{lost} times in 200 minutes");
    assert!((100..1200).contains(&lost), "{lost}");
}
