use std::collections::{BTreeMap, BTreeSet};

use api_types::{AgentConfig, ServiceGroup, Watched};
use ownership::Qualified;

use super::*;
use crate::cluster::configuration::Mode;
use crate::cluster::endpoints::Endpoints;
use crate::cluster::groups::Groups;
use crate::cluster::groups::testing::{group, groups};
use crate::cluster::lease::LeaseView;
use crate::cluster::members::Members;
use crate::cluster::members::testing::{at, lease, wall};
use crate::cluster::reports::Reports;
use crate::cluster::service::testing::view;
use crate::cluster::services::Services;
use crate::decide::context::Witnesses;
use crate::decide::default_interfaces::DefaultInterfaces;
use crate::decide::interfaces::Selection;
use crate::decide::networks::Connected;
use crate::model::link::Link;
use crate::model::observed::{Change, Observed};
use crate::model::ours::Ours;
use crate::model::testing::{key, node, ours, plain};

#[path = "address_policy_tests.rs"]
mod traffic_policy;

#[path = "address_proxy_tests.rs"]
mod service_proxy;

/// A cluster seen from node `me`, which is in `192.168.50.0/24` and `fd00:50::/64`.
struct Cluster {
    mode: Mode,
    groups: Groups,
    members: Members,
    endpoints: Endpoints,
    observed: Observed,
    node_addresses: BTreeSet<IpAddr>,
    gateways: BTreeSet<IpAddr>,
    held: BTreeMap<IpAddr, Placement>,
    remote: BTreeMap<IpAddr, Placement>,
    exclusion: Exclusion,
    waits_for_proxy: bool,
    now: u64,
}

impl Cluster {
    fn new(all: &[Watched<ServiceGroup>]) -> Self {
        let mut endpoints = Endpoints::default();
        endpoints.set_complete();
        Self {
            mode: Mode::Default(AgentConfig::default()),
            groups: groups(all),
            members: Members::new("me"),
            endpoints,
            observed: node(),
            node_addresses: ["192.168.50.11".parse().unwrap()].into(),
            gateways: ["192.168.50.1".parse().unwrap()].into(),
            held: BTreeMap::new(),
            remote: BTreeMap::new(),
            exclusion: Exclusion::No,
            waits_for_proxy: false,
            now: 1,
        }
    }

