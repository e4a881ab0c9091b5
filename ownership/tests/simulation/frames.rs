//! How many frames a node sends: little at rest, a bounded number whatever is broken, and no storm at a takeover.

use ownership::Qualified;

use crate::row::{ms, owner, seeds};
use crate::sim::{Cluster, Family, Frames, Setup};

/// Repeated looks ask ten questions a second, and as many go to witnesses where nobody answers.
const LOOKS: u32 = 10;

fn worst(cluster: &Cluster, nodes: &[usize], after: ownership::Time, count: fn(&Frames) -> u32) -> u32 {
    nodes.iter().flat_map(|node| cluster.sent_by(*node, after)).map(|frames| count(&frames)).max().unwrap_or(0)
}

fn settled(seed: u64, nodes: usize, vips: usize) -> Cluster {
    Cluster::settled(Setup { seed, nodes, vips, family: Family::of(seed), ..Setup::default() })
}

#[test]
fn at_rest_less_than_two_questions_a_second() {
    let mut most = 0.0_f64;
    for seed in 1..=seeds(6) {
        let mut cluster = settled(seed, 5, 20);
        cluster.run(ms(4000));
        let after = cluster.now;
        cluster.run(ms(21_000));
        for node in 0..5 {
            let sent = cluster.sent_by(node, after);
            let asked: u32 = sent.iter().map(|frames| frames.asked_all + frames.asked_one).sum();
            most = most.max(f64::from(asked) / f64::from(u32::try_from(sent.len()).unwrap()));
        }
    }
    println!("at rest: {most} questions a second");
    assert!(most < 2.0, "{most}");
}

/// Gossip is blocked from the start, and Services are added meanwhile.
#[test]
fn gossip_is_blocked_from_the_start() {
    for seed in 1..=seeds(3) {
        let setup = Setup { seed, vips: 200, family: Family::of(seed), ..Setup::default() };
        let mut cluster = Cluster::new(setup);
        cluster.block_udp = true;
        for node in 0..3 {
            cluster.power_on(node);
        }
        cluster.run(ms(15_000));
        let after = cluster.now;
        for number in 300..305 {
            cluster.serve(cluster.vip(number), Qualified::All, 0);
            cluster.run(ms(3000));
        }
        for number in (0..200).chain(300..305) {
            assert!(!cluster.answers(cluster.vip(number)).is_empty(), "seed {seed}: {number} is not served");
        }
        let most = worst(&cluster, &[0, 1, 2], after, |frames| frames.asked_all);
        println!("gossip blocked: {most} broadcasts a second");
        // A new Service is asked for at once.
        assert!(most <= LOOKS + 5 + 4, "seed {seed}: {most}");
    }
}

#[test]
fn an_agent_with_a_wrong_key() {
    for seed in 1..=seeds(3) {
        let setup = Setup { seed, vips: 200, family: Family::of(seed), ..Setup::default() };
        let mut cluster = Cluster::new(setup);
        cluster.nodes[1].wrong_key = true;
        for node in 0..3 {
            cluster.power_on(node);
        }
        cluster.run(ms(15_000));
        let after = cluster.now;
        cluster.run(ms(15_000));
        let most = worst(&cluster, &[0, 1, 2], after, Frames::broadcasts);
        println!("a wrong key: {most} broadcasts a second");
        assert!(most <= LOOKS + 2, "seed {seed}: {most}");
    }
}

/// All frames to a node are lost, and it can send.
#[test]
fn case_s3_a_deaf_node_does_not_flood_the_link() {
    for seed in 1..=seeds(3) {
        let mut cluster = settled(seed, 3, 44);
        let port = cluster.port(0, 0);
        cluster.change("0 is deaf", |net| {
            net.deaf.insert(port);
        });
        cluster.run(ms(6000));
        let after = cluster.now;
        cluster.run(ms(20_000));
        let most = worst(&cluster, &[0], after, Frames::broadcasts);
        println!("a deaf node: {most} broadcasts a second");
        assert!(most <= LOOKS + 2, "seed {seed}: {most}");
    }
}

