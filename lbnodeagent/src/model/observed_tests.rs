use runtime::BootTime;

use super::*;
use crate::model::testing::{key, node, plain};

#[test]
fn a_removed_link_takes_its_addresses_along() {
    let mut observed = node();
    let changes = observed.apply(Change::NoLink(4));
    assert!(changes.links);
    assert_eq!(changes.addresses, ["10.1.0.11".parse().unwrap()].into());
    assert_eq!(observed.of("10.1.0.11".parse().unwrap()).count(), 0);
}

#[test]
fn what_is_as_before_is_no_change() {
    let mut observed = node();
    let link = observed.links[&2].clone();
    assert!(observed.apply(Change::Link(2, link)).is_empty());
    assert!(observed.apply(Change::NoAddress(key(2, "192.0.2.1/24"))).is_empty());
}

#[test]
fn what_the_kernel_was_given_is_expected_until_it_says_more() {
    let (mut observed, key) = (node(), key(3, "2001:db8::1/64"));
    observed.expect(key);
    assert!(observed.expects(&key));
    observed.apply(Change::Address(key, plain()));
    assert!(!observed.expects(&key));
    // Deleted and put again in one go: it is still to come. Deleted by somebody else before that: it is not.
    observed.expect(key);
    assert_eq!(observed.apply(Change::NoAddress(key)).addresses, [key.ip].into());
    assert!(observed.expects(&key));
    assert_eq!(observed.apply(Change::NoAddress(key)).addresses, [key.ip].into());
    assert!(!observed.expects(&key));
    observed.expect(key);
    observed.apply(Change::NoLink(key.index));
    assert!(!observed.expects(&key));
    // The kernel had it already, with another prefix length.
    observed.expect(key);
    observed.apply(Change::Address(AddressKey { prefix_len: 128, ..key }, plain()));
    assert!(!observed.expects(&key));
}

#[test]
fn differences_are_found_in_both_directions() {
    let one = node();
    let mut two = node();
    two.apply(Change::NoAddress(key(4, "10.1.0.11/24")));
    two.apply(Change::Address(key(4, "10.1.0.12/24"), plain()));
    let expected: BTreeSet<IpAddr> = ["10.1.0.11".parse().unwrap(), "10.1.0.12".parse().unwrap()].into();
    assert_eq!(one.differences(&two).addresses, expected);
    assert_eq!(two.differences(&one).addresses, expected);
    assert!(one.differences(&node()).is_empty());
}

/// Which IPv4 default routes are left: their metrics.
fn metrics(observed: &Observed) -> Vec<u32> {
    observed.routes.iter().filter(|route| route.family == Family::V4).map(|route| route.metric).collect()
}

#[test]
fn a_route_in_the_place_of_another_takes_it_away() {
    let mut observed = node();
    let route = DefaultRoute { family: Family::V4, metric: 100, table: 254, index: 4, gateway: None, source: None };
    assert!(observed.apply(Change::Replacement(route)).routes);
    assert!(!observed.apply(Change::Replacement(route)).routes);
    assert!(observed.apply(Change::Replacement(DefaultRoute { table: 10, ..route })).routes);
    let indices: Vec<_> = observed.routes.iter().map(|route| (route.family, route.table, route.index)).collect();
    assert_eq!(indices, [(Family::V4, 10, 4), (Family::V4, 254, 4), (Family::V6, 254, 2)]);
}

#[test]
fn ipv4_routes_go_without_notice() {
    let route = |metric, index, source: Option<&str>| {
        let source = source.map(|source| source.parse().unwrap());
        Change::Route(DefaultRoute { family: Family::V4, metric, table: 254, index, gateway: None, source })
    };
    let mut before = node();
    before.apply(Change::Address(key(4, "10.1.0.12/24"), plain()));
    before.apply(route(200, 4, None));
    before.apply(route(300, 4, Some("10.1.0.11")));
    let mut observed = before.clone();
    let down = Link { up: false, ..observed.links[&4].clone() };
    assert!(observed.apply(Change::Link(4, down)).routes);
    assert_eq!((metrics(&observed), observed.routes.len()), (vec![100], 2));
    // The source of one goes.
    let mut observed = before.clone();
    assert!(!observed.apply(Change::NoAddress(key(4, "10.1.0.12/24"))).routes);
    let mut observed = before.clone();
    assert!(observed.apply(Change::NoAddress(key(4, "10.1.0.11/24"))).routes);
    assert_eq!(metrics(&observed), [100, 200]);
    // The last address of the interface goes.
    assert!(observed.apply(Change::NoAddress(key(4, "10.1.0.12/24"))).routes);
    assert_eq!(metrics(&observed), [100]);
    // The source is elsewhere now, as when a bridge takes the interface over.
    before.apply(Change::Address(key(2, "10.1.0.11/24"), plain()));
    assert!(!before.apply(Change::NoAddress(key(4, "10.1.0.11/24"))).routes);
}

#[test]
fn a_lifetime_runs_from_when_it_was_seen() {
    let at = |seconds| BootTime::from_duration(std::time::Duration::from_secs(seconds));
    let address = KernelAddress { valid: Some(300), seen: at(100), ..plain() };
    assert_eq!(address.remaining(at(220)), Some(180));
    assert_eq!(address.remaining(at(1000)), Some(0));
    assert_eq!(plain().remaining(at(1000)), None);
}
