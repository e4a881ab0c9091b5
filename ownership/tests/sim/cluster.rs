//! The cluster: nodes, kernels, agents, hosts, an API server, and time.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ownership::model::rng::Rng;
use ownership::{
    AddressSpec, Epoch, Event, InterfaceAddress, KernelHolding, LinkId, Machine, NodeId, Notification, Peer, Qualified,
    Time,
};

use super::addressing::{CLIENT, GATEWAY, own, vip};
use super::digest::Digest;
use super::frames::Frames;
use super::measure::Measure;
use super::network::{Network, Port};
use super::setup::{Family, Setup};

pub struct Node {
    pub id: NodeId,
    pub machine: Option<Machine>,
    pub powered: bool,
    /// Its agent has another gossip key than the others.
    pub wrong_key: bool,
    pub paused: bool,
    /// Its processors are busy: its agent runs at once, or 50 to 400 ms after something happens.
    pub busy: bool,
    /// The agent of a busy node is to run.
    pub awaited: bool,
    /// Since when, if its timer says so.
    pub due: Option<Time>,
    pub buffered: VecDeque<Event>,
    pub kernel: BTreeSet<IpAddr>,
    pub file: BTreeMap<IpAddr, Epoch>,
    /// The members in the state file.
    pub remembered: Vec<Peer>,
    pub carrier: bool,
    /// The kernel refuses new addresses.
    pub refuses: bool,
    /// Its interface on segment 0: another one after [`Cluster::move_link`].
    pub link: LinkId,
    /// The list of Leases is on its way.
    pub listing: bool,
    /// What its agent is to serve.
    pub specs: BTreeMap<IpAddr, AddressSpec>,
    /// Adopted addresses that went with their interface: its agent puts them back when it knows where.
    pub unplaced: BTreeSet<IpAddr>,
    /// Solicited-node groups of VIPs that its agent is in, and until when.
    pub groups: BTreeMap<IpAddr, Time>,
    pub wake: Option<Time>,
    pub boots: u128,
    pub version: u64,
    pub excluded: bool,
    /// Its kernel answers questions for VIPs only if they go to everybody (a filter on the way).
    pub ignores_unicast: bool,
    /// Answered for on the wire, though not held.
    pub ipvs: BTreeSet<IpAddr>,
    /// In its kernel, and not from the machine.
    pub holdings: BTreeMap<IpAddr, KernelHolding>,
    /// Further own addresses on segment 0, as its Lease says.
    pub own: Vec<IpAddr>,
    /// Its agent is of a release that speaks version 1 of the wire ([`Cluster::downgrade`]).
    pub earlier: bool,
    pub notifications: Vec<(Time, Notification)>,
    pub sent: u64,
    pub bytes: u64,
}

/// A host that is no member: the client, the gateway, a foreign host.
pub struct Host {
    pub addresses: BTreeSet<IpAddr>,
    pub up: bool,
}

/// What is to happen at a time.
#[derive(Debug, Clone)]
pub enum Scheduled {
    Wake(usize),
    Deliver(usize, Event),
    /// The list of Leases as it is then.
    Leases(usize),
    /// A question for `target` reaches a host; it may answer.
    Probed {
        to: usize,
        by: usize,
        target: IpAddr,
        segment: usize,
    },
    Pause(usize, bool),
    /// The agent of a busy node runs.
    Run(usize),
    /// The annotations of an address's Service name this node.
    Named(IpAddr, usize),
}

