//! The world: nodes, kernels, agents, hosts, an API server, and time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ownership::rng::Rng;
use ownership::{
    Action, Ask, BootId, Config, Epoch, Event, Fact, Frame, Keys, Link, LinkId, Mac, Machine, NodeId, Peer, Place,
    Qualified, Stop, Time, Want,
};

use super::measure::Measure;
use super::network::{Network, Port};

pub const PORT: u16 = 7475;

#[derive(Debug, Clone)]
pub struct Setup {
    pub nodes: usize,
    pub vips: usize,
    /// Gossip has a network of its own (segment 1).
    pub two_networks: bool,
    pub gateway: bool,
    pub client: bool,
    pub seed: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self { nodes: 3, vips: 3, two_networks: false, gateway: true, client: true, seed: 1 }
    }
}

pub struct Node {
    pub id: NodeId,
    pub machine: Option<Machine>,
    pub powered: bool,
    pub paused: bool,
    buffered: VecDeque<Event>,
    pub kernel: BTreeMap<IpAddr, Option<Time>>,
    pub file: BTreeMap<IpAddr, Epoch>,
    pub carrier: bool,
    wake: Option<Time>,
    boots: u128,
    version: u64,
    pub excluded: bool,
    /// Answered for on the wire, though not held.
    pub ipvs: BTreeSet<IpAddr>,
    pub facts: Vec<(Time, Fact)>,
    pub sent: u64,
}

/// A host that is no member: the client, the gateway, a foreign host.
pub struct Host {
    pub addresses: BTreeSet<IpAddr>,
    pub up: bool,
}

#[derive(Debug, Clone)]
enum What {
    Wake(usize),
    Deliver(usize, Event),
    /// A question for `target` reaches a host; it may answer.
    Asked {
        to: usize,
        by: usize,
        target: IpAddr,
        segment: usize,
    },
    Pause(usize, bool),
}

pub struct World {
    pub setup: Setup,
    pub now: Time,
    pub rng: Rng,
    pub net: Network,
    pub nodes: Vec<Node>,
    pub hosts: Vec<Host>,
    pub measure: Measure,
    pub wants: BTreeMap<IpAddr, Want>,
    pub api: bool,
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    events: BTreeMap<u64, What>,
    count: u64,
    trace: VecDeque<String>,
    pub epochs: BTreeMap<IpAddr, BTreeMap<Epoch, usize>>,
    pub moves: BTreeMap<IpAddr, Vec<(Time, usize)>>,
    measured: bool,
    /// No datagram passes anywhere.
    pub block_udp: bool,
}

pub fn vip(number: usize) -> IpAddr {
    IpAddr::from([10, 0, 200, u8::try_from(number).unwrap()])
}

pub fn own(node: usize, segment: usize) -> IpAddr {
    let [high, low] = u16::try_from(node + 1).unwrap().to_be_bytes();
    IpAddr::from([10, u8::try_from(segment).unwrap(), high, low])
}

fn mac(host: usize, segment: usize) -> Mac {
    let [high, low] = u16::try_from(host).unwrap().to_be_bytes();
    Mac([2, 0, u8::try_from(segment).unwrap(), 0, high, low])
}

pub const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 199, 1));
pub const GATEWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 199, 254));

impl World {
    pub fn new(setup: Setup) -> Self {
        let rng = Rng::new(setup.seed);
        let net = Network { delay_min_us: 50, delay_spread_us: 400, ..Network::default() };
        let nodes = (0..setup.nodes).map(|number| Node {
            id: NodeId::new(&format!("node-{number}")).unwrap(),
            machine: None,
            powered: false,
            paused: false,
            buffered: VecDeque::new(),
            kernel: BTreeMap::new(),
            file: BTreeMap::new(),
            carrier: true,
            wake: None,
            boots: 0,
            version: 0,
            excluded: false,
            ipvs: BTreeSet::new(),
            facts: Vec::new(),
            sent: 0,
        });
        let nodes = nodes.collect();
        let mut hosts = Vec::new();
        for (there, address) in [(setup.client, CLIENT), (setup.gateway, GATEWAY)] {
            hosts.push(Host { addresses: [address].into(), up: there });
        }
        let mut world = Self {
            now: Time::from_micros(1_000_000_000),
            rng,
            net,
            nodes,
            hosts,
            measure: Measure::default(),
            wants: BTreeMap::new(),
            api: true,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            count: 0,
            trace: VecDeque::new(),
            epochs: BTreeMap::new(),
            moves: BTreeMap::new(),
            measured: false,
            block_udp: false,
            setup,
        };
        for number in 0..world.setup.vips {
            world.want(vip(number), Qualified::All, 0);
        }
        world
    }

