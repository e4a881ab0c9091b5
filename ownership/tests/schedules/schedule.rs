//! A schedule: a cluster, what disturbs it, and the invariants that hold all the while.

use std::time::Duration;

use ownership::{Liveness, Time};

use crate::sim::{Cluster, Digest, Family, Setup, cluster};

/// What a seed chooses from. A new kind of cluster or fault makes a new draw, so that seeds that failed stay what
/// they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    /// IPv4 only, gateways that answer, 17 kinds of faults.
    First,
    /// All families, silent gateways, snooping switches, `skip-ipv6-dad`, 22 kinds of faults.
    Second,
    /// And probes 5 to 100 ms apart, differently on each cluster.
    Third,
    /// And 27 kinds of faults: agents of the earlier release, addresses that a kernel has from somebody else, IPVS.
    Fourth,
    /// And 29 kinds of faults: busy nodes; switches that answer from their cache.
    Fifth,
    /// And up to 30 addresses, more than further looks have room for in a second; pauses so long that kernels without
    /// agents are noticed.
    Sixth,
}

/// Two answers of nodes that hear each other end within this, counted from the last fault.
pub const SETTLED: Duration = Duration::from_millis(1200);
/// An address that a member's kernel has from somebody else is given up within this.
pub const YIELDED: Duration = Duration::from_secs(3);
/// Where agents run up to 400 ms late each second time, all that takes longer by so much at most.
pub const BUSY: Duration = Duration::from_millis(1800);
/// A kernel whose agent is dead serves an address beside another node for so long at most: the agent is believed silent,
/// and the kernel is asked,
pub const SILENT: Duration = Duration::from_secs(6);
/// and for so much longer for each address.
pub const ASKED: Duration = Duration::from_millis(100);
/// Claims made without hearing each other's questions (`skip-ipv6-dad`, a snooping switch) end within this, whenever
/// they are made.
pub const UNASKED: Duration = Duration::from_millis(300);
/// Without a fault for so long, nothing moves any more.
pub const QUIET: Duration = Duration::from_secs(9);

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub struct Schedule {
    pub cluster: Cluster,
    /// The last fault or repair.
    pub fault: Time,
    pub lossy: bool,
    pub draw: Draw,
    pub owners: Vec<Vec<usize>>,
}

impl Schedule {
    pub fn new(seed: u64, nodes: Option<usize>, draw: Draw) -> Self {
        let mut rng = ownership::model::rng::Rng::new(seed);
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
        if matches!(draw, Draw::Third | Draw::Fourth | Draw::Fifth | Draw::Sixth) {
            setup.probe_interval = ms([5, 10, 10, 10, 30, 100][rng.below(6)]);
        }
        if matches!(draw, Draw::Fifth | Draw::Sixth) {
            setup.suppressing = rng.below(6) == 0;
        }
        if draw == Draw::Sixth && rng.below(3) == 0 {
            setup.vips = 1 + rng.below(30);
        }
        let mut cluster = Cluster::settled(setup);
        if cluster.rng.below(3) == 0 {
            cluster.change("duplicates and delays", |net| {
                net.duplicates = 100;
                net.delay_spread_us = 3000;
            });
        }
        let fault = cluster.now;
        Self { cluster, fault, lossy: false, draw, owners: Vec::new() }
    }

    pub fn node(&mut self) -> usize {
        let count = self.cluster.nodes.len();
        self.cluster.rng.below(count)
    }

    /// Runs in steps of 50 ms and checks after each.
    pub fn run(&mut self, length: Duration) {
        let end = self.cluster.now + length;
        while self.cluster.now < end {
            self.cluster.run(ms(50));
            if self.cluster.rng.below(20) == 0 {
                self.cluster.client_asks(self.cluster.vip(0));
            }
            self.check();
        }
    }

