//! Kernels of members that answer for an address: from somebody else, as a route, or for no reason.

use std::net::IpAddr;

use ownership::{ConflictPolicy, Event, KernelHolding, Notification, Qualified, Time};

use crate::row::{ms, owner, row, seeds};
use crate::sim::{Cluster, Family, Setup};

fn conflicts(cluster: &Cluster, node: usize, after: Time) -> Vec<(String, bool)> {
    let notifications = cluster.notifications(node, after);
    let conflicts = notifications.filter_map(|notification| match notification {
        Notification::ConflictOnNode { node, yielded, .. } => Some((node.to_string(), *yielded)),
        _ => None,
    });
    conflicts.collect()
}

fn strict_arp(cluster: &Cluster, after: Time) -> Vec<(String, bool)> {
    let all = (0..cluster.nodes.len()).flat_map(|node| cluster.notifications(node, after));
    let needed = all.filter_map(|notification| match notification {
        Notification::StrictArpNeeded { node, routed, .. } => Some((node.to_string(), *routed)),
        _ => None,
    });
    needed.collect()
}

fn holders(cluster: &Cluster, address: IpAddr) -> Vec<usize> {
    (0..cluster.nodes.len()).filter(|node| cluster.nodes[*node].kernel.contains(&address)).collect()
}

/// A pool holds a node's own address, or the VIP of another program: nobody claims it, and it is said who has it.
#[test]
fn case_01_case_03_what_a_members_kernel_has_from_somebody_else_is_not_claimed() {
    for seed in 1..=seeds(20) {
        let mut cluster = Cluster::settled(Setup { seed, family: Family::of(seed), vips: 1, ..Setup::default() });
        let (address, start) = (cluster.vip(9), cluster.now);
        cluster.hold(1, address, KernelHolding::Foreign);
        cluster.serve(address, Qualified::All, 0);
        cluster.run(ms(10_000));
        assert_eq!(holders(&cluster, address), []);
        let said: Vec<_> = [0, 2].into_iter().flat_map(|node| conflicts(&cluster, node, start)).collect();
        assert!(!said.is_empty() && said.len() < 20, "{said:?}");
        assert!(said.iter().all(|conflict| *conflict == ("node-1".to_owned(), false)), "{said:?}");
        assert_eq!(strict_arp(&cluster, start), []);
        // The other program moves it to another node, and then stops.
        cluster.hold_no_more(1, address);
        cluster.hold(2, address, KernelHolding::Foreign);
        cluster.run(ms(10_000));
        assert_eq!(cluster.answers(address), [2]);
        cluster.hold_no_more(2, address);
        cluster.run(ms(10_000));
        assert_eq!(holders(&cluster, address).len(), 1);
    }
}

/// As before, and the agent of the node that has it is dead, or of the earlier release: its Lease says that the address is
/// its own.
#[test]
fn case_01_the_own_address_of_a_node_whose_agent_cannot_be_asked_is_not_claimed() {
    for (seed, dead) in [(1, true), (2, false)] {
        let mut cluster = Cluster::settled(Setup { seed, family: Family::V4, vips: 1, ..Setup::default() });
        let address = cluster.vip(9);
        cluster.nodes[1].own.push(address);
        cluster.hold(1, address, KernelHolding::Foreign);
        cluster.downgrade(1);
        cluster.nodes[1].earlier = !dead;
        cluster.run(ms(8000));
        let start = cluster.now;
        cluster.serve(address, Qualified::All, 0);
        cluster.run(ms(15_000));
        assert_eq!(holders(&cluster, address), []);
        assert!([0, 2].into_iter().any(|node| !conflicts(&cluster, node, start).is_empty()));
    }
}

/// An earlier release left the pair behind: the VIP yields within 5 s of the upgrade.
#[test]
fn case_01_a_pair_that_an_earlier_release_left_behind_ends_after_the_upgrade() {
    for seed in 1..=seeds(20) {
        let mut cluster = Cluster::settled(Setup { seed, family: Family::of(seed), ..Setup::default() });
        let (node, address) = (owner(&cluster, 0), cluster.vip(0));
        let other = (node + 1) % 3;
        for number in [node, other] {
            cluster.downgrade(number);
        }
        cluster.hold(other, address, KernelHolding::Foreign);
        cluster.run(ms(3000));
        assert_eq!(cluster.answers(address).len(), 2);
        cluster.upgrade(node);
        cluster.run(ms(2000));
        let start = cluster.now;
        cluster.upgrade(other);
        cluster.run(ms(5000));
        assert_eq!(cluster.answers(address), [other]);
        let id = cluster.nodes[other].id.to_string();
        assert!(conflicts(&cluster, node, start).contains(&(id, true)));
        // It comes back when it is free.
        cluster.hold_no_more(other, address);
        cluster.run(ms(12_000));
        assert_eq!(holders(&cluster, address).len(), 1);
    }
}

/// One answer alone takes nothing away.
#[test]
fn a_foreign_holder_for_a_moment_moves_nothing() {
    row("a foreign holder for a moment", &Setup::default(), |cluster| {
        let (node, address) = (owner(cluster, 0), cluster.vip(0));
        let other = (node + 1) % 3;
        cluster.hold(other, address, KernelHolding::Foreign);
        cluster.run(ms(300));
        cluster.hold_no_more(other, address);
        cluster.run(ms(5000));
        assert_eq!(owner(cluster, 0), node);
        cluster.now
    });
}

