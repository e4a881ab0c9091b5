//! Clusters beyond [`EAGER`] members, where most hear of claims by rumour, up to a thousand nodes.

use std::net::IpAddr;
use std::time::Duration;

use ownership::membership::EAGER;
use ownership::{Qualified, Time};

use crate::MEDIUM;
use crate::schedule::{Draw, Schedule, ms};
use crate::sim::cluster::Node;
use crate::sim::network::Port;
use crate::sim::{Cluster, Setup};

impl Schedule {
    /// Something happens; after it no address is without an answer, or with two, for longer than so.
    pub fn event(&mut self, what: &str, without: Duration, double: Duration, happens: impl FnOnce(&mut Cluster)) {
        let start = self.cluster.now;
        self.fault = start;
        self.cluster.slowest = ms(0);
        happens(&mut self.cluster);
        self.run(ms(4000));
        let cluster = &self.cluster;
        let worst = |seen: fn(&Cluster, IpAddr, Time) -> Duration| {
            cluster.specs.keys().map(|address| seen(cluster, *address, start)).max().unwrap_or_default()
        };
        let (none, two) = (worst(Cluster::without), worst(Cluster::double));
        let slowest = cluster.slowest;
        println!("{what}: without an answer for {none:?}, with two for {two:?}; the longest step took {slowest:?}");
        assert!(cfg!(debug_assertions) || slowest <= ms(5), "{what}: {slowest:?}");
        assert!(none <= without && two <= double, "{what}: {none:?} {two:?}");
        for address in cluster.specs.keys() {
            assert_eq!(cluster.answers(*address).len(), 1, "{address}");
        }
    }

    /// The agent is restarted: at first its new boot has a lower incarnation than the former one, and fewer claims.
    /// Some hear of it by rumour before they hear itself.
    pub fn restart(&mut self, node: usize) {
        for excluded in [true, false] {
            self.cluster.exclude(node, excluded);
            self.run(ms(1000));
        }
        let port = |host| Port { host, segment: 0 };
        let deaf = (0..self.cluster.nodes.len()).filter(|other| *other != node && other % 4 == 0);
        let pairs: Vec<_> = deaf.map(|other| (port(node), port(other))).collect();
        self.cluster.change("some do not hear it", |net| net.blocked.extend(&pairs));
        self.cluster.kill_agent(node);
        self.cluster.start_agent(node);
        self.cluster.run(ms(500));
        self.cluster.change("all hear it", |net| net.blocked.clear());
        self.fault = self.cluster.now;
        self.run(ms(2000));
    }

    /// An address that nobody else may have is wanted: how long until every machine knows that this node has it.
    pub fn known_everywhere(&mut self, node: usize, number: usize) -> Duration {
        let start = self.cluster.now;
        self.fault = start;
        let (address, owner) = (self.cluster.vip(number), self.cluster.nodes[node].id.clone());
        self.cluster.serve(address, Qualified::Tiers(vec![[owner.clone()].into()]), 0);
        let knows = |node: &Node| {
            let state = |machine: &ownership::Machine| machine.address(address);
            node.machine.as_ref().is_none_or(|machine| state(machine).is_some_and(|s| s.owner.as_ref() == Some(&owner)))
        };
        while !self.cluster.nodes.iter().all(knows) {
            let took = self.cluster.now.since(start);
            assert!(took < ms(9000), "{number} is not known everywhere");
            self.run(ms(50));
        }
        self.cluster.now.since(start)
    }
}

/// Far sooner than everybody has pinged everybody, also of a node whose former boots had more claims than it has now.
#[test]
fn claims_of_a_restarted_node_are_known_everywhere() {
    for nodes in MEDIUM.into_iter().chain([50]) {
        // In a small cluster, who did not hear the new boot start hears it when they next ping each other.
        let missed = if nodes > EAGER + 1 { ms(1000) } else { ms(500) * u32::try_from(nodes).unwrap() };
        let mut worst = [ms(0); 2];
        for seed in 1..=3 {
            let mut cluster = Cluster::settled(Setup { nodes, vips: 1, seed, ..Setup::default() });
            let node = cluster.rng.below(nodes);
            let fault = cluster.now;
            let mut schedule = Schedule { cluster, fault, lossy: false, draw: Draw::Third, owners: Vec::new() };
            for (restarts, worst) in worst.iter_mut().enumerate() {
                for number in 1..=5 {
                    *worst = (*worst).max(schedule.known_everywhere(node, number));
                    // Versions that the next boot does not reach.
                    schedule.cluster.stop_serving(schedule.cluster.vip(number));
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

/// `OWNERSHIP_VIPS`: how many addresses a thousand nodes serve.
fn vips() -> Option<usize> {
    crate::number("OWNERSHIP_VIPS").and_then(|count| count.try_into().ok())
}

/// One network of a thousand nodes: what it costs at rest, and an owner that is cut off, comes back, crashes, is
/// excluded, and whose agent is restarted twice. How long a step takes is checked in a release build. By hand:
/// `cargo test --release -p ownership --test schedules -- --ignored thousand --nocapture`.
#[test]
#[ignore = "takes minutes"]
fn thousand_nodes() {
    let (nodes, vips) = (1000, vips().unwrap_or(100));
    let mut cluster = Cluster::new(Setup { nodes, vips, seed: 1, ..Setup::default() });
    for node in 0..nodes {
        cluster.power_on(node);
        if node % 100 == 99 {
            cluster.run(ms(100));
        }
    }
    let fault = cluster.now;
    let mut schedule = Schedule { cluster, fault, lossy: false, draw: Draw::Third, owners: Vec::new() };
    schedule.run(ms(10_000));
    let traffic = |cluster: &Cluster| {
        let sum = |count: fn(&Node) -> u64| cluster.nodes.iter().map(count).sum::<u64>();
        [sum(|node| node.sent), sum(|node| node.bytes)]
    };
    let before = traffic(&schedule.cluster);
    schedule.run(ms(5000));
    let [datagrams, bytes] = [0, 1].map(|what| (traffic(&schedule.cluster)[what] - before[what]) / 5000);
    println!("at rest, per node and second: {datagrams} datagrams of {bytes} bytes together");
    assert!(datagrams <= 80 && bytes <= 12_000, "{datagrams} datagrams, {bytes} bytes");

    let victim = schedule.cluster.owner(schedule.cluster.vip(0)).unwrap();
    schedule.event("cut off", ms(1000), ms(0), |cluster| cluster.cut(victim));
    schedule.event("back", ms(0), ms(300), |cluster| cluster.heal(victim));
    let victim = schedule.cluster.owner(schedule.cluster.vip(0)).unwrap();
    schedule.event("crashed", ms(1000), ms(0), |cluster| cluster.power_off(victim));
    let victim = schedule.cluster.owner(schedule.cluster.vip(0)).unwrap();
    schedule.event("excluded", ms(10), ms(0), |cluster| cluster.exclude(victim, true));
    assert_ne!(schedule.cluster.owner(schedule.cluster.vip(0)), Some(victim));
    schedule.restart(victim);
    schedule.restart(victim);
    let known = schedule.known_everywhere(victim, vips);
    println!("restarted twice: what it claims next is known everywhere after {known:?}");
    assert!(known <= ms(2000), "{known:?}");
}
