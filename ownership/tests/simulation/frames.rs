//! How many frames a node sends: little at rest, a bounded number whatever is broken, and no storm at a takeover.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ownership::{Mac, Qualified};

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

/// Gossip is blocked from the start: members are watched on the link, by their Leases, and what a dead one had is taken
/// over without waiting for its turn among the looks.
#[test]
fn gossip_is_blocked_from_the_start_and_a_node_dies() {
    for seed in 1..=seeds(5) {
        let setup = Setup { seed, vips: 60, family: Family::of(seed), ..Setup::default() };
        let mut cluster = Cluster::new(setup);
        cluster.block_udp = true;
        for node in 0..3 {
            cluster.power_on(node);
        }
        cluster.run(ms(15_000));
        let (node, start) = (owner(&cluster, 0), cluster.now);
        cluster.power_off(node);
        cluster.run(ms(6000));
        let without = (0..60).map(|number| cluster.without(cluster.vip(number), start)).max().unwrap();
        println!("gossip blocked, a node dies: {without:?}");
        assert!(without < ms(1000), "seed {seed}: {without:?}");
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
        let looks = worst(&cluster, &[0], after, |frames| frames.for_vips);
        println!(
            "other agents down: {most} broadcasts a second, {looks} questions for VIPs, those to one host included"
        );
        assert!(most <= LOOKS + 4, "seed {seed}: {most}");
        assert!(looks <= LOOKS + 2, "seed {seed}: {looks}");
        assert!((0..200).all(|number| cluster.answers(cluster.vip(number)).len() == 1));
    }
}

