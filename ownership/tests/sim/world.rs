//! The world: nodes, kernels, agents, hosts, an API server, and time.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ownership::probe;
use ownership::rng::Rng;
use ownership::{
    Action, Ask, BootId, Config, Epoch, Event, Fact, Frame, Keys, Link, LinkId, Mac, Machine, NodeId, Peer, Place,
    Qualified, Stop, Time, Want,
};

use super::measure::Measure;
use super::network::{Network, Port};

pub const PORT: u16 = 7475;

/// An agent leaves the solicited-node group of an address so long after it first asked for it.
const GROUP: Duration = Duration::from_secs(2);

/// Which addresses a cluster has: of nodes, gateway, client, gossip, and Services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    #[default]
    V4,
    V6,
    /// Both; the even VIPs are IPv4, the odd ones IPv6.
    Dual,
}

impl Family {
    pub const ALL: [Self; 3] = [Self::V4, Self::V6, Self::Dual];

    /// Each third seed the same.
    pub fn of(seed: u64) -> Self {
        Self::ALL[usize::try_from(seed % 3).unwrap()]
    }

    fn has(self, address: &IpAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
            Self::Dual => true,
        }
    }
}

#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent properties of a cluster")]
pub struct Setup {
    pub nodes: usize,
    pub vips: usize,
    pub family: Family,
    /// Gossip has a network of its own (segment 1).
    pub two_networks: bool,
    pub gateway: bool,
    /// The gateway is a route to nowhere.
    pub silent_gateway: bool,
    /// The switch carries no questions to the solicited-node groups of VIPs (snooping of a wrong mind).
    pub snooping: bool,
    /// `skip-ipv6-dad` on all Services.
    pub skip_probe: bool,
    pub client: bool,
    pub probe_interval: Duration,
    pub seed: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            nodes: 3,
            vips: 3,
            family: Family::V4,
            two_networks: false,
            gateway: true,
            silent_gateway: false,
            snooping: false,
            skip_probe: false,
            client: true,
            probe_interval: probe::INTERVAL,
            seed: 1,
        }
    }
}

pub struct Node {
    pub id: NodeId,
    pub machine: Option<Machine>,
    pub powered: bool,
    pub paused: bool,
    buffered: VecDeque<Event>,
    pub kernel: BTreeSet<IpAddr>,
    pub file: BTreeMap<IpAddr, Epoch>,
    pub carrier: bool,
    /// The kernel refuses new addresses.
    pub refuses: bool,
    /// Its interface on segment 0: another one after [`World::move_link`].
    link: LinkId,
    /// The list of Leases is on its way.
    listing: bool,
    /// What its agent was told to serve.
    wants: BTreeMap<IpAddr, Want>,
    /// Adopted addresses that went with their interface: its agent puts them back when it knows where.
    unplaced: BTreeSet<IpAddr>,
    /// Solicited-node groups of VIPs that its agent is in, and until when.
    groups: BTreeMap<IpAddr, Time>,
    wake: Option<Time>,
    boots: u128,
    version: u64,
    pub excluded: bool,
    /// Answered for on the wire, though not held.
    pub ipvs: BTreeSet<IpAddr>,
    pub facts: Vec<(Time, Fact)>,
    pub sent: u64,
    pub bytes: u64,
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
    /// The list of Leases as it is then.
    Leases(usize),
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
    /// Time, order of coming, place in `events`.
    queue: BinaryHeap<Reverse<(Time, u64, usize)>>,
    events: Vec<Option<What>>,
    free: Vec<usize>,
    count: u64,
    trace: VecDeque<String>,
    pub epochs: BTreeMap<IpAddr, BTreeMap<Epoch, usize>>,
    pub moves: BTreeMap<IpAddr, Vec<(Time, usize)>>,
    measured: bool,
    /// What else must be measured anew.
    changed: Vec<IpAddr>,
    verbose: bool,
    told: Cell<bool>,
    /// The most addresses put into the kernel by one call of a machine.
    pub most_adds: usize,
    /// Whose Leases a node has not seen.
    pub unlisted: BTreeSet<(usize, NodeId)>,
    /// Announcements made.
    pub announced: u64,
    /// No datagram passes anywhere.
    pub block_udp: bool,
}