    /// All nodes start within half a second, and settle.
    pub fn settled(setup: Setup) -> Self {
        let mut world = Self::new(setup);
        for node in 0..world.nodes.len() {
            world.power_on(node);
            let pause = u64::try_from(world.rng.below(100)).unwrap();
            world.run(Duration::from_millis(pause));
        }
        world.run(Duration::from_secs(8));
        world
    }

    pub fn host(&self, index: usize) -> usize {
        self.nodes.len() + index
    }

    pub fn add_foreign(&mut self, address: IpAddr) -> usize {
        self.hosts.push(Host { addresses: [address].into(), up: true });
        self.measured = false;
        self.host(self.hosts.len() - 1)
    }

    pub fn set_foreign(&mut self, host: usize, up: bool) {
        let index = host - self.nodes.len();
        self.hosts[index].up = up;
        self.measured = false;
    }

    pub fn port(&self, host: usize, segment: usize) -> Port {
        Port { host, segment }
    }

    fn segments(&self) -> usize {
        if self.setup.two_networks { 2 } else { 1 }
    }

    // ---- the API server ----

    pub fn want(&mut self, address: IpAddr, qualified: Qualified, rebalance: u64) {
        let free = Some(IpAddr::from([10, 0, 201, 1]));
        let want = Want { address, link: LinkId(1), qualified, rebalance, free, skip_probe: false };
        self.wants.insert(address, want.clone());
        if self.api {
            self.tell_all(&Event::Want(want));
        }
    }

    pub fn unwant(&mut self, address: IpAddr) {
        self.wants.remove(&address);
        if self.api {
            self.tell_all(&Event::Unwant(address));
        }
    }

