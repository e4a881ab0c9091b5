use std::time::Duration;

use ::ownership::{InterfaceAddress, Mac};

use super::testing::{at, lease, wall};
use super::*;

const NET: &[&str] = &["192.0.2.0/24"];

#[test]
fn alive_is_who_was_seen_to_renew() {
    let mut members = Members::new("me");
    let living = |members: &Members, now: u64| -> Vec<String> {
        alive(members, now).into_iter().filter(|(_, alive)| *alive).map(|(node, _)| node).collect()
    };
    assert!(members.apply(lease("a", NET, 1000), at(5), wall(1005)));
    assert!(members.apply(lease("b", NET, 900), at(5), wall(1005)));
    assert_eq!(living(&members, 5), ["a"]);
    // The clock of node b is far behind, but its Lease moves.
    assert!(members.apply(lease("b", NET, 903), at(8), wall(1008)));
    assert_eq!(living(&members, 8), ["a", "b"]);
    assert!(!members.apply(lease("b", NET, 906), at(11), wall(1011)));
    assert_eq!(living(&members, 15), ["b"]);
    assert!(living(&members, 21).is_empty());
}

#[test]
fn subnets_are_counted_once() {
    let mut members = Members::new("me");
    members.set_own_subnets(vec!["192.0.2.0/24".parse().unwrap()]);
    members.apply(lease("a", &["192.0.2.0/24", "198.51.100.0/24"], 1000), at(0), wall(1000));
    assert_eq!(members.count_subnets(std::iter::empty()), 1);
    assert_eq!(members.count_subnets(["a", "unknown"].into_iter()), 2);
}

/// The Lease of a node with an address, an endpoint and a hardware address.
fn full(node: &str, host: u8, renewed: i64, duration: u64) -> LeaseView {
    LeaseView {
        places: vec![InterfaceAddress::new([192, 0, 2, host].into(), 24).unwrap()],
        macs: vec![Mac([2, 0, 0, 0, 0, host])],
        endpoints: vec![([192, 0, 2, host], 7475).into()],
        duration: Duration::from_secs(duration),
        ..lease(node, NET, renewed)
    }
}

fn alive(members: &Members, now: u64) -> Vec<(String, bool)> {
    members.peers(at(now)).iter().map(|peer| (peer.node.to_string(), peer.lease_alive)).collect()
}

#[test]
fn peers_are_what_the_leases_say() {
    let mut members = Members::new("me");
    assert!(members.apply(full("a", 1, 1000, 180), at(0), wall(1000)));
    assert!(members.apply(lease("old", NET, 1000), at(0), wall(1000)));
    assert!(!members.apply(full("me", 9, 1000, 180), at(0), wall(1000)));
    let [a, old] = members.peers(at(0)).try_into().unwrap();
    assert_eq!((a.node.as_str(), a.lease_alive), ("a", true));
    assert_eq!(a.endpoints, ["192.0.2.1:7475".parse().unwrap()]);
    assert!(
        a.places == [InterfaceAddress::new("192.0.2.1".parse().unwrap(), 24).unwrap()]
            && a.macs == [Mac([2, 0, 0, 0, 0, 1])]
    );
    assert!(old.endpoints.is_empty() && old.places.is_empty() && old.macs.is_empty());
}

#[test]
fn each_lease_lives_for_its_own_time_by_our_clock() {
    let mut members = Members::new("me");
    // The clock of node b is a year ahead; both were renewed when we saw them first.
    members.apply(full("a", 1, 1000, 10), at(0), wall(1000));
    members.apply(full("b", 2, 32_000_000, 180), at(0), wall(1000));
    // Expired when first seen: silent until it is seen to be renewed.
    members.apply(full("c", 3, 700, 180), at(0), wall(1000));
    let expected = |states: [bool; 3]| ["a", "b", "c"].map(str::to_owned).into_iter().zip(states).collect::<Vec<_>>();
    assert_eq!(alive(&members, 9), expected([true, true, false]));
    assert!(!members.expire(at(9)));
    assert_eq!(alive(&members, 10), expected([false, true, false]));
    assert!(members.expire(at(10)) && !members.expire(at(11)));
    assert_eq!(alive(&members, 180), expected([false, false, false]));
    assert!(members.apply(full("c", 3, 760, 180), at(60), wall(1060)), "c is back");
    assert!(!members.apply(full("b", 2, 32_000_060, 180), at(60), wall(1060)), "b was only renewed");
    assert!(members.apply(full("a", 1, 1070, 180), at(70), wall(1070)), "a is back");
    assert_eq!(alive(&members, 239), expected([true, true, true]));
}

