use std::collections::BTreeSet;

use api_types::{AgentConfig, ServiceGroup};

use super::*;
use crate::endpoints::testing::slice;
use crate::groups::testing::{group, groups};
use crate::members::testing::{at, lease, wall};
use crate::observed::Change;
use crate::observed::testing::{key, node, ours, plain};
use crate::services::testing::view;

/// A cluster seen from node `me`, which is in `192.168.50.0/24` and `fd00:50::/64`.
struct World {
    mode: Mode,
    groups: Groups,
    members: Members,
    endpoints: Endpoints,
    observed: Observed,
    node_addresses: BTreeSet<IpAddr>,
    held: Option<Placement>,
    now: u64,
}

impl World {
    fn new(all: &[ServiceGroup]) -> Self {
        let mut members = Members::new("me");
        members.own_renewal(at(0));
        let mut endpoints = Endpoints::default();
        endpoints.set_complete();
        Self {
            mode: Mode::Default(AgentConfig::default()),
            groups: groups(all),
            members,
            endpoints,
            observed: node(),
            node_addresses: ["192.168.50.11".parse().unwrap()].into(),
            held: None,
            now: 1,
        }
    }

    fn decide(&mut self, address: &str, users: &[ServiceView]) -> Decision {
        let config = AgentConfig::default();
        let selection = Selection::new(self.mode.config().unwrap_or(&config), &self.observed, |_, _| false);
        self.members.set_own_subnets(selection.subnets(), at(self.now));
        let connected = Connected::new(&self.observed, |_, found| found.mark.is_some());
        let context = Context {
            connected: &connected,
            mode: &self.mode,
            groups: &self.groups,
            selection: &selection,
            members: &self.members,
            endpoints: &self.endpoints,
            observed: &self.observed,
            recorded: &BTreeSet::new(),
            node_addresses: &self.node_addresses,
            dummy: self.observed.index_of("kube-lb0"),
            now: at(self.now),
        };
        decide(&context, address.parse().unwrap(), &users.iter().collect::<Vec<_>>(), self.held.as_ref())
    }

    /// The outcome as one line.
    fn line(&mut self, address: &str, users: &[ServiceView]) -> String {
        let decision = self.decide(address, users);
        let place = decision.placement.map_or_else(
            || "nothing".to_owned(),
            |placement| {
                format!(
                    "{:?} {}/{}",
                    placement.kind,
                    self.observed.name_of(placement.key.index),
                    placement.key.prefix_len
                )
            },
        );
        format!("{place}: {}", decision.reason.word())
    }
}

fn seed() -> Vec<ServiceGroup> {
    vec![
        group("ipv4-routed", "remote", "172.30.200.155-172.30.200.160", "172.30.200.0/24", "/32"),
        group("ipv6-routed", "remote", "2001:470:8bf5:2:2::1-2001:470:8bf5:2:2::ffff", "2001:470:8bf5:2::/64", "/128"),
        group("lan", "local", "192.168.50.200-192.168.50.210", "192.168.50.0/24", "default"),
        group("lan6", "local", "fd00:50::f000/116", "fd00:50::/64", "default"),
        group("aggregated", "remote", "10.9.0.0/24", "10.9.0.0/16", "default"),
        group("elsewhere", "local", "192.0.2.0/24", "192.0.2.0/24", "default"),
    ]
}

fn service(address: &str) -> ServiceView {
    view("web", &[address], None)
}

#[test]
fn remote_addresses_go_onto_the_dummy_interface_with_their_aggregation() {
    let mut world = World::new(&seed());
    for (address, expected) in [
        ("172.30.200.155", "Remote kube-lb0/32: announcingNonLocal"),
        ("2001:470:8bf5:2:2::7", "Remote kube-lb0/128: announcingNonLocal"),
        ("10.9.0.7", "Remote kube-lb0/16: announcingNonLocal"),
    ] {
        assert_eq!(world.line(address, &[service(address)]), expected);
    }
}

#[test]
fn local_addresses_get_the_prefix_and_attributes_of_their_interface() {
    let mut world = World::new(&seed());
    let v4 = world.decide("192.168.50.200", &[service("192.168.50.200")]);
    assert_eq!(v4.placement.unwrap().key, key(2, "192.168.50.200/24"));
    assert_eq!(v4.placement.unwrap().attributes, AddressAttributes::LOCAL);
    let v6 = world.decide("fd00:50::f000", &[service("fd00:50::f000")]).placement.unwrap();
    assert_eq!(v6.key, key(2, "fd00:50::f000/64"));
    assert_eq!((v6.attributes.valid_lifetime, v6.attributes.preferred_lifetime), (Some(300), Some(0)));
}

#[test]
fn a_local_groups_address_is_never_remote() {
    let mut world = World::new(&seed());
    assert_eq!(world.line("192.0.2.1", &[service("192.0.2.1")]), "nothing: noLocalInterface");
    world.members.apply(lease("other", &["192.0.2.0/24"], 1000), at(1), wall(1000));
    assert_eq!(world.line("192.0.2.1", &[service("192.0.2.1")]), "nothing: noLocalInterface");
}

#[test]
fn a_remote_address_in_a_members_subnet_is_local_for_the_whole_cluster() {
    let mut world = World::new(&seed());
    let users = [service("172.30.200.155")];
    world.members.apply(lease("other", &["172.30.200.0/24"], 1000), at(1), wall(1000));
    assert_eq!(world.line("172.30.200.155", &users), "nothing: noLocalInterface");
    world.members.remove("other", at(2));
    world.now = 61;
    assert_eq!(world.line("172.30.200.155", &users), "nothing: noLocalInterface");
    world.now = 62;
    assert_eq!(world.line("172.30.200.155", &users), "Remote kube-lb0/32: announcingNonLocal");
}