    fn tell_all(&mut self, event: &Event) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].machine.is_some() {
                let delay = u64::try_from(self.rng.below(30)).unwrap();
                self.later(Duration::from_millis(delay), What::Deliver(node, event.clone()));
            }
        }
    }

    pub fn exclude(&mut self, node: usize, excluded: bool) {
        self.nodes[node].excluded = excluded;
        self.deliver(node, Event::Excluded(excluded));
    }

    pub fn set_api(&mut self, up: bool) {
        self.api = up;
        for node in 0..self.nodes.len() {
            self.deliver(node, Event::Watches { current: up });
            if up {
                self.list(node);
            }
        }
    }

    /// Gives an agent everything that the API server has.
    fn list(&mut self, node: usize) {
        let members = self.leases();
        self.deliver(node, Event::Members(members));
        for want in self.wants.clone().into_values() {
            self.deliver(node, Event::Want(want));
        }
        let gone: Vec<_> = self.measure.addresses.keys().filter(|a| !self.wants.contains_key(*a)).copied().collect();
        for address in gone {
            self.deliver(node, Event::Unwant(address));
        }
        self.deliver(node, Event::WantsComplete);
    }

    fn leases(&self) -> Vec<Peer> {
        let segments = self.segments();
        let started = self.nodes.iter().enumerate().filter(|(_, node)| node.boots > 0);
        started
            .map(|(number, node)| {
                let places = (0..segments).filter_map(|segment| Place::new(own(number, segment), 16)).collect();
                // Gossip prefers its own network.
                let endpoints =
                    (0..segments).rev().map(|segment| SocketAddr::new(own(number, segment), PORT)).collect();
                let macs = (0..segments).map(|segment| mac(number, segment)).collect();
                Peer { node: node.id.clone(), endpoints, places, macs, lease_alive: true }
            })
            .collect()
    }

    // ---- what happens to nodes ----

    pub fn power_on(&mut self, node: usize) {
        self.note(format!("power on {node}"));
        self.nodes[node].powered = true;
        self.measured = false;
        self.start_agent(node);
    }

    pub fn power_off(&mut self, node: usize) {
        self.note(format!("power off {node}"));
        self.kill_agent(node);
        let node = &mut self.nodes[node];
        node.powered = false;
        node.kernel.clear();
        node.file.clear();
        self.measured = false;
    }

    pub fn kill_agent(&mut self, node: usize) {
        self.note(format!("kill agent {node}"));
        let node = &mut self.nodes[node];
        node.machine = None;
        node.paused = false;
        node.buffered.clear();
        node.wake = None;
    }

    pub fn start_agent(&mut self, node: usize) {
        if !self.nodes[node].powered || self.nodes[node].machine.is_some() {
            return;
        }
        self.note(format!("start agent {node}"));
        let seed = self.rng.next();
        let state = &mut self.nodes[node];
        state.boots += 1;
        let boot = BootId(state.boots * 1000 + u128::try_from(node).unwrap());
        let config = Config::new(state.id.clone(), boot, Keys::new(&[7; 32], None));
        state.machine = Some(Machine::new(config, seed, self.now));
        state.version = 0;
        let found: Vec<_> = state.kernel.keys().map(|a| (*a, state.file.get(a).copied())).collect();
        // An address that is in the kernel keeps its place whatever its lifetime was.
        for lifetime in state.kernel.values_mut() {
            *lifetime = None;
        }
        self.deliver(node, Event::Kernel(found));
        for segment in 0..self.segments() {
            self.tell_link(node, segment);
        }
        let excluded = self.nodes[node].excluded;
        self.deliver(node, Event::Excluded(excluded));
        self.deliver(node, Event::Watches { current: self.api });
        if self.api {
            self.list(node);
            let members = self.leases();
            for other in 0..self.nodes.len() {
                if other != node && self.nodes[other].machine.is_some() {
                    let delay = u64::try_from(self.rng.below(30)).unwrap();
                    self.later(Duration::from_millis(delay), What::Deliver(other, Event::Members(members.clone())));
                }
            }
        }
    }

    fn tell_link(&mut self, node: usize, segment: usize) {
        let gateways = if segment == 0 && self.setup.gateway { vec![GATEWAY] } else { Vec::new() };
        let carrier = segment != 0 || self.nodes[node].carrier;
        let link = Link {
            id: LinkId(u32::try_from(segment).unwrap() + 1),
            mac: mac(node, segment),
            carrier,
            places: Place::new(own(node, segment), 16).into_iter().collect(),
            gateways,
        };
        self.deliver(node, Event::Link(link));
    }

    pub fn set_carrier(&mut self, node: usize, carrier: bool) {
        self.note(format!("carrier of {node}: {carrier}"));
        self.nodes[node].carrier = carrier;
        let port = self.port(node, 0);
        if carrier {
            self.net.heal(port)
        } else {
            self.net.cut(port)
        }
        self.measured = false;
        self.tell_link(node, 0);
    }

    pub fn cut(&mut self, node: usize) {
        self.note(format!("cut {node}"));
        for segment in 0..self.segments() {
            let port = self.port(node, segment);
            self.net.cut(port);
        }
        self.measured = false;
    }

    pub fn heal(&mut self, node: usize) {
        self.note(format!("heal {node}"));
        for segment in 0..self.segments() {
            let port = self.port(node, segment);
            self.net.heal(port);
        }
        self.measured = false;
    }

    pub fn change(&mut self, what: &str, change: impl FnOnce(&mut Network)) {
        self.note(what.to_owned());
        change(&mut self.net);
        self.measured = false;
    }

    pub fn pause(&mut self, node: usize, length: Duration) {
        if self.nodes[node].machine.is_some() {
            self.note(format!("pause {node} for {length:?}"));
            self.nodes[node].paused = true;
            self.later(length, What::Pause(node, false));
        }
    }

    pub fn stop(&mut self, node: usize, stop: Stop) {
        self.deliver(node, Event::Stop(stop));
    }

    /// The kernel ends the lifetimes of a node's addresses at this time, if its agent does not renew them.
    pub fn expire(&mut self, node: usize) {
        self.note(format!("lifetimes end on {node}"));
        self.nodes[node].kernel.clear();
        self.measured = false;
    }

    /// Somebody deletes an address by hand.
    pub fn delete_by_hand(&mut self, node: usize, address: IpAddr) {
        self.nodes[node].kernel.remove(&address);
        self.measured = false;
        self.deliver(node, Event::KernelLost(address));
    }

    /// A foreign host announces an address.
    pub fn foreign_announces(&mut self, host: usize, address: IpAddr) {
        for node in 0..self.nodes.len() {
            let frame = Frame::Announcement(address);
            self.carry(host, node, 0, Event::Seen { link: LinkId(1), mac: mac(host, 0), frame });
        }
    }

    /// The client sends something: its ARP request is seen by all.
    pub fn client_asks(&mut self, target: IpAddr) {
        let client = self.host(0);
        for node in 0..self.nodes.len() {
            let frame = Frame::Question { target, sender: Some(CLIENT) };
            self.carry(client, node, 0, Event::Seen { link: LinkId(1), mac: mac(client, 0), frame });
        }
    }

    // ---- time ----

    fn later(&mut self, delay: Duration, what: What) {
        self.count += 1;
        self.events.insert(self.count, what);
        self.queue.push(Reverse((self.now + delay, self.count)));
    }

    pub fn run(&mut self, length: Duration) {
        let end = self.now + length;
        let mut budget = 20_000
            + 2000
                * u64::try_from(self.nodes.len() * (1 + self.wants.len())).unwrap()
                * u64::try_from(length.as_millis() / 100 + 1).unwrap();
        loop {
            budget -= 1;
            if budget == 0 {
                self.fail("a storm: too many events");
            }
            self.look();
            let Some(Reverse((at, _))) = self.queue.peek().copied() else { break };
            if at > end {
                break;
            }
            let Some(Reverse((at, number))) = self.queue.pop() else { break };
            self.now = at;
            if let Some(what) = self.events.remove(&number) {
                self.happen(what);
            }
        }
        self.now = end;
        self.look();
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Wake(node) => {
                if self.nodes[node].wake == Some(self.now) {
                    self.nodes[node].wake = None;
                    self.deliver(node, Event::Tick);
                }
            }
            What::Deliver(node, event) => self.deliver(node, event),
            What::Asked { to, by, target, segment } => self.asked(to, by, target, segment),
            What::Pause(node, _) => {
                self.nodes[node].paused = false;
                let buffered = std::mem::take(&mut self.nodes[node].buffered);
                self.deliver(node, Event::Tick);
                for event in buffered {
                    self.deliver(node, event);
                }
            }
        }
    }

    pub fn deliver(&mut self, node: usize, event: Event) {
        let now = self.now;
        let state = &mut self.nodes[node];
        if state.paused {
            // A socket's buffer overflows; a watch does not.
            let packet = matches!(event, Event::Datagram { .. } | Event::Seen { .. });
            if !matches!(event, Event::Tick) && (!packet || state.buffered.len() < 200) {
                state.buffered.push_back(event);
            }
            return;
        }
        let Some(machine) = state.machine.as_mut() else { return };
        let text = match &event {
            Event::Tick | Event::Datagram { .. } | Event::Seen { .. } | Event::Members(_) | Event::Want(_) => None,
            other => Some(format!("{other:?}")),
        };
        let actions = machine.handle(event, now);
        if machine.version() != state.version {
            state.version = machine.version();
            state.file = machine.claims().collect();
        }
        let next = machine.next_deadline().max(now + Duration::from_micros(100));
        let wake = (state.wake != Some(next)).then_some(next);
        if let Some(text) = text {
            self.note(format!("{node}: event {text}"));
        }
        if let Some(next) = wake {
            self.nodes[node].wake = Some(next);
            self.later(next.since(now), What::Wake(node));
        }
        if std::env::var("OWNERSHIP_VERBOSE").is_ok() {
            for action in actions.iter().filter(|action| !matches!(action, Action::Send { .. } | Action::Tell(_))) {
                self.note(format!("{node}: {action:?}"));
            }
            self.note(format!("{node}: handled; next {:?}", self.nodes[node].wake));
        }
        for action in actions {
            self.act(node, action);
        }
    }

    fn act(&mut self, node: usize, action: Action) {
        match action {
            Action::Send { to, bytes } => {
                self.nodes[node].sent += 1;
                assert!(bytes.len() <= 1232, "a datagram of {} bytes", bytes.len());
                if let Some((host, segment)) = self.find(to.ip()).filter(|_| !self.block_udp) {
                    let from = SocketAddr::new(own(node, segment), PORT);
                    if std::env::var("OWNERSHIP_VERBOSE").is_ok() {
                        self.note(format!(
                            "{node}: {} bytes to {host} on {segment}: {}",
                            bytes.len(),
                            self.net.carries(self.port(node, segment), self.port(host, segment))
                        ));
                    }
                    self.carry(node, host, segment, Event::Datagram { from, bytes });
                }
            }
            Action::Probe { link, target, to, ask } => self.probe(node, link, target, to, ask),
            Action::Add { address, .. } => {
                self.note(format!("{node}: add {address}"));
                self.nodes[node].kernel.insert(address, None);
                self.measured = false;
                self.check_epoch(node, address);
            }
            Action::Remove { address, .. } => {
                self.note(format!("{node}: remove {address}"));
                self.nodes[node].kernel.remove(&address);
                self.measured = false;
            }
            Action::Renew => {}
            Action::Announce { address, .. } => {
                for other in 0..self.nodes.len() {
                    if other != node {
                        let frame = Frame::Announcement(address);
                        self.carry(node, other, 0, Event::Seen { link: LinkId(1), mac: mac(node, 0), frame });
                    }
                }
            }
            Action::ReadKernel => {
                let state = &self.nodes[node];
                let found = state.kernel.keys().map(|a| (*a, state.file.get(a).copied())).collect();
                self.deliver(node, Event::Kernel(found));
            }
            Action::Tell(fact) => {
                if !matches!(fact, Fact::Refused(_)) {
                    self.note(format!("{node}: {fact:?}"));
                }
                self.nodes[node].facts.push((self.now, fact));
            }
        }
    }

    /// Epochs only grow, and two claims of one epoch are a conflict that must be settled later.
    fn check_epoch(&mut self, node: usize, address: IpAddr) {
        let Some(machine) = self.nodes[node].machine.as_ref() else { return };
        let Some(state) = machine.address(address) else { return };
        let own: Vec<_> = self.epochs.get(&address).into_iter().flatten().filter(|(_, by)| **by == node).collect();
        let highest = own.iter().map(|(epoch, _)| **epoch).max();
        let fresh = self.nodes[node].boots;
        if let Some(highest) = highest
            && fresh == 1
            && state.epoch < highest
        {
            self.fail(&format!("node {node} claims {address} by epoch {} after {highest}", state.epoch));
        }
        self.epochs.entry(address).or_default().insert(state.epoch, node);
    }

    fn find(&self, address: IpAddr) -> Option<(usize, usize)> {
        let IpAddr::V4(v4) = address else { return None };
        let [_, segment, high, low] = v4.octets();
        let node = usize::from(u16::from_be_bytes([high, low])).checked_sub(1)?;
        (node < self.nodes.len()).then_some((node, segment.into()))
    }

    fn carry(&mut self, from: usize, to: usize, segment: usize, event: Event) {
        let (a, b) = (self.port(from, segment), self.port(to, segment));
        for delay in self.net.arrivals(a, b, &mut self.rng) {
            self.later(delay, What::Deliver(to, event.clone()));
        }
    }

    fn probe(&mut self, node: usize, link: LinkId, target: IpAddr, to: Option<Mac>, ask: Ask) {
        let segment = usize::try_from(link.0).unwrap() - 1;
        let holders: Vec<usize> = (0..self.nodes.len() + self.hosts.len())
            .filter(|host| *host != node && self.has(*host, target, segment))
            .filter(|host| to.is_none_or(|to| to == mac(*host, segment)))
            .collect();
        for holder in holders {
            let (a, b) = (self.port(node, segment), self.port(holder, segment));
            for delay in self.net.arrivals(a, b, &mut self.rng) {
                self.later(delay, What::Asked { to: holder, by: node, target, segment });
            }
        }
        if ask == Ask::Duplicate {
            for other in 0..self.nodes.len() {
                if other != node {
                    let frame = Frame::Question { target, sender: None };
                    self.carry(node, other, segment, Event::Seen { link, mac: mac(node, segment), frame });
                }
            }
        }
    }

    /// Whether a kernel answers for the address on a segment.
    fn has(&self, host: usize, target: IpAddr, segment: usize) -> bool {
        match self.nodes.get(host) {
            Some(node) => {
                node.powered
                    && (own(host, segment) == target
                        || segment == 0 && (node.kernel.contains_key(&target) || node.ipvs.contains(&target)))
            }
            None => {
                let host = &self.hosts[host - self.nodes.len()];
                segment == 0 && host.up && host.addresses.contains(&target)
            }
        }
    }

    fn asked(&mut self, to: usize, by: usize, target: IpAddr, segment: usize) {
        if self.has(to, target, segment) {
            let link = LinkId(u32::try_from(segment).unwrap() + 1);
            let event = Event::Seen { link, mac: mac(to, segment), frame: Frame::Answer(target) };
            self.carry(to, by, segment, event);
        }
    }

    /// Who would answer the client now.
    pub fn answers(&self, address: IpAddr) -> Vec<usize> {
        let client = self.port(self.host(0), 0);
        let nodes = (0..self.nodes.len()).filter(|node| {
            let state = &self.nodes[*node];
            state.powered && state.kernel.contains_key(&address) && self.net.both_ways(client, self.port(*node, 0))
        });
        let foreign = (2..self.hosts.len())
            .filter(|host| self.hosts[*host].up && self.hosts[*host].addresses.contains(&address))
            .map(|host| self.host(host));
        nodes.chain(foreign).collect()
    }

    fn look(&mut self) {
        if self.measured {
            return;
        }
        self.measured = true;
        let addresses: BTreeSet<_> = self.wants.keys().chain(self.measure.addresses.keys()).copied().collect();
        for address in addresses {
            let answers = self.answers(address);
            self.measure.set(address, answers, self.now);
        }
    }

    pub fn owner(&self, address: IpAddr) -> Option<usize> {
        match self.answers(address).as_slice() {
            [owner] => Some(*owner),
            _ => None,
        }
    }

    pub fn without(&self, address: IpAddr, after: Time) -> Duration {
        self.measure.worst_without(address, after, self.now)
    }

    pub fn double(&self, address: IpAddr, after: Time) -> Duration {
        self.measure.worst_double(address, after, self.now)
    }

    pub fn facts(&self, node: usize, after: Time) -> impl Iterator<Item = &Fact> {
        self.nodes[node].facts.iter().filter(move |(at, _)| *at >= after).map(|(_, fact)| fact)
    }

    // ---- traces ----

    pub fn note(&mut self, text: String) {
        let at = self.now.as_micros() - 1_000_000_000;
        self.trace.push_back(format!("{:>11.6} {text}", Duration::from_micros(at).as_secs_f64()));
        if self.trace.len() > 600 {
            self.trace.pop_front();
        }
    }

    pub fn fail(&self, why: &str) -> ! {
        let mut text = String::new();
        for line in &self.trace {
            let _ = writeln!(text, "{line}");
        }
        for (number, node) in self.nodes.iter().enumerate() {
            let kernel: Vec<_> = node.kernel.keys().collect();
            let _ = writeln!(
                text,
                "node {number}: powered {} agent {} kernel {kernel:?}",
                node.powered,
                node.machine.is_some()
            );
            if let Some(machine) = &node.machine {
                let snapshot = machine.snapshot();
                let _ = writeln!(text, "    refused {:?}", snapshot.refused);
                for member in snapshot.members {
                    let _ = writeln!(text, "    {member:?}");
                }
            }
            for address in self.wants.keys() {
                let _ = writeln!(text, "    {:?}", node.machine.as_ref().and_then(|m| m.address(*address)));
            }
        }
        panic!("{text}\nseed {}: {why}", self.setup.seed);
    }
}