/// All agents but one are down, and their kernels serve.
#[test]
fn agents_are_down_everywhere_but_one() {
    for seed in 1..=seeds(3) {
        let mut cluster = settled(seed, 5, 200);
        for node in 1..5 {
            cluster.kill_agent(node);
        }
        cluster.run(ms(6000));
        let after = cluster.now;
        cluster.run(ms(20_000));
        let most = worst(&cluster, &[0], after, Frames::broadcasts);
        println!("other agents down: {most} broadcasts a second");
        assert!(most <= LOOKS + 4, "seed {seed}: {most}");
        assert!((0..200).all(|number| cluster.answers(cluster.vip(number)).len() == 1));
    }
}

/// One node takes hundreds of addresses over that another one had.
#[test]
fn a_takeover_is_no_storm() {
    for (vips, last) in [(200, 600), (1000, 2000)] {
        let mut cluster = settled(1, 2, vips);
        cluster.run(ms(12_000));
        let node = owner(&cluster, 0);
        let after = cluster.now;
        cluster.power_off(node);
        cluster.run(ms(12_000));
        let most = worst(&cluster, &[1 - node], after - ms(1000), Frames::broadcasts);
        let without = (0..vips).map(|number| cluster.without(cluster.vip(number), after)).max().unwrap();
        println!("a takeover of {vips} addresses: {most} frames a second, the last after {without:?}");
        // And the questions to witnesses and watched members.
        assert!(most <= 2000 + 50, "{most}");
        assert!(without <= ms(last), "{without:?}");
    }
}

/// A router answers for every address of the subnet (proxy ARP).
#[test]
fn case_05_a_router_with_proxy_arp() {
    for (vips, last) in [(200, 2000), (1000, 6000)] {
        let mut cluster = Cluster::new(Setup { nodes: 1, vips, ..Setup::default() });
        let host = cluster.add_foreign(Cluster::unused(cluster.vip(0)));
        let addresses: Vec<_> = cluster.specs.keys().copied().collect();
        let index = host - cluster.nodes.len();
        cluster.hosts[index].addresses.extend(addresses);
        let start = cluster.now;
        cluster.power_on(0);
        cluster.run(ms(last));
        assert!(
            cluster.specs.keys().all(|address| cluster.nodes[0].kernel.contains(address)),
            "{vips}: not all served"
        );
        cluster.run(ms(20_000));
        let most = worst(&cluster, &[0], start - ms(1000), Frames::broadcasts);
        println!("proxy ARP, {vips} addresses: {most} frames a second");
        assert!(most <= 2000 + 50, "{most}");
        cluster.run(ms(5000));
        let rest = worst(&cluster, &[0], cluster.now - ms(5000), Frames::broadcasts);
        assert!(rest <= LOOKS, "at rest {rest}");
    }
}

/// kube-proxy in IPVS mode, without strict ARP, on a machine that has no agent and no Lease: it answers for every VIP.
#[test]
fn case_29_an_ipvs_node_without_an_agent() {
    for seed in 1..=seeds(3) {
        let setup = Setup { seed, nodes: 3, vips: 200, family: Family::of(seed), ..Setup::default() };
        let mut cluster = Cluster::new(setup);
        let addresses: Vec<_> = cluster.specs.keys().copied().collect();
        cluster.nodes[2].powered = true;
        cluster.nodes[2].ipvs.extend(addresses);
        let start = cluster.now;
        cluster.power_on(0);
        cluster.power_on(1);
        cluster.run(ms(8000));
        let first = worst(&cluster, &[0, 1], start - ms(1000), Frames::broadcasts);
        let after = cluster.now;
        cluster.run(ms(20_000));
        let most = worst(&cluster, &[0, 1], after, Frames::broadcasts);
        println!("an IPVS node without agent: {first} frames in the first second, then {most}");
        assert!(first <= 2000 + 50, "seed {seed}: {first}");
        // Every ten seconds a free address of each family is asked for too, and witnesses are asked.
        assert!(most <= LOOKS + 3 * 2 + 4, "seed {seed}: {most}");
    }
}