#[test]
fn a_lease_that_is_touched_without_being_renewed_lives_no_longer() {
    let mut members = Members::new("me");
    members.apply(full("a", 1, 1000, 10), at(0), wall(1000));
    assert!(members.apply(full("a", 2, 1000, 10), at(8), wall(1008)), "another address");
    assert_eq!(alive(&members, 10), [("a".to_owned(), false)]);
}

#[test]
fn every_change_that_peers_show_is_told() {
    let mut members = Members::new("me");
    members.apply(full("a", 1, 1000, 180), at(0), wall(1000));
    let same = full("a", 1, 1060, 180);
    assert!(!members.apply(same.clone(), at(60), wall(1060)));
    for changed in [
        LeaseView { endpoints: Vec::new(), ..same.clone() },
        LeaseView { macs: vec![Mac([2, 0, 0, 0, 0, 7])], ..same.clone() },
        LeaseView { places: Vec::new(), ..same.clone() },
        LeaseView { subnets: Vec::new(), ..same.clone() },
        LeaseView { proxy: Some(ProxyState::Failed), ..same.clone() },
    ] {
        assert!(members.apply(changed, at(60), wall(1060)));
        assert!(members.apply(same.clone(), at(60), wall(1060)));
    }
}

fn says(members: &mut Members, node: &str, proxy: ProxyState) {
    members.apply(LeaseView { proxy: Some(proxy), ..lease(node, NET, 1000) }, at(0), wall(1000));
}

fn failed(members: &Members) -> Vec<&str> {
    members.failed_proxies().iter().map(String::as_str).collect()
}

#[test]
fn failed_proxies_count_while_they_are_few_and_alive() {
    use ProxyState::{Failed, Serves};
    let mut members = Members::new("me");
    members.set_own_proxy(Some(Failed));
    assert!(failed(&members).is_empty(), "the last node");
    says(&mut members, "a", Serves);
    assert_eq!(failed(&members), ["me"]);
    says(&mut members, "b", Failed);
    assert!(failed(&members).is_empty(), "two of three");
    for node in ["c", "d", "e"] {
        says(&mut members, node, Serves);
    }
    assert_eq!(failed(&members), ["b", "me"], "two of six");
    members.remove("e");
    assert!(failed(&members).is_empty(), "two of five");
    members.set_own_proxy(Some(Serves));
    assert_eq!(failed(&members), ["b"]);
    assert_eq!(members.serving().iter().map(String::as_str).collect::<Vec<_>>(), ["a", "c", "d", "me"]);
    assert!(members.expire(at(11)));
    assert!(failed(&members).is_empty(), "its Lease has run out");
    assert_eq!(members.serving().len(), 1);
}

#[test]
fn where_kube_proxy_dies_everywhere_nobody_does_anything() {
    let nodes = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let mut members = Members::new("me");
    for node in nodes {
        says(&mut members, node, ProxyState::Serves);
    }
    // They look at different moments. All doubt before the first is sure.
    members.set_own_proxy(Some(ProxyState::Doubtful));
    for node in nodes {
        says(&mut members, node, ProxyState::Doubtful);
        assert!(failed(&members).is_empty());
    }
    members.set_own_proxy(Some(ProxyState::Failed));
    for node in nodes {
        says(&mut members, node, ProxyState::Failed);
        assert!(failed(&members).is_empty());
    }
}
