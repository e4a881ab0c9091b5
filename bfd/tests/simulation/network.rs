//! The node, the router and the network between them, in simulated time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use bfd::report::PeerReport;
use bfd::wanted::WantedPeer;
use bfd::{Action, Datagram, Event, Hops, Packet, Rng, Role, State, Table, Time, Wanted};

pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The node, which is ours, and the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Node,
    Router,
}

impl End {
    pub const fn other(self) -> Self {
        match self {
            Self::Node => Self::Router,
            Self::Router => Self::Node,
        }
    }

    pub fn address(self) -> IpAddr {
        match self {
            Self::Node => "192.0.2.10".parse().unwrap(),
            Self::Router => "192.0.2.1".parse().unwrap(),
        }
    }
}

/// One end's process.
pub struct Process {
    pub table: Option<Table>,
    pub wanted: Wanted,
    pub report: Vec<PeerReport>,
    /// Not called before then; what arrives waits.
    pub paused: Time,
    pub waiting: Vec<Vec<u8>>,
}

pub struct Simulation {
    pub now: Time,
    pub rng: Rng,
    pub ends: [Process; 2],
    pub flying: BTreeMap<(Time, u64), (End, Vec<u8>)>,
    pub number: u64,
    /// In percent.
    pub loss: u32,
    /// In milliseconds.
    pub delay: u32,
    /// Packets do not overtake each other.
    pub ordered: bool,
    pub cut: bool,
    /// When each end changed its state.
    pub changes: Vec<(Time, End, State)>,
    /// When the node sent.
    pub sent: Vec<(Time, Packet)>,
    /// Times at which the node left Up without cause.
    pub violations: Vec<String>,
}

impl Simulation {
    pub fn new(seed: u64, router_interval: u32) -> Self {
        let process = |end: End, role| {
            let peer = WantedPeer {
                role,
                interval_milliseconds: router_interval,
                minimum_interval_milliseconds: if role == Role::Active { router_interval } else { 50 },
                ..WantedPeer::new(end.other().address())
            };
            Process {
                table: None,
                wanted: Wanted::new(vec![peer]),
                report: Vec::new(),
                paused: Time::default(),
                waiting: Vec::new(),
            }
        };
        let mut simulation = Self {
            now: Time::from_millis(1_000_000),
            rng: Rng::new(seed),
            ends: [process(End::Node, Role::Passive), process(End::Router, Role::Active)],
            flying: BTreeMap::new(),
            number: 0,
            loss: 0,
            delay: 1,
            ordered: false,
            cut: false,
            changes: Vec::new(),
            sent: Vec::new(),
            violations: Vec::new(),
        };
        simulation.start(End::Node);
        simulation.start(End::Router);
        simulation
    }

    pub fn end(&mut self, end: End) -> &mut Process {
        &mut self.ends[usize::from(end == End::Router)]
    }

    /// The node goes on with what its last process has left, the router begins anew.
    pub fn start(&mut self, end: End) {
        let seed = u64::from(self.rng.next());
        let process = self.end(end);
        let before = if end == End::Node { std::mem::take(&mut process.report) } else { Vec::new() };
        process.table = Some(Table::new(Rng::new(seed), &before));
        process.paused = Time::default();
        self.configure(end);
    }

    pub fn configure(&mut self, end: End) {
        let peers = self.end(end).wanted.peers().unwrap();
        self.handle(end, Event::Peers(peers.into_iter().map(|peer| (peer, vec!["test".to_owned()])).collect()));
    }

    /// As by `kill -9`: what the report has is all that stays.
    pub fn kill(&mut self, end: End) {
        self.end(end).table = None;
        self.end(end).waiting.clear();
    }

    pub fn handle(&mut self, end: End, event: Event<'_>) {
        let now = self.now;
        let before = self.state(end);
        let heard = match &event {
            Event::Datagram(datagram) => Packet::decode(datagram.bytes).ok().map(|packet| packet.state),
            _ => None,
        };
        let process = self.end(end);
        let Some(table) = &mut process.table else { return };
        let actions = table.handle(now, event);
        process.report = table.report();
        for action in actions {
            match action {
                Action::Send(packet) => self.send(end, packet.bytes.to_vec()),
                Action::Changed { transition, .. } => {
                    self.changes.push((now, end, transition.to));
                    let asked = matches!(heard, Some(State::Down | State::AdminDown));
                    if end == End::Node && before == State::Up && !asked && transition.diagnostic.bits() != 1 {
                        self.violations.push(format!("{now:?}: {transition:?} after {heard:?}"));
                    }
                }
                Action::Refused { .. } | Action::Close { .. } => {}
            }
        }
    }

    pub fn send(&mut self, from: End, bytes: Vec<u8>) {
        if from == End::Node {
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

    pub fn deliver(&mut self, to: End, bytes: &[u8]) {
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
    pub fn run(&mut self, time: Duration) {
        let until = self.now.after(time);
        loop {
            let due = |process: &Process| {
                let table = process.table.as_ref()?;
                let next = if process.waiting.is_empty() { table.next_deadline()? } else { Time::default() };
                Some(next.max(process.paused))
            };
            let timers = self.ends.iter().filter_map(due).min();
            let flying = self.flying.keys().next().map(|(at, _)| *at);
            let next = timers.into_iter().chain(flying).min().filter(|at| *at <= until);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            while let Some(entry) = self.flying.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (to, bytes) = entry.remove();
                if self.end(to).table.is_some() {
                    self.end(to).waiting.push(bytes);
                }
            }
            for end in [End::Node, End::Router] {
                let now = self.now;
                if self.end(end).paused > now {
                    continue;
                }
                for bytes in std::mem::take(&mut self.end(end).waiting) {
                    self.deliver(end, &bytes);
                }
                if self.end(end).table.as_ref().and_then(Table::next_deadline).is_some_and(|at| at <= now) {
                    self.handle(end, Event::Tick);
                }
            }
        }
        self.now = until;
    }

    pub fn state(&self, end: End) -> State {
        let process = &self.ends[usize::from(end == End::Router)];
        let session = process
            .table
            .as_ref()
            .and_then(|table| table.report().first()?.sessions.first().map(|session| session.state));
        session.unwrap_or(State::Down)
    }

    pub fn both_up(&self) -> bool {
        self.state(End::Node) == State::Up && self.state(End::Router) == State::Up
    }

    /// How often the router has lost the node since a moment.
    pub fn losses(&self, since: Time) -> usize {
        self.changes.iter().filter(|(at, end, to)| *at >= since && *end == End::Router && *to == State::Down).count()
    }

    /// A simulation in which both are Up and have agreed about their timers.
    pub fn up(seed: u64, router_interval: u32) -> Self {
        let mut simulation = Self::new(seed, router_interval);
        simulation.run(ms(5000));
        assert!(simulation.both_up(), "seed {seed}: {:?}", simulation.changes);
        simulation
    }
}
