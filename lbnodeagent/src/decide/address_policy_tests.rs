//! What the traffic policy `Local` makes of an address.

use ownership::NodeId;

use crate::cluster::endpoints::SliceView;
use crate::cluster::endpoints::testing::slice;
use crate::decide::traffic_policy::{dark, nameless};

use super::*;

/// Each address under `Local` has its host route; where the endpoints are, decides who has it.
#[test]
fn case_83_a_local_address_of_an_aggregate_has_a_host_route() {
    let mut cluster = Cluster::new(&seed());
    cluster.endpoints.apply(slice("web", "1", &["me"], &[]));
    let local = |address: &str| ServiceView { traffic_local: true, ..service(address) };
    let placement = cluster.decide("10.9.0.7", &[local("10.9.0.7")]).0.placement.unwrap();
    assert_eq!((placement.key, placement.aggregate), (key(3, "10.9.0.7/32"), Some(16)));
    let placement = cluster.decide("172.30.200.155", &[local("172.30.200.155")]).0.placement.unwrap();
    assert_eq!((placement.key, placement.aggregate), (key(3, "172.30.200.155/32"), None));
    // The group is gone: the address keeps what it has.
    cluster.remote.insert("10.9.0.7".parse().unwrap(), Placement { aggregate: Some(16), ..placement });
    cluster.groups = groups(&[]);
    let kept = ServiceView { traffic_local: true, ..view("web", &["10.9.0.7"], Some("remote")) };
    let placement = cluster.decide("10.9.0.7", &[kept]).0.placement.unwrap();
    assert_eq!((placement.key, placement.aggregate), (key(3, "10.9.0.7/32"), Some(16)));
}

/// An earlier release left the address with the prefix of the aggregate. It stays until the endpoints are known.
#[test]
fn case_83_an_upgrade_takes_no_address_off() {
    let mut cluster = Cluster::new(&seed());
    let users = [ServiceView { traffic_local: true, ..service("10.9.0.7") }];
    cluster.endpoints = Endpoints::default();
    assert_eq!(cluster.line("10.9.0.7", &users), "nothing: undecided");
    cluster.observed.apply(Change::Address(key(3, "10.9.0.7/16"), ours()));
    assert_eq!(cluster.line("10.9.0.7", &users), "Remote kube-lb0/32: announcingNonLocal");
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
    // Two Services share the address and no node has ready endpoints of both.
    let shared = [local_policy("192.168.50.200", "web"), local_policy("192.168.50.200", "shop")];
    cluster.endpoints.apply(slice("shop", "1", &["me"], &[]));
    let tiers = Qualified::Tiers(vec![set(&[]), set(&["me"]), set(&["me", "peer"])]);
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
fn case_11_who_serves_most_sharers_comes_next() {
    let mut cluster = Cluster::new(&seed());
    let set = |nodes: &[&str]| nodes.iter().filter_map(|node| NodeId::new(node)).collect::<BTreeSet<_>>();
    for (service, nodes) in [("a", &["n1", "me"][..]), ("b", &["n1"]), ("c", &["n2"])] {
        cluster.endpoints.apply(slice(service, "1", nodes, &[]));
    }
    let sharers =
        |address: &str| ["a", "b", "c"].map(|name| ServiceView { traffic_local: true, ..view(name, &[address], None) });
    let tiers = Qualified::Tiers(vec![set(&[]), set(&[]), set(&["n1"]), set(&["n1", "n2", "me"])]);
    assert_eq!(cluster.candidacy("192.168.50.200", &sharers("192.168.50.200")).unwrap().want.qualified, tiers);
    assert_eq!(cluster.line("172.30.200.155", &sharers("172.30.200.155")), "nothing: noEndpoints");
    cluster.endpoints.apply(slice("b", "1", &["me"], &[]));
    assert_eq!(cluster.line("172.30.200.155", &sharers("172.30.200.155")), "Remote kube-lb0/32: announcingNonLocal");
}

#[test]
fn case_54_each_family_by_its_own_endpoints() {
    let mut cluster = Cluster::new(&seed());
    let set = |nodes: &[&str]| nodes.iter().filter_map(|node| NodeId::new(node)).collect::<BTreeSet<_>>();
    cluster.endpoints.apply(slice("web", "4", &["me"], &[]));
    cluster.endpoints.apply(SliceView { family: Family::V6, ..slice("web", "6", &["peer"], &[]) });
    let policy = |address: &str| [ServiceView { traffic_local: true, ..service(address) }];
    for (address, expected) in
        [("172.30.200.155", "Remote kube-lb0/32: announcingNonLocal"), ("2001:470:8bf5:2:2::7", "nothing: noEndpoints")]
    {
        assert_eq!(cluster.line(address, &policy(address)), expected);
    }
    for (address, node) in [("192.168.50.200", "me"), ("fd00:50::f000", "peer")] {
        let qualified = cluster.candidacy(address, &policy(address)).unwrap().want.qualified;
        assert_eq!(qualified, Qualified::Tiers(vec![set(&[node]), set(&[node])]));
        let preferring = [ServiceView { node_affinity: true, ..service(address) }];
        let qualified = cluster.candidacy(address, &preferring).unwrap().want.qualified;
        assert_eq!(qualified, Qualified::Preferred(set(&[node])));
    }
}

#[test]
fn case_17_endpoints_without_a_node_restrict_nobody() {
    let mut cluster = Cluster::new(&seed());
    cluster.endpoints.apply(SliceView { nameless: true, ..slice("web", "1", &[], &[]) });
    let policy = |address: &str| [ServiceView { traffic_local: true, node_affinity: true, ..service(address) }];
    let local = policy("192.168.50.200");
    assert_eq!(cluster.candidacy("192.168.50.200", &local).unwrap().want.qualified, Qualified::All);
    assert_eq!(cluster.line("172.30.200.155", &policy("172.30.200.155")), "Remote kube-lb0/32: announcingNonLocal");
    let users: Vec<&ServiceView> = local.iter().collect();
    let ip = "192.168.50.200".parse().unwrap();
    assert_eq!(nameless(&cluster.endpoints, ip, &users).len(), 1);
    assert!(dark(&cluster.endpoints, ip, &users, "me").is_empty());
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