    fn decide(&mut self, address: &str, users: &[ServiceView]) -> (Decision, Participation) {
        let config = AgentConfig::default();
        let recorded = BTreeSet::new();
        let selection = Selection::new(
            self.mode.config().unwrap_or(&config),
            &self.observed,
            Ours::new(&recorded, true),
            &[],
            &DefaultInterfaces::default(),
        );
        self.members.set_own_subnets(selection.subnets());
        let connected = Connected::new(&self.observed, Ours::new(&recorded, true));
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
            ours: Ours::new(&recorded, true),
            gateways: &self.gateways,
            waits_for_proxy: self.waits_for_proxy,
            node_addresses: &self.node_addresses,
            dummy: self.observed.index_of("kube-lb0"),
            witnesses: Witnesses {
                reports: &Reports::default(),
                holders: &BTreeMap::new(),
                served: &BTreeMap::new(),
                old_leader: false,
            },
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

fn seed() -> Vec<Watched<ServiceGroup>> {
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

/// A router with proxy ARP answers for every address, so that any unused one of the subnet shows it.
#[test]
fn case_05_an_unused_address_is_found_beside_a_full_pool() {
    let pools = |range: &str| vec![group("lan", "local", range, "192.168.50.0/24", "default")];
    for (range, expected) in [
        ("192.168.50.200-192.168.50.200", "192.168.50.127"),
        ("192.168.50.200-192.168.50.201", "192.168.50.201"),
        ("192.168.50.254-192.168.50.255", "192.168.50.127"),
        ("192.168.50.253-192.168.50.255", "192.168.50.253"),
    ] {
        let address = if range.contains("200") { "192.168.50.200" } else { "192.168.50.254" };
        let mut cluster = Cluster::new(&pools(range));
        let free = cluster.candidacy(address, &[service(address)]).unwrap().want.free;
        assert_eq!(free, Some(expected.parse().unwrap()), "{range}");
    }
    // Neither this node's own address nor another member's is unused.
    let mut cluster = Cluster::new(&pools("192.168.50.200-192.168.50.200"));
    let mut other = lease("other", &["192.168.50.0/24"], 1);
    other.places.extend(ownership::InterfaceAddress::new("192.168.50.127".parse().unwrap(), 24));
    cluster.members.apply(other, at(1), wall(1));
    let free = cluster.candidacy("192.168.50.200", &[service("192.168.50.200")]).unwrap().want.free;
    assert_eq!(free, Some("192.168.50.128".parse().unwrap()));
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
fn case_47_a_remote_address_is_local_only_on_nodes_in_its_subnet() {
    let mut cluster = Cluster::new(&seed());
    let users = [service("172.30.200.155")];
    cluster.members.apply(lease("odd", &["172.30.0.0/16"], 1000), at(1), wall(1000));
    assert_eq!(cluster.line("172.30.200.155", &users), "Remote kube-lb0/32: announcingNonLocal");
    // This node is the odd one.
    cluster.observed.apply(Change::Address(key(2, "172.30.1.3/16"), plain()));
    assert_eq!(cluster.line("172.30.200.155", &users), "candidate on eth0/16");
    // On an interface that is not selected.
    cluster.observed.apply(Change::NoAddress(key(2, "172.30.1.3/16")));
    cluster.observed.apply(Change::Address(key(4, "172.30.1.3/16"), plain()));
    assert_eq!(cluster.line("172.30.200.155", &users), "Remote kube-lb0/32: announcingNonLocal");
}

#[test]
fn case_7_remote_ipv6_addresses_are_deprecated_and_last() {
    let mut cluster = Cluster::new(&seed());
    let mut attributes = |address: &str| cluster.decide(address, &[service(address)]).0.placement.unwrap().attributes;
    let v6 = attributes("2001:470:8bf5:2:2::7");
    assert_eq!((v6.valid_lifetime, v6.preferred_lifetime), (None, Some(0)));
    assert_eq!(attributes("172.30.200.155"), AddressAttributes::REMOTE);
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
fn case_23_only_prefixes_that_hide_others_are_refused() {
    let mut all = seed();
    all.push(group("lan2", "remote", "10.1.0.50/32", "10.1.0.0/24", "/32"));
    all.push(group("wide", "remote", "10.2.0.0/24", "10.0.0.0/8", "default"));
    all.push(group("part", "remote", "10.1.0.128/28", "10.1.0.0/24", "/28"));
    let mut cluster = Cluster::new(&all);
    for address in ["10.2.0.1", "10.1.0.130"] {
        let decision = cluster.decide(address, &[service(address)]);
        let Reason::Refused(text) = decision.0.reason else { panic!("{decision:?}") };
        assert!(text.contains("10.1.0.0/24 of eth1"), "{text}");
    }
    let decision = cluster.decide("10.1.0.50", &[service("10.1.0.50")]).0;
    let Reason::RemoteInside(text) = &decision.reason else { panic!("{decision:?}") };
    assert!(text.contains("network 10.1.0.0/24 of interface eth1"), "{text}");
    assert_eq!(decision.placement.unwrap().key, key(3, "10.1.0.50/32"));
    // A node with a host address is in no network, and would lose its gateway's all the same.
    cluster.observed.apply(Change::NoAddress(key(2, "192.168.50.11/24")));
    cluster.observed.apply(Change::Address(key(2, "192.168.50.11/32"), plain()));
    cluster.groups = groups(&[group("near", "remote", "192.168.50.240/28", "192.168.50.0/24", "default")]);
    let decision = cluster.decide("192.168.50.241", &[service("192.168.50.241")]).0;
    let Reason::Refused(text) = &decision.reason else { panic!("{decision:?}") };
    assert!(text.contains("the network of this node's gateway 192.168.50.1"), "{text}");
    cluster.groups = groups(&all);
    // kube-proxy's IPVS interface has every address as a host route.
    let link = Link { name: "kube-ipvs0".to_owned(), resolves: false, ..cluster.observed.links[&2].clone() };
    cluster.observed.apply(Change::Link(5, link));
    cluster.observed.apply(Change::Address(key(5, "172.30.200.155/32"), plain()));
    assert_eq!(cluster.line("172.30.200.155", &[service("172.30.200.155")]), "Remote kube-lb0/32: announcingNonLocal");
}

/// The text of a refusal.
fn refusal(cluster: &mut Cluster, address: &str) -> String {
    match cluster.decide(address, &[service(address)]) {
        (Decision { placement: None, reason: Reason::Refused(text) }, Participation::No) => text,
        other => panic!("{address}: {other:?}"),
    }
}

#[test]
fn case_1_what_somebody_else_has_is_not_started() {
    let greedy = group("greedy", "local", "192.168.50.0/24", "192.168.50.0/24", "default");
    let mut cluster = Cluster::new(&[greedy, group("routed", "remote", "10.255.0.0/24", "10.255.0.0/24", "/32")]);
    let parse = |list: &[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect();
    let other = LeaseView {
        own: parse(&["192.168.50.12", "10.255.0.12"]),
        gateways: parse(&["192.168.50.254"]),
        ..lease("node2", &["192.168.50.0/24"], 1000)
    };
    cluster.members.apply(other, at(1), wall(1000));
    cluster.node_addresses.insert("192.168.50.99".parse().unwrap());
    cluster.observed.apply(Change::Address(key(2, "192.168.50.77/24"), plain()));
    cluster.observed.apply(Change::Address(key(1, "10.255.0.11/32"), plain()));
    for (address, whose) in [
        ("192.168.50.11", "interface eth0 already has"),
        ("192.168.50.77", "interface eth0 already has"),
        ("10.255.0.11", "interface lo already has"),
        ("192.168.50.99", "this node's own address"),
        ("192.168.50.12", "node node2's own address"),
        ("10.255.0.12", "node node2's own address"),
        ("192.168.50.1", "a gateway of this node"),
        ("192.168.50.254", "a gateway of node node2"),
    ] {
        let text = refusal(&mut cluster, address);
        assert!(text.contains(whose), "{address}: {text}");
    }
    // It is free now.
    cluster.members.apply(lease("node2", &["192.168.50.0/24"], 1001), at(2), wall(1001));
    assert_eq!(cluster.line("192.168.50.12", &[service("192.168.50.12")]), "candidate on eth0/24");
}

#[test]
fn what_is_announced_goes_on_whoever_claims_it() {
    let mut cluster = Cluster::new(&seed());
    let addresses: Vec<IpAddr> = ["192.168.50.200", "172.30.200.155"].map(|ip| ip.parse().unwrap()).into();
    let other = LeaseView { own: addresses.clone(), ..lease("node2", &[], 1000) };
    cluster.members.apply(other, at(1), wall(1000));
    cluster.node_addresses.extend(addresses);
    // Case 4: the kernel has both from us.
    cluster.observed.apply(Change::Address(key(2, "192.168.50.200/24"), ours()));
    cluster.observed.apply(Change::Address(key(3, "172.30.200.155/32"), ours()));
    assert_eq!(cluster.line("192.168.50.200", &[service("192.168.50.200")]), "candidate on eth0/24");
    assert_eq!(cluster.line("172.30.200.155", &[service("172.30.200.155")]), "Remote kube-lb0/32: announcingNonLocal");
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