fn vip(number: usize, v6: bool) -> IpAddr {
    let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
    if v6 {
        return Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0x200, u16::from_be_bytes([high, low])).into();
    }
    Ipv4Addr::new(10, 0, if high == 0 { 200 } else { 202 + high }, low).into()
}

/// The own addresses of a node, those of both families.
fn own(node: usize, segment: usize) -> [IpAddr; 2] {
    let number = u16::try_from(node + 1).unwrap();
    let [high, low] = number.to_be_bytes();
    let network = u16::try_from(segment).unwrap();
    [
        Ipv4Addr::new(10, u8::try_from(segment).unwrap(), high, low).into(),
        Ipv6Addr::new(0xfd00, 0, 0, network, 0, 0, 0, number).into(),
    ]
}

/// From where a node asks for IPv6 VIPs.
fn link_local(node: usize) -> IpAddr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, u16::try_from(node + 1).unwrap()).into()
}

fn mac(host: usize, segment: usize) -> Mac {
    let [high, low] = u16::try_from(host).unwrap().to_be_bytes();
    Mac([2, 0, u8::try_from(segment).unwrap(), 0, high, low])
}

const CLIENT: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 0, 199, 1)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0x199, 1))];
/// Routers advertise themselves by their link-local addresses.
const GATEWAY: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 0, 199, 254)), IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x199, 0xfe))];

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
            kernel: BTreeSet::new(),
            file: BTreeMap::new(),
            carrier: true,
            refuses: false,
            link: LinkId(1),
            listing: false,
            wants: BTreeMap::new(),
            unplaced: BTreeSet::new(),
            groups: BTreeMap::new(),
            wake: None,
            boots: 0,
            version: 0,
            excluded: false,
            ipvs: BTreeSet::new(),
            facts: Vec::new(),
            sent: 0,
            bytes: 0,
        });
        let nodes = nodes.collect();
        let mut hosts = Vec::new();
        for (up, addresses) in [(setup.client, CLIENT), (setup.gateway && !setup.silent_gateway, GATEWAY)] {
            let addresses = addresses.into_iter().filter(|address| setup.family.has(address)).collect();
            hosts.push(Host { addresses, up });
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
            events: Vec::new(),
            free: Vec::new(),
            count: 0,
            trace: VecDeque::new(),
            epochs: BTreeMap::new(),
            moves: BTreeMap::new(),
            measured: false,
            changed: Vec::new(),
            verbose: std::env::var("OWNERSHIP_VERBOSE").is_ok(),
            told: Cell::new(false),
            most_adds: 0,
            unlisted: BTreeSet::new(),
            announced: 0,
            block_udp: false,
            setup,
        };
        for number in 0..world.setup.vips {
            world.want(world.vip(number), Qualified::All, 0);
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

    pub fn vip(&self, number: usize) -> IpAddr {
        let v6 = match self.setup.family {
            Family::V4 => false,
            Family::V6 => true,
            Family::Dual => number % 2 == 1,
        };
        vip(number, v6)
    }

    /// An address of the same subnet that nobody has.
    pub fn unused(address: IpAddr) -> IpAddr {
        if address.is_ipv6() {
            return Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0x201, 1).into();
        }
        Ipv4Addr::new(10, 0, 201, 1).into()
    }

    /// A node's own addresses on a segment.
    fn own(&self, node: usize, segment: usize) -> impl DoubleEndedIterator<Item = IpAddr> {
        let family = self.setup.family;
        own(node, segment).into_iter().filter(move |address| family.has(address))
    }

    fn places(&self, node: usize, segment: usize) -> impl Iterator<Item = Place> {
        self.own(node, segment).filter_map(|own| Place::new(own, if own.is_ipv4() { 16 } else { 64 }))
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
        let free = Some(Self::unused(address));
        let want = Want { address, link: LinkId(1), qualified, rebalance, free, skip_probe: self.setup.skip_probe };
        self.wants.insert(address, want.clone());
        self.changed.push(address);
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
        self.happen(What::Leases(node));
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
                let places = (0..segments).flat_map(|segment| self.places(number, segment)).collect();
                // Gossip prefers its own network, and IPv6.
                let own = (0..segments).rev().flat_map(|segment| self.own(number, segment).rev());
                let endpoints = own.map(|own| SocketAddr::new(own, PORT)).collect();
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
        node.wants.clear();
        node.unplaced.clear();
        node.groups.clear();
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
        let probe_interval = self.setup.probe_interval;
        let config = Config { probe_interval, ..Config::new(state.id.clone(), boot, Keys::new(&[7; 32], None)) };
        state.machine = Some(Machine::new(config, seed, self.now));
        state.version = 0;
        let found: Vec<_> = state.kernel.iter().map(|a| (*a, state.file.get(a).copied())).collect();
        self.deliver(node, Event::Kernel(found));
        for segment in 0..self.segments() {
            self.tell_link(node, segment);
        }
        let excluded = self.nodes[node].excluded;
        self.deliver(node, Event::Excluded(excluded));
        self.deliver(node, Event::Watches { current: self.api });
        if self.api {
            self.list(node);
            for other in 0..self.nodes.len() {
                if other != node && self.nodes[other].machine.is_some() {
                    let delay = u64::try_from(self.rng.below(30)).unwrap();
                    // The list that comes next has this one too.
                    if !std::mem::replace(&mut self.nodes[other].listing, true) {
                        self.later(Duration::from_millis(delay), What::Leases(other));
                    }
                }
            }
        }
    }

    fn tell_link(&mut self, node: usize, segment: usize) {
        let gateways = if segment == 0 && self.setup.gateway {
            GATEWAY.into_iter().filter(|gateway| self.setup.family.has(gateway)).collect()
        } else {
            Vec::new()
        };
        let carrier = segment != 0 || self.nodes[node].carrier;
        let link = Link {
            id: LinkId(u32::try_from(segment).unwrap() + 1),
            mac: mac(node, segment),
            carrier,
            places: self.places(node, segment).collect(),
            gateways,
        };
        self.deliver(node, Event::Link(link));
    }

    /// The node's place on segment 0 moves to another interface (a bridge, a bond): its VIPs with it, unless the old
    /// interface goes before the new one is there.
    pub fn move_link(&mut self, node: usize, gone_first: bool) {
        self.note(format!("another interface on {node}{}", if gone_first { ", the old one is gone" } else { "" }));
        let old = self.nodes[node].link;
        self.nodes[node].link = LinkId(4 - old.0);
        if gone_first {
            let lost = std::mem::take(&mut self.nodes[node].kernel);
            self.measured = false;
            self.deliver(node, Event::LinkGone(old));
            for address in lost {
                if self.nodes[node].wants.contains_key(&address) {
                    self.deliver(node, Event::KernelLost(address));
                } else if self.nodes[node].machine.is_some() {
                    self.nodes[node].unplaced.insert(address);
                }
            }
        }
        self.tell_link(node, 0);
        for want in self.nodes[node].wants.clone().into_values() {
            self.deliver(node, Event::Want(want));
        }
        if !gone_first {
            self.deliver(node, Event::LinkGone(old));
        }
    }

    /// The gateway answers, or not; one that is a route to nowhere never does.
    pub fn set_gateway(&mut self, up: bool) {
        self.note(format!("gateway: {up}"));
        self.hosts[1].up = up && self.setup.gateway && !self.setup.silent_gateway;
    }

    /// The kernel refuses new addresses, or not.
    pub fn set_refusing(&mut self, node: usize, refuses: bool) {
        if self.nodes[node].refuses != refuses {
            self.note(format!("kernel of {node} refuses addresses: {refuses}"));
            self.nodes[node].refuses = refuses;
        }
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

    /// Whether a node's agent knows that an address is to be served.
    pub fn knows(&self, node: usize, address: IpAddr) -> bool {
        self.nodes[node].wants.contains_key(&address)
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
        let sender = CLIENT.into_iter().find(|sender| sender.is_ipv4() == target.is_ipv4());
        for node in 0..self.nodes.len() {
            let frame = Frame::Question { target, sender };
            self.carry(client, node, 0, Event::Seen { link: LinkId(1), mac: mac(client, 0), frame });
        }
    }

    // ---- time ----

    fn later(&mut self, delay: Duration, what: What) {
        self.count += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() - 1
        });
        self.events[place] = Some(what);
        self.queue.push(Reverse((self.now + delay, self.count, place)));
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
            let Some(Reverse((at, _, place))) = self.queue.peek().copied() else { break };
            if at > end {
                break;
            }
            self.queue.pop();
            self.now = at;
            self.free.push(place);
            if let Some(what) = self.events[place].take() {
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
            What::Leases(node) => {
                self.nodes[node].listing = false;
                let mut members = self.leases();
                members.retain(|peer| !self.unlisted.contains(&(node, peer.node.clone())));
                self.deliver(node, Event::Members(members));
            }
            What::Asked { to, by, target, segment } => self.asked(to, by, target, segment),
            What::Pause(node, _) => {
                self.nodes[node].paused = false;
                let buffered = std::mem::take(&mut self.nodes[node].buffered);
                self.take(node, Event::Tick);
                for event in buffered {
                    self.take(node, event);
                }
            }
        }
    }

    /// Interfaces are numbered by their segment on the way; each node has its own numbers.
    fn localized(&mut self, node: usize, mut event: Event) -> Option<Event> {
        let now = self.now;
        let node = &mut self.nodes[node];
        let place = match &mut event {
            Event::Link(link) => &mut link.id,
            Event::Want(want) => {
                node.wants.insert(want.address, want.clone());
                if node.unplaced.remove(&want.address) {
                    node.kernel.insert(want.address);
                    self.changed.push(want.address);
                }
                &mut want.link
            }
            Event::Seen { frame: Frame::Question { target: target @ IpAddr::V6(_), .. }, .. }
                if !node.kernel.contains(target) && node.groups.get(target).is_none_or(|until| *until < now) =>
            {
                return None;
            }
            Event::Seen { link, .. } => link,
            Event::Unwant(address) => {
                node.wants.remove(address);
                return Some(event);
            }
            _ => return Some(event),
        };
        if *place == LinkId(1) {
            *place = node.link;
        }
        Some(event)
    }

    pub fn deliver(&mut self, node: usize, event: Event) {
        if let Some(event) = self.localized(node, event) {
            self.take(node, event);
        }
    }

    fn take(&mut self, node: usize, event: Event) {
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
        let adds = actions.iter().filter(|action| matches!(action, Action::Add { .. })).count();
        self.most_adds = self.most_adds.max(adds);
        if self.verbose {
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
                self.nodes[node].bytes += u64::try_from(bytes.len()).unwrap();
                assert!(bytes.len() <= 1232, "a datagram of {} bytes", bytes.len());
                if let Some((host, segment)) = self.find(to.ip()).filter(|_| !self.block_udp) {
                    let from = SocketAddr::new(own(node, segment)[usize::from(to.is_ipv6())], PORT);
                    if self.verbose {
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
                if self.nodes[node].refuses {
                    return self.later(Duration::ZERO, What::Deliver(node, Event::AddFailed(address)));
                }
                self.nodes[node].kernel.insert(address);
                self.changed.push(address);
                self.check_epoch(node, address);
            }
            Action::Remove { address, .. } => {
                self.note(format!("{node}: remove {address}"));
                self.nodes[node].kernel.remove(&address);
                self.nodes[node].unplaced.remove(&address);
                self.changed.push(address);
            }
            Action::Renew => {}
            Action::Announce { address, .. } => {
                self.announced += 1;
                for other in 0..self.nodes.len() {
                    if other != node {
                        let frame = Frame::Announcement(address);
                        self.carry(node, other, 0, Event::Seen { link: LinkId(1), mac: mac(node, 0), frame });
                    }
                }
            }
            Action::ReadKernel => {
                let state = &self.nodes[node];
                let found = state.kernel.iter().map(|a| (*a, state.file.get(a).copied())).collect();
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
        let (number, segment) = match address {
            IpAddr::V4(v4) => {
                let [_, segment, high, low] = v4.octets();
                (u16::from_be_bytes([high, low]), segment.into())
            }
            IpAddr::V6(v6) => {
                let [0xfd00, 0, 0, segment, 0, 0, 0, number] = v6.segments() else { return None };
                (number, segment.into())
            }
        };
        let node = usize::from(number).checked_sub(1)?;
        (node < self.nodes.len() && self.setup.family.has(&address)).then_some((node, segment))
    }

    fn carry(&mut self, from: usize, to: usize, segment: usize, event: Event) {
        let (a, b) = (self.port(from, segment), self.port(to, segment));
        let [Some(first), second] = self.net.arrivals(a, b, &mut self.rng) else { return };
        if let Some(second) = second {
            self.later(first, What::Deliver(to, event.clone()));
            return self.later(second, What::Deliver(to, event));
        }
        self.later(first, What::Deliver(to, event));
    }

    fn probe(&mut self, node: usize, link: LinkId, target: IpAddr, to: Option<Mac>, ask: Ask) {
        // An interface that is gone asks nothing.
        let segment = match link {
            LinkId(2) => 1,
            here if here == self.nodes[node].link => 0,
            _ => return,
        };
        if ask == Ask::Duplicate
            && target.is_ipv6()
            && self.nodes[node].groups.get(&target).is_none_or(|at| *at < self.now)
        {
            let until = self.now + GROUP;
            self.nodes[node].groups.insert(target, until);
        }
        if self.setup.snooping && target.is_ipv6() && to.is_none() && self.find(target).is_none() {
            return;
        }
        for holder in self.holders(target, segment) {
            if holder == node || to.is_some_and(|to| to != mac(holder, segment)) {
                continue;
            }
            let (a, b) = (self.port(node, segment), self.port(holder, segment));
            for delay in self.net.arrivals(a, b, &mut self.rng).into_iter().flatten() {
                self.later(delay, What::Asked { to: holder, by: node, target, segment });
            }
        }
        if ask == Ask::Duplicate {
            let sender = target.is_ipv6().then(|| link_local(node));
            let link = LinkId(u32::try_from(segment).unwrap() + 1);
            for other in 0..self.nodes.len() {
                if other != node && to.is_none_or(|to| to == mac(other, segment)) {
                    let frame = Frame::Question { target, sender };
                    self.carry(node, other, segment, Event::Seen { link, mac: mac(node, segment), frame });
                }
            }
        }
    }

    /// Whose kernels answer for the address on a segment.
    fn holders(&self, target: IpAddr, segment: usize) -> Vec<usize> {
        if let Some((node, place)) = self.find(target) {
            return if place == segment && self.nodes[node].powered { vec![node] } else { Vec::new() };
        }
        (0..self.nodes.len() + self.hosts.len()).filter(|host| self.has(*host, target, segment)).collect()
    }

    /// Whether a kernel answers for the address on a segment.
    fn has(&self, host: usize, target: IpAddr, segment: usize) -> bool {
        match self.nodes.get(host) {
            Some(node) => {
                node.powered
                    && (self.find(target) == Some((host, segment))
                        || segment == 0 && (node.kernel.contains(&target) || node.ipvs.contains(&target)))
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
            state.powered && state.kernel.contains(&address) && self.net.both_ways(client, self.port(*node, 0))
        });
        let foreign = (2..self.hosts.len())
            .filter(|host| self.hosts[*host].up && self.hosts[*host].addresses.contains(&address))
            .map(|host| self.host(host));
        nodes.chain(foreign).collect()
    }

    fn look(&mut self) {
        if !self.measured {
            self.measured = true;
            self.changed = self.wants.keys().chain(self.measure.addresses.keys()).copied().collect();
            self.changed.sort();
            self.changed.dedup();
        }
        while let Some(address) = self.changed.pop() {
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
        self.told.set(true);
        panic!("{}\nseed {}: {why}", self.story(), self.setup.seed);
    }

    /// What happened lately, and how things are.
    fn story(&self) -> String {
        let mut text = format!("{:?}\n", self.setup);
        for line in &self.trace {
            let _ = writeln!(text, "{line}");
        }
        for (number, node) in self.nodes.iter().enumerate() {
            let kernel: Vec<_> = node.kernel.iter().collect();
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
        text
    }
}

/// A panic of the machine, or an assertion of a test, has a story too.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.told.get() {
            eprintln!("{}\nseed {}", self.story(), self.setup.seed);
        }
    }
}