    pub fn check(&mut self) {
        let cluster = &self.cluster;
        let since = cluster.now.since(self.fault);
        let mut owners = Vec::new();
        for address in cluster.specs.keys() {
            let answers = cluster.answers(*address);
            let busy = cluster.nodes.iter().any(|node| node.busy);
            let speaks = |node: &cluster::Node| node.machine.is_some() && !node.paused;
            let speaking = answers.iter().all(|node| speaks(&cluster.nodes[*node]));
            let unasked = cluster.setup.skip_probe || cluster.setup.snooping || cluster.setup.suppressing;
            let allowed = unasked
                && cluster.now.since(cluster.measure.addresses[address].since)
                    <= UNASKED + if busy { BUSY } else { ms(0) };
            let foreign = answers.iter().any(|node| cluster.nodes[*node].holdings.contains_key(address));
            let settled = if foreign { YIELDED } else { SETTLED } + if busy { BUSY } else { ms(0) };
            if answers.len() > 1 && speaking && !self.lossy && since > settled && !allowed && self.connected(&answers) {
                cluster.fail(&format!("{answers:?} both answer for {address}, {since:?} after the last fault"));
            }
            let noticed =
                SILENT + ASKED * u32::try_from(cluster.specs.len()).unwrap() + if busy { BUSY } else { ms(0) };
            if answers.len() > 1
                && self.is_kernel_known(&answers)
                && !self.lossy
                && !foreign
                && since > noticed
                && self.connected(&answers)
            {
                cluster.fail(&format!(
                    "{answers:?}, some without agent, answer for {address}, {since:?} after the last fault"
                ));
            }
            // The word of a member that is cut off one way counts for nothing, since it may be that nobody else's word reaches
            // it either. So what another program has put on it is found by asking alone, as often as it is not heard.
            let elsewhere = cluster.nodes.iter().any(|node| node.holdings.contains_key(address));
            let cut_off = elsewhere && !cluster.net.blocked.is_empty();
            owners.push(if cut_off { Vec::new() } else { answers });
        }
        // Where packets are lost, or a node is busy, what an agent that is dead serves may move in the end.
        let steady = !self.lossy && cluster.nodes.iter().all(|node| !node.busy);
        if since > QUIET && steady && self.owners.len() == owners.len() && self.owners != owners {
            cluster.fail(&format!("answers changed from {:?} to {owners:?} without a cause", self.owners));
        }
        self.owners = owners;
    }

    /// Whether one of these nodes has an agent, and another one's agent is dead and all its claims are known to the first.
    fn is_kernel_known(&self, answers: &[usize]) -> bool {
        let nodes = &self.cluster.nodes;
        let dead = |node: &&usize| nodes[**node].machine.is_none() && !nodes[**node].earlier;
        let Some(dead) = answers.iter().find(dead) else { return false };
        answers.iter().filter(|node| !nodes[**node].paused).filter_map(|node| nodes[*node].machine.as_ref()).any(
            |machine| {
                machine.snapshot().members.iter().any(|member| {
                    let known = member.claims > 0 && member.claims >= nodes[*dead].kernel.len();
                    member.node == nodes[*dead].id && member.liveness == Liveness::Silent && known
                })
            },
        )
    }

    /// Whether nodes reach each other on every network.
    pub fn connected(&self, nodes: &[usize]) -> bool {
        let cluster = &self.cluster;
        let segments = if cluster.setup.two_networks { 2 } else { 1 };
        (0..segments).all(|segment| {
            nodes.iter().all(|a| {
                nodes.iter().all(|b| cluster.net.both_ways(cluster.port(*a, segment), cluster.port(*b, segment)))
            })
        })
    }

    /// Exactly one answer for what is wanted, none for the rest.
    pub fn peace(&mut self) {
        self.run(ms(12_000));
        let cluster = &self.cluster;
        for address in cluster.measure.addresses.keys() {
            let answers = cluster.answers(*address);
            let expected = usize::from(cluster.specs.contains_key(address));
            if answers.len() != expected {
                cluster.fail(&format!("{answers:?} answer for {address} in peace, {expected} should"));
            }
        }
        for node in &cluster.nodes {
            let agrees = node.machine.as_ref().is_some_and(|machine| {
                cluster.specs.keys().all(|address| machine.address(*address).is_some_and(|state| state.owner.is_some()))
            });
            if !agrees {
                cluster.fail(&format!("{} does not know an owner", node.id));
            }
        }
    }
}

pub fn schedule(seed: u64, nodes: Option<usize>, faults: usize, draw: Draw) -> Cluster {
    run(Schedule::new(seed, nodes, draw), faults)
}

/// The digest of what the machines do in a schedule, from its first fault on.
pub fn digest(seed: u64, nodes: Option<usize>, faults: usize, draw: Draw) -> Digest {
    let mut schedule = Schedule::new(seed, nodes, draw);
    schedule.cluster.digest = Some(Digest::default());
    run(schedule, faults).digest.take().unwrap()
}

fn run(mut schedule: Schedule, faults: usize) -> Cluster {
    let draw = schedule.draw;
    for _ in 0..faults {
        schedule.disturb();
        let pause = match schedule.cluster.rng.below(if draw == Draw::Sixth { 5 } else { 4 }) {
            0 => 30,
            1 => 400,
            2 => 1500,
            3 => 4000,
            _ => 15_000,
        };
        let pause = u64::try_from(schedule.cluster.rng.below(pause)).unwrap();
        schedule.run(ms(pause));
    }
    schedule.repair();
    schedule.peace();
    schedule.cluster
}