#[test]
fn an_edited_group_takes_nothing_away() {
    let mut world = World::new(&[]);
    let remote = view("web", &["172.30.200.155"], Some("remote"));
    assert_eq!(world.line("172.30.200.155", std::slice::from_ref(&remote)), "Remote kube-lb0/32: announcingNonLocal");
    world.observed.apply(Change::Address(key(3, "172.30.200.155/24"), ours()));
    assert_eq!(world.line("172.30.200.155", &[remote]), "Remote kube-lb0/24: announcingNonLocal");
    let local = view("web", &["192.168.50.200"], Some("local"));
    assert_eq!(world.line("192.168.50.200", &[local]), "Local eth0/24: electionWon");
}

#[test]
fn other_owners_and_unknown_ones() {
    let mut world = World::new(&seed());
    let users = [service("192.168.50.200")];
    world.members.apply(lease("peer", &["192.168.50.0/24"], 1000), at(1), wall(1000));
    let owned: Vec<_> =
        (200..=210).filter(|last| world.line(&format!("192.168.50.{last}"), &users).starts_with("Local")).collect();
    assert!(!owned.is_empty() && owned.len() < 11, "{owned:?}");
    // Our Lease is not renewed: what is here stays, what is not does not come.
    world.now = 7;
    assert_eq!(world.line("192.168.50.200", &users), "nothing: undecided");
    world.observed.apply(Change::Address(key(2, "192.168.50.200/24"), KernelAddressExt::finite()));
    assert_eq!(world.line("192.168.50.200", &users), "Local eth0/24: electionWon");
}

struct KernelAddressExt;

impl KernelAddressExt {
    fn finite() -> crate::observed::KernelAddress {
        crate::observed::KernelAddress { valid: Some(300), ..ours() }
    }
}

#[test]
fn overlap_with_a_connected_network_is_refused() {
    let mut all = seed();
    all.push(group("lan2", "remote", "10.1.0.50/32", "10.1.0.0/24", "/32"));
    all.push(group("wide", "remote", "10.2.0.0/24", "10.0.0.0/8", "default"));
    let mut world = World::new(&all);
    for address in ["10.1.0.50", "10.2.0.1"] {
        let decision = world.decide(address, &[service(address)]);
        let Reason::Refused(text) = decision.reason else { panic!("{decision:?}") };
        assert!(text.contains("10.1.0.0/24 of eth1"), "{text}");
    }
    // kube-proxy's IPVS interface has every address as a host route.
    world.observed.apply(Change::Address(key(1, "172.30.200.155/32"), plain()));
    assert_eq!(world.line("172.30.200.155", &[service("172.30.200.155")]), "Remote kube-lb0/32: announcingNonLocal");
}

#[test]
fn the_nodes_own_addresses_are_never_touched() {
    let mut world = World::new(&[group("greedy", "local", "192.168.50.0/24", "192.168.50.0/24", "default")]);
    assert_eq!(world.line("192.168.50.11", &[service("192.168.50.11")]), "nothing: refused");
    world.observed.apply(Change::Address(key(2, "192.168.50.77/24"), plain()));
    assert_eq!(world.line("192.168.50.77", &[service("192.168.50.77")]), "nothing: refused");
}

#[test]
fn traffic_policy_local() {
    let mut world = World::new(&seed());
    let local_policy = |address: &str, name: &str| ServiceView { traffic_local: true, ..view(name, &[address], None) };
    let remote = [local_policy("172.30.200.155", "web")];
    assert_eq!(world.line("172.30.200.155", &remote), "nothing: noEndpoints");
    world.endpoints.apply(slice("web", "1", &["me"], &[]));
    assert_eq!(world.line("172.30.200.155", &remote), "Remote kube-lb0/32: announcingNonLocal");
    let local = [local_policy("192.168.50.200", "web")];
    assert_eq!(world.line("192.168.50.200", &local), "Local eth0/24: electionWon");
    world.endpoints.apply(slice("web", "1", &["peer"], &[]));
    world.members.apply(lease("peer", &["192.168.50.0/24"], 1000), at(1), wall(1000));
    assert_eq!(world.line("192.168.50.200", &local), "nothing: lostElection");
    // Two Services share: the node with endpoints of both.
    let shared = [local_policy("172.30.200.155", "web"), local_policy("172.30.200.155", "mail")];
    world.endpoints.apply(slice("mail", "1", &["peer", "me"], &[]));
    assert_eq!(world.line("172.30.200.155", &shared), "nothing: noEndpoints");
    // None has both: any.
    world.endpoints.apply(slice("mail", "1", &["me"], &[]));
    assert_eq!(world.line("172.30.200.155", &shared), "Remote kube-lb0/32: announcingNonLocal");
}

#[test]
fn a_node_without_configuration_announces_nothing() {
    let mut world = World::new(&seed());
    world.mode = Mode::Deselected;
    assert_eq!(world.line("172.30.200.155", &[service("172.30.200.155")]), "nothing: noConfig");
}

#[test]
fn an_address_without_users_is_not_wanted() {
    assert_eq!(World::new(&seed()).line("172.30.200.155", &[]), "nothing: notWanted");
}
