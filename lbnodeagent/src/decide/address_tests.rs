use std::collections::{BTreeMap, BTreeSet};

use api_types::{AgentConfig, ServiceGroup};
use ownership::{NodeId, Qualified};

use super::*;
use crate::cluster::configuration::Mode;
use crate::cluster::endpoints::Endpoints;
use crate::cluster::endpoints::testing::slice;
use crate::cluster::groups::Groups;
use crate::cluster::groups::testing::{group, groups};
use crate::cluster::members::Members;
use crate::cluster::members::testing::{at, lease, wall};
use crate::cluster::service::testing::view;
use crate::cluster::services::Services;
use crate::decide::interfaces::Selection;
use crate::decide::networks::Connected;
use crate::model::observed::{Change, Observed};
use crate::model::ours::Ours;
use crate::model::testing::{key, node, ours, plain};

/// A cluster seen from node `me`, which is in `192.168.50.0/24` and `fd00:50::/64`.
struct Cluster {
    mode: Mode,
    groups: Groups,
    members: Members,
    endpoints: Endpoints,
    observed: Observed,
    node_addresses: BTreeSet<IpAddr>,
    held: BTreeMap<IpAddr, Placement>,
    remote: BTreeMap<IpAddr, Placement>,
    exclusion: Exclusion,
    now: u64,
}

impl Cluster {
    fn new(all: &[ServiceGroup]) -> Self {
        let mut endpoints = Endpoints::default();
        endpoints.set_complete();
        Self {
            mode: Mode::Default(AgentConfig::default()),
            groups: groups(all),
            members: Members::new("me"),
            endpoints,
            observed: node(),
            node_addresses: ["192.168.50.11".parse().unwrap()].into(),
            held: BTreeMap::new(),
            remote: BTreeMap::new(),
            exclusion: Exclusion::No,
            now: 1,
        }
    }

    fn decide(&mut self, address: &str, users: &[ServiceView]) -> (Decision, Participation) {
        let config = AgentConfig::default();
        let recorded = BTreeSet::new();
        let selection = Selection::new(
            self.mode.config().unwrap_or(&config),
            &self.observed,
            Ours::new(&recorded),
            &Selection::default(),
        );
        self.members.set_own_subnets(selection.subnets(), at(self.now));
        let connected = Connected::new(&self.observed, Ours::new(&recorded));
        let context = Context {
            connected: &connected,
            mode: &self.mode,
            groups: &self.groups,
            selection: &selection,
            services: &Services::default(),
            held: &self.held,
            remote: &self.remote,
            exclusion: self.exclusion,
            members: &self.members,
            endpoints: &self.endpoints,
            observed: &self.observed,
            ours: Ours::new(&recorded),
            marks_addresses: true,
            node_addresses: &self.node_addresses,
            dummy: self.observed.index_of("kube-lb0"),
            now: at(self.now),
        };
        decide(&context, address.parse().unwrap(), &users.iter().collect::<Vec<_>>())
    }

    /// What the protocol is told.
    fn candidacy(&mut self, address: &str, users: &[ServiceView]) -> Option<Candidacy> {
        match self.decide(address, users).1 {
            Participation::Yes(candidacy) => Some(*candidacy),
            _ => None,
        }
    }