pub struct Cluster {
    pub setup: Setup,
    pub now: Time,
    pub rng: Rng,
    pub net: Network,
    pub nodes: Vec<Node>,
    pub hosts: Vec<Host>,
    pub measure: Measure,
    pub specs: BTreeMap<IpAddr, AddressSpec>,
    pub api: bool,
    /// Time, order of coming, place in `events`.
    pub queue: BinaryHeap<Reverse<(Time, u64, usize)>>,
    pub events: Vec<Option<Scheduled>>,
    pub free: Vec<usize>,
    pub count: u64,
    pub trace: VecDeque<String>,
    pub epochs: BTreeMap<IpAddr, BTreeMap<Epoch, usize>>,
    pub moves: BTreeMap<IpAddr, Vec<(Time, usize)>>,
    pub measured: bool,
    /// What else must be measured anew.
    pub changed: Vec<IpAddr>,
    pub verbose: bool,
    pub described: Cell<bool>,
    /// The most addresses put into the kernel by one call of a machine.
    pub most_adds: usize,
    /// The longest that one call of a machine took, by the clock of the computer.
    pub slowest: Duration,
    /// Whose Leases a node has not seen.
    pub unlisted: BTreeSet<(usize, NodeId)>,
    /// Announcements made.
    pub announced: u64,
    /// Hosts that were asked from an address, by whom and when.
    pub introduced: Vec<(Time, usize, IpAddr, IpAddr)>,
    /// What each node sent, by second.
    pub frames: BTreeMap<(usize, u64), Frames>,
    /// Which host a suppressing switch believes to have an address on segment 0.
    pub cache: BTreeMap<IpAddr, usize>,
    /// No datagram passes anywhere.
    pub block_udp: bool,
    /// Only where somebody asks for it: it reads every byte that is sent.
    pub digest: Option<Digest>,
}

impl Cluster {
    pub fn new(setup: Setup) -> Self {
        let rng = Rng::new(setup.seed);
        let net = Network { delay_min_us: 50, delay_spread_us: 400, cache_us: 100, ..Network::default() };
        let nodes = (0..setup.nodes).map(|number| Node {
            id: NodeId::new(&format!("node-{number}")).unwrap(),
            machine: None,
            powered: false,
            wrong_key: false,
            paused: false,
            busy: false,
            awaited: false,
            due: None,
            buffered: VecDeque::new(),
            kernel: BTreeSet::new(),
            file: BTreeMap::new(),
            remembered: Vec::new(),
            carrier: true,
            refuses: false,
            link: LinkId(1),
            listing: false,
            specs: BTreeMap::new(),
            unplaced: BTreeSet::new(),
            groups: BTreeMap::new(),
            wake: None,
            boots: 0,
            version: 0,
            excluded: false,
            ignores_unicast: false,
            ipvs: BTreeSet::new(),
            holdings: BTreeMap::new(),
            own: Vec::new(),
            earlier: false,
            notifications: Vec::new(),
            sent: 0,
            bytes: 0,
        });
        let nodes = nodes.collect();
        let mut hosts = Vec::new();
        for (up, addresses) in [(setup.client, CLIENT), (setup.gateway && !setup.silent_gateway, GATEWAY)] {
            let addresses = addresses.into_iter().filter(|address| setup.family.has(address)).collect();
            hosts.push(Host { addresses, up });
        }
        let mut cluster = Self {
            now: Time::from_micros(1_000_000_000),
            rng,
            net,
            nodes,
            hosts,
            measure: Measure::default(),
            specs: BTreeMap::new(),
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
            described: Cell::new(false),
            most_adds: 0,
            slowest: Duration::ZERO,
            unlisted: BTreeSet::new(),
            announced: 0,
            introduced: Vec::new(),
            frames: BTreeMap::new(),
            cache: BTreeMap::new(),
            block_udp: false,
            digest: None,
            setup,
        };
        for number in 0..cluster.setup.vips {
            cluster.serve(cluster.vip(number), Qualified::All, 0);
        }
        cluster
    }

    /// All nodes start within half a second, and settle.
    pub fn settled(setup: Setup) -> Self {
        let mut cluster = Self::new(setup);
        for node in 0..cluster.nodes.len() {
            cluster.power_on(node);
            let pause = u64::try_from(cluster.rng.below(100)).unwrap();
            cluster.run(Duration::from_millis(pause));
        }
        cluster.run(Duration::from_secs(8));
        cluster
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
    pub fn own(&self, node: usize, segment: usize) -> impl DoubleEndedIterator<Item = IpAddr> {
        let family = self.setup.family;
        own(node, segment).into_iter().filter(move |address| family.has(address))
    }

    pub fn places(&self, node: usize, segment: usize) -> impl Iterator<Item = InterfaceAddress> {
        self.own(node, segment).filter_map(|own| InterfaceAddress::new(own, if own.is_ipv4() { 16 } else { 64 }))
    }

    pub fn host(&self, index: usize) -> usize {
        self.nodes.len() + index
    }

    pub fn port(&self, host: usize, segment: usize) -> Port {
        Port { host, segment }
    }

    pub fn segments(&self) -> usize {
        if self.setup.two_networks { 2 } else { 1 }
    }
}