/// One node takes hundreds of addresses over that another one had.
#[test]
fn a_takeover_is_no_storm() {
    for (vips, last) in [(200, 600), (1000, 3000)] {
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

/// Sixteen hosts ask for each address.
fn ask_for_all(cluster: &mut Cluster) {
    for target in cluster.specs.clone().into_keys() {
        for host in 1..=16 {
            cluster.host_asks(Ipv4Addr::new(10, 0, 199, 100 + host).into(), Mac([2, 0, 0, 1, 0, host]), target);
        }
    }
}

/// Two nodes die a second apart: what the hosts are still to be told of the first takeover holds up no second one.
#[test]
fn introductions_hold_no_takeover_up() {
    for seed in 1..=seeds(5) {
        let mut cluster =
            Cluster::settled(Setup { seed, vips: 100, frames_per_second: 500, client: false, ..Setup::default() });
        cluster.run(ms(12_000));
        ask_for_all(&mut cluster);
        let [first, second] = [owner(&cluster, 0), (owner(&cluster, 0) + 1) % 3];
        cluster.power_off(first);
        cluster.run(ms(1000));
        let after = cluster.now;
        cluster.power_off(second);
        cluster.run(ms(4000));
        let without = (0..100).map(|number| cluster.without(cluster.vip(number), after)).max().unwrap();
        println!("two takeovers with introductions: {without:?}");
        assert!(without <= ms(1200), "seed {seed}: {without:?}");
    }
}

/// All of them are asked where the limit is small, and no more in any second than it allows.
#[test]
fn a_small_limit_is_kept_by_introductions() {
    for seed in 1..=seeds(5) {
        let mut cluster =
            Cluster::settled(Setup { seed, vips: 2, frames_per_second: 15, client: false, ..Setup::default() });
        cluster.run(ms(20_000));
        ask_for_all(&mut cluster);
        let (node, address, after) = (owner(&cluster, 0), cluster.vip(0), cluster.now);
        cluster.power_off(node);
        cluster.run(ms(30_000));
        let heir = owner(&cluster, 0);
        let asked: Vec<_> =
            cluster.introduced.iter().filter(|(at, by, ..)| *at >= after && *by == heir).copied().collect();
        let hosts: BTreeSet<_> = asked.iter().filter(|(.., from, _)| *from == address).map(|(.., to)| *to).collect();
        assert_eq!(hosts.len(), 17, "seed {seed}: the gateway and sixteen hosts");
        for (at, ..) in &asked {
            let within = asked.iter().filter(|(other, ..)| at <= other && other.since(*at) < ms(1000)).count();
            assert!(within <= 3, "seed {seed}: {within} in a second");
        }
    }
}

/// Whatever a takeover sends counts, questions to one host too.
#[test]
fn a_small_limit_is_kept_by_takeovers() {
    for family in Family::ALL {
        let setup = Setup { nodes: 2, vips: 60, family, frames_per_second: 100, client: false, ..Setup::default() };
        let mut cluster = Cluster::settled(setup);
        cluster.run(ms(30_000));
        let (node, after) = (owner(&cluster, 0), cluster.now);
        cluster.power_off(node);
        cluster.run(ms(20_000));
        let sent: Vec<_> = cluster
            .sent_by(1 - node, after - ms(1000))
            .iter()
            .map(|frames| frames.asked_all + frames.asked_one + frames.announced)
            .collect();
        println!("{family:?}: a takeover with a small limit: {sent:?}");
        // Witnesses and the lost owner are asked too. Copies of IPv6 questions to one host are paid for afterwards.
        let most = *sent.iter().max().unwrap();
        assert!(most <= if family == Family::V4 { 125 } else { 175 }, "{family:?}: {sent:?}");
        let in_four: Vec<u32> = sent.windows(4).map(|seconds| seconds.iter().sum()).collect();
        assert!(
            in_four.iter().all(|sum| *sum <= 4 * if family == Family::V4 { 105 } else { 125 }),
            "{family:?}: {in_four:?}"
        );
    }
}

/// The gateway is told of all addresses before other hosts are told of any.
#[test]
fn gateways_are_asked_first() {
    let mut cluster = Cluster::settled(Setup { nodes: 2, vips: 200, client: false, ..Setup::default() });
    cluster.run(ms(12_000));
    ask_for_all(&mut cluster);
    let (node, after) = (owner(&cluster, 0), cluster.now);
    let held = cluster.nodes[node].kernel.clone();
    cluster.power_off(node);
    cluster.run(ms(60_000));
    let first = |address, gateway: bool| {
        let to = cluster.introduced.iter().filter(|(at, _, from, _)| *at >= after && *from == address);
        let asked = to.filter(|(.., host)| cluster.hosts[1].addresses.contains(host) == gateway);
        asked.map(|(at, ..)| at.since(after)).min().unwrap()
    };
    let last = held.iter().map(|address| first(*address, true)).max().unwrap();
    println!("{} addresses: the gateway is told of the last after {last:?}", held.len());
    assert!(last < ms(1500), "{last:?}");
    assert!(held.iter().all(|address| first(*address, false) < ms(20_000)), "hosts are not told");
}

/// The kernels of silent agents answer, but not questions to them alone: those are asked ever more seldom, and are looks
/// too. The addresses are taken over, and what is asked then is bounded too.
#[test]
fn questions_to_one_host_are_bounded() {
    for seed in 1..=seeds(3) {
        let mut cluster = settled(seed, 2, 3);
        let start = cluster.now;
        cluster.nodes[1].ignores_unicast = true;
        cluster.kill_agent(1);
        cluster.run(ms(8000));
        let asked: u32 = cluster.sent_by(0, start - ms(1000)).iter().map(|frames| frames.for_vips).sum();
        println!("three kernels that do not answer alone: {asked} questions");
        assert!(asked <= 3 * 30, "seed {seed}: {asked}");

        let mut cluster = settled(seed, 3, 100);
        for node in 1..3 {
            cluster.nodes[node].ignores_unicast = true;
            cluster.kill_agent(node);
        }
        cluster.run(ms(12_000));
        let after = cluster.now;
        cluster.run(ms(20_000));
        let most = worst(&cluster, &[0], after, |frames| frames.for_vips);
        println!("kernels that do not answer alone: {most} questions for VIPs a second");
        assert!(most <= LOOKS + 2, "seed {seed}: {most}");
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