    /// The outcome as one line.
    fn line(&mut self, address: &str, users: &[ServiceView]) -> String {
        let (decision, candidacy) = self.decide(address, users);
        if let Participation::Yes(candidacy) = candidacy {
            let key = candidacy.placement.key;
            return format!("candidate on {}/{}", self.observed.name_of(key.index), key.prefix_len);
        }
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
    let mut cluster = Cluster::new(&seed());
    for (address, expected) in [
        ("172.30.200.155", "Remote kube-lb0/32: announcingNonLocal"),
        ("2001:470:8bf5:2:2::7", "Remote kube-lb0/128: announcingNonLocal"),
        ("10.9.0.7", "Remote kube-lb0/16: announcingNonLocal"),
    ] {
        assert_eq!(cluster.line(address, &[service(address)]), expected);
    }
}

#[test]
fn local_addresses_get_the_prefix_and_attributes_of_their_interface() {
    let mut cluster = Cluster::new(&seed());
    let v4 = cluster.candidacy("192.168.50.200", &[service("192.168.50.200")]).unwrap();
    assert_eq!(v4.placement.key, key(2, "192.168.50.200/24"));
    assert_eq!(v4.placement.attributes, AddressAttributes::LOCAL);
    assert_eq!((v4.want.link, v4.want.qualified, v4.want.skip_probe), (LinkId(2), Qualified::All, false));
    assert_eq!(v4.want.free, Some("192.168.50.210".parse().unwrap()));
    let v6 = cluster.candidacy("fd00:50::f000", &[service("fd00:50::f000")]).unwrap().placement;
    assert_eq!(v6.key, key(2, "fd00:50::f000/64"));
    assert_eq!((v6.attributes.valid_lifetime, v6.attributes.preferred_lifetime), (Some(300), Some(0)));
}

#[test]
fn a_local_address_is_where_the_protocol_says() {
    let mut cluster = Cluster::new(&seed());
    let users = [service("192.168.50.200")];
    let (decision, candidacy) = cluster.decide("192.168.50.200", &users);
    assert_eq!((decision.placement, decision.reason), (None, Reason::NotOwner));
    let Participation::Yes(candidacy) = candidacy else { panic!("{candidacy:?}") };
    cluster.held.insert(candidacy.placement.key.ip, candidacy.placement);
    let (decision, again) = cluster.decide("192.168.50.200", &users);
    assert_eq!((decision.placement, decision.reason), (Some(candidacy.placement), Reason::Owner));
    assert_eq!(again, Participation::Yes(candidacy));
}

#[test]
fn an_excluded_node_has_no_remote_addresses() {
    let mut cluster = Cluster::new(&seed());
    let users = [service("172.30.200.155")];
    cluster.exclusion = Exclusion::Unknown;
    assert_eq!(cluster.line("172.30.200.155", &users), "nothing: undecided");
    cluster.observed.apply(Change::Address(key(3, "172.30.200.155/32"), ours()));
    assert_eq!(cluster.line("172.30.200.155", &users), "Remote kube-lb0/32: announcingNonLocal");
    cluster.exclusion = Exclusion::Yes;
    assert_eq!(cluster.line("172.30.200.155", &users), "nothing: excluded");
    assert_eq!(cluster.line("192.168.50.200", &users), "candidate on eth0/24", "there the protocol knows");
}

#[test]
fn a_local_groups_address_is_never_remote() {
    let mut cluster = Cluster::new(&seed());
    assert_eq!(cluster.line("192.0.2.1", &[service("192.0.2.1")]), "nothing: noLocalInterface");
    cluster.members.apply(lease("other", &["192.0.2.0/24"], 1000), at(1), wall(1000));
    assert_eq!(cluster.line("192.0.2.1", &[service("192.0.2.1")]), "nothing: noLocalInterface");
}

#[test]
fn a_remote_address_in_a_members_subnet_is_local_for_the_whole_cluster() {
    let mut cluster = Cluster::new(&seed());
    let users = [service("172.30.200.155")];
    cluster.members.apply(lease("other", &["172.30.200.0/24"], 1000), at(1), wall(1000));
    assert_eq!(cluster.line("172.30.200.155", &users), "nothing: noLocalInterface");
    cluster.members.remove("other", at(2));
    cluster.now = 61;
    assert_eq!(cluster.line("172.30.200.155", &users), "nothing: noLocalInterface");
    cluster.now = 62;
    assert_eq!(cluster.line("172.30.200.155", &users), "Remote kube-lb0/32: announcingNonLocal");
}

#[test]
fn an_edited_group_takes_nothing_away() {
    let mut cluster = Cluster::new(&[]);
    let remote = view("web", &["172.30.200.155"], Some("remote"));
    assert_eq!(cluster.line("172.30.200.155", std::slice::from_ref(&remote)), "Remote kube-lb0/32: announcingNonLocal");
    cluster.observed.apply(Change::Address(key(3, "172.30.200.155/24"), ours()));
    assert_eq!(cluster.line("172.30.200.155", &[remote]), "Remote kube-lb0/24: announcingNonLocal");
    let local = view("web", &["192.168.50.200"], Some("local"));
    assert_eq!(cluster.line("192.168.50.200", &[local]), "candidate on eth0/24");
}

#[test]
fn overlap_with_a_connected_network_is_refused() {
    let mut all = seed();
    all.push(group("lan2", "remote", "10.1.0.50/32", "10.1.0.0/24", "/32"));
    all.push(group("wide", "remote", "10.2.0.0/24", "10.0.0.0/8", "default"));
    let mut cluster = Cluster::new(&all);
    for address in ["10.1.0.50", "10.2.0.1"] {
        let decision = cluster.decide(address, &[service(address)]);
        let Reason::Refused(text) = decision.0.reason else { panic!("{decision:?}") };
        assert!(text.contains("10.1.0.0/24 of eth1"), "{text}");
    }
    // kube-proxy's IPVS interface has every address as a host route.
    cluster.observed.apply(Change::Address(key(1, "172.30.200.155/32"), plain()));
    assert_eq!(cluster.line("172.30.200.155", &[service("172.30.200.155")]), "Remote kube-lb0/32: announcingNonLocal");
}

#[test]
fn the_nodes_own_addresses_are_never_touched() {
    let mut cluster = Cluster::new(&[group("greedy", "local", "192.168.50.0/24", "192.168.50.0/24", "default")]);
    assert_eq!(cluster.line("192.168.50.11", &[service("192.168.50.11")]), "nothing: refused");
    cluster.observed.apply(Change::Address(key(2, "192.168.50.77/24"), plain()));
    assert_eq!(cluster.line("192.168.50.77", &[service("192.168.50.77")]), "nothing: refused");
}

#[test]
fn traffic_policy_local() {
    let mut cluster = Cluster::new(&seed());
    let local_policy = |address: &str, name: &str| ServiceView { traffic_local: true, ..view(name, &[address], None) };
    let remote = [local_policy("172.30.200.155", "web")];
    assert_eq!(cluster.line("172.30.200.155", &remote), "nothing: noEndpoints");
    cluster.endpoints.apply(slice("web", "1", &["me"], &[]));
    assert_eq!(cluster.line("172.30.200.155", &remote), "Remote kube-lb0/32: announcingNonLocal");
    let set = |nodes: &[&str]| nodes.iter().filter_map(|node| NodeId::new(node)).collect::<BTreeSet<_>>();
    let local = [local_policy("192.168.50.200", "web")];
    cluster.endpoints.apply(slice("web", "1", &["peer"], &["me"]));
    let tiers = Qualified::Tiers(vec![set(&["peer"]), set(&["me", "peer"])]);
    assert_eq!(cluster.candidacy("192.168.50.200", &local).unwrap().want.qualified, tiers);
    // Two Services share the address and no node has endpoints of both.
    let shared = [local_policy("192.168.50.200", "web"), local_policy("192.168.50.200", "shop")];
    cluster.endpoints.apply(slice("shop", "1", &["me"], &[]));
    let tiers = Qualified::Tiers(vec![set(&[]), set(&["me"])]);
    assert_eq!(cluster.candidacy("192.168.50.200", &shared).unwrap().want.qualified, tiers);
    cluster.endpoints.apply(slice("web", "1", &["peer"], &[]));
    // Two Services share: the node with endpoints of both.
    let shared = [local_policy("172.30.200.155", "web"), local_policy("172.30.200.155", "mail")];
    cluster.endpoints.apply(slice("mail", "1", &["peer", "me"], &[]));
    assert_eq!(cluster.line("172.30.200.155", &shared), "nothing: noEndpoints");
    // None has both: any.
    cluster.endpoints.apply(slice("mail", "1", &["me"], &[]));
    assert_eq!(cluster.line("172.30.200.155", &shared), "Remote kube-lb0/32: announcingNonLocal");
}

#[test]
fn while_endpoints_are_not_known_all_stays_as_it_is() {
    let mut cluster = Cluster::new(&seed());
    cluster.endpoints = Endpoints::default();
    let user = ServiceView { traffic_local: true, ..service("192.168.50.200") };
    assert_eq!(cluster.decide("192.168.50.200", &[user]).1, Participation::Unchanged);
    let preferring = ServiceView { node_affinity: true, ..service("192.168.50.200") };
    assert_eq!(cluster.decide("192.168.50.200", &[preferring]).1, Participation::Unchanged);
}

#[test]
fn a_node_without_configuration_announces_nothing() {
    let mut cluster = Cluster::new(&seed());
    cluster.mode = Mode::Deselected;
    assert_eq!(cluster.line("172.30.200.155", &[service("172.30.200.155")]), "nothing: noConfig");
}

#[test]
fn an_address_without_users_is_not_candidacy() {
    assert_eq!(Cluster::new(&seed()).line("172.30.200.155", &[]), "nothing: notWanted");
}
