//! Addresses of Services with `externalTrafficPolicy: Local`.

use ownership::NodeId;

use crate::cluster::endpoints::SliceView;
use crate::cluster::endpoints::testing::slice;
use crate::decide::traffic_policy::{dark, nameless};

use super::*;

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