#[test]
fn policies_for_a_foreign_holder() {
    for policy in [ConflictPolicy::Warn, ConflictPolicy::Off] {
        let mut cluster = Cluster::settled(Setup { vips: 1, ..Setup::default() });
        for node in 0..3 {
            cluster.deliver(node, Event::Policy(policy));
        }
        let (start, kept) = (cluster.now, owner(&cluster, 0));
        for address in [cluster.vip(0), cluster.vip(9)] {
            cluster.hold((kept + 1) % 3, address, KernelHolding::Foreign);
        }
        cluster.serve(cluster.vip(9), Qualified::All, 0);
        cluster.run(ms(5000));
        assert_eq!(holders(&cluster, cluster.vip(0)), [kept]);
        assert_eq!(holders(&cluster, cluster.vip(9)).len(), 1);
        let said = (0..3).any(|node| !conflicts(&cluster, node, start).is_empty());
        assert_eq!(said, policy == ConflictPolicy::Warn);
    }
}

/// A member announces the address as a route, and its kernel answers on the link too: claimed, and the advice is another.
#[test]
fn what_a_member_has_as_a_route_is_claimed() {
    for family in Family::ALL {
        let mut cluster = Cluster::settled(Setup { vips: 1, family, ..Setup::default() });
        let (address, start) = (cluster.vip(9), cluster.now);
        for node in 0..3 {
            cluster.hold(node, address, KernelHolding::Remote);
        }
        cluster.serve(address, Qualified::All, 0);
        cluster.run(ms(3000));
        assert_eq!(holders(&cluster, address).len(), 1);
        let needed = strict_arp(&cluster, start);
        assert!(!needed.is_empty() && needed.iter().all(|(_, routed)| *routed), "{needed:?}");
    }
}

/// kube-proxy in IPVS mode without strict ARP answers everywhere, and one agent is down: new addresses are served, those
/// of the silent agent stay with it.
#[test]
fn case_29_a_silent_agent_under_ipvs_blocks_no_new_claim() {
    row("IPVS, agent dead", &Setup::default(), |cluster| {
        let dead = owner(cluster, 0);
        for number in 0..15 {
            let address = cluster.vip(number);
            for node in &mut cluster.nodes {
                node.ipvs.insert(address);
            }
        }
        cluster.kill_agent(dead);
        cluster.run(ms(6000));
        let start = cluster.now;
        for number in 5..15 {
            cluster.serve(cluster.vip(number), Qualified::All, 0);
        }
        cluster.run(ms(3000));
        for number in 5..15 {
            let address = cluster.vip(number);
            assert_eq!(holders(cluster, address).len(), 1, "{address}");
            let served = cluster.measure.addresses[&address].owners[0].0.since(start);
            assert!(served < ms(1000), "{served:?}");
        }
        let id = cluster.nodes[dead].id.to_string();
        assert!(strict_arp(cluster, start).contains(&(id, false)));
        assert_eq!(owner(cluster, 0), dead, "taken from a kernel that serves");
        cluster.now
    })
    .bounds(0, 0, 0);
}

/// A switch does not carry the members' questions, or they ask none: the holder tells those who could claim next, so that
/// the address is not claimed by one after the other, and again for ever.
#[test]
fn a_foreign_holder_that_no_question_reaches_is_yielded_to_once() {
    for seed in 1..=seeds(20) {
        let setup = Setup { seed, nodes: 5, family: Family::V6, snooping: true, ..Setup::default() };
        let mut cluster = Cluster::settled(Setup { skip_probe: seed % 2 == 0, ..setup });
        let (node, address) = (owner(&cluster, 0), cluster.vip(0));
        let other = (node + 1) % 5;
        cluster.hold(other, address, KernelHolding::Foreign);
        cluster.run(ms(1500));
        let after = cluster.now;
        cluster.run(ms(20_000));
        assert_eq!(cluster.answers(address), [other]);
        assert_eq!(cluster.double(address, after), ms(0), "seed {seed}");
        // It comes back when it is free.
        cluster.hold_no_more(other, address);
        cluster.run(ms(8000));
        assert_eq!(holders(&cluster, address).len(), 1);
    }
}

/// The holder hears nothing, so that its kernel answers nobody; what it says takes nothing from others.
#[test]
fn a_deaf_member_with_a_foreign_holder_is_not_yielded_to() {
    for seed in 1..=seeds(20) {
        let setup = Setup { seed, vips: 1, family: Family::V6, snooping: seed % 2 == 0, ..Setup::default() };
        let mut cluster = Cluster::settled(setup);
        let (node, address) = (owner(&cluster, 0), cluster.vip(0));
        let other = (node + 1) % 3;
        let port = cluster.port(other, 0);
        cluster.change("a member is deaf", |net| {
            net.deaf.insert(port);
        });
        cluster.run(ms(3000));
        cluster.hold(other, address, KernelHolding::Foreign);
        cluster.run(ms(20_000));
        assert_eq!(cluster.answers(address), [node], "seed {seed}");
        // Once it hears again, its kernel answers.
        cluster.change("it hears", |net| net.deaf.clear());
        cluster.run(ms(5000));
        assert_eq!(cluster.answers(address), [other], "seed {seed}");
    }
}
