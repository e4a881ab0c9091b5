//! The table against a naive model.

use std::collections::{BTreeMap, BTreeSet};

use api_types::range::to_bits;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

fn range(text: &str) -> AddressRange {
    text.parse().unwrap()
}

fn name(text: &str) -> ServiceName {
    ServiceName::new("shop", text)
}

#[test]
fn a_64_costs_nothing_and_counts_correctly() {
    let mut table = AddressTable::default();
    let all = range("2001:db8::/64");
    table.set_ranges([all]);
    assert_eq!(table.lowest_free(&[all]), Some("2001:db8::".parse().unwrap()));
    for number in 0..1000_u32 {
        let address = table.lowest_free(&[all]).unwrap();
        assert_eq!(to_bits(address) - to_bits(all.first()), u128::from(number));
        table.hold(&name(&number.to_string()), &[address]);
    }
    assert_eq!(table.used(all), 1000);
}

#[test]
fn an_address_outside_is_not_allocated_when_the_range_grows() {
    let mut table = AddressTable::default();
    table.set_ranges([range("10.0.0.0/30")]);
    table.hold(&name("a"), &["10.0.0.4".parse().unwrap()]);
    assert_eq!(table.outside().len(), 1);
    let grown = range("10.0.0.4-10.0.0.7");
    table.set_ranges([grown]);
    assert_eq!(table.outside().len(), 0);
    assert_eq!(table.lowest_free(&[grown]), Some("10.0.0.5".parse().unwrap()));
}

#[derive(Debug, Clone)]
enum Operation {
    Hold(u8, Vec<u8>),
    Ranges(Vec<(u8, u8)>),
    Reserve(u8, Vec<u8>),
}

/// The first two forbid an address, the others have it avoided.
fn reserved_for(who: u8) -> ReservedFor {
    match who {
        0 => ReservedFor::NodeKernel("node1".into()),
        1 => ReservedFor::Gateway("node2".into()),
        who => ReservedFor::ExternalIp(name(&who.to_string())),
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        7 => (0_u8..6, prop::collection::btree_set(0_u8..32, 0..4)).prop_map(|(who, held)| Operation::Hold(who, held.into_iter().collect())),
        1 => prop::collection::vec((0_u8..32, 0_u8..8), 0..4).prop_map(Operation::Ranges),
        3 => (0_u8..4, prop::collection::btree_set(0_u8..32, 0..6)).prop_map(|(who, set)| Operation::Reserve(who, set.into_iter().collect())),
    ]
}

fn address(number: u8, six: bool) -> IpAddr {
    if six { format!("2001:db8::{number:x}").parse().unwrap() } else { IpAddr::from([10, 0, 0, number]) }
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(33), ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_naive_model_and_never_gives_a_forbidden_address(six in any::<bool>(), operations in prop::collection::vec(operation(), 0..200)) {
        let mut table = AddressTable::default();
        let mut naive: BTreeMap<IpAddr, BTreeSet<u8>> = BTreeMap::new();
        let mut ranges: Vec<AddressRange> = Vec::new();
        let mut reserved: BTreeMap<u8, BTreeSet<IpAddr>> = BTreeMap::new();
        for operation in operations {
            match operation {
                Operation::Hold(who, wanted) => {
                    let before: BTreeSet<IpAddr> = naive.keys().copied().collect();
                    for holders in naive.values_mut() {
                        holders.remove(&who);
                    }
                    for &number in &wanted {
                        naive.entry(address(number, six)).or_default().insert(who);
                    }
                    naive.retain(|_, holders| !holders.is_empty());
                    let wanted: Vec<IpAddr> = wanted.into_iter().map(|number| address(number, six)).collect();
                    let freed: BTreeSet<IpAddr> = table.hold(&name(&who.to_string()), &wanted).into_iter().collect();
                    let naive_freed: BTreeSet<IpAddr> = before.into_iter().filter(|a| !naive.contains_key(a)).collect();
                    prop_assert_eq!(freed, naive_freed);
                }
                Operation::Ranges(wanted) => {
                    ranges.clear();
                    for (first, length) in wanted {
                        let range = AddressRange::new(address(first, six), address(first + length, six)).unwrap();
                        if ranges.iter().all(|other| !other.overlaps(range)) {
                            ranges.push(range);
                        }
                    }
                    table.set_ranges(ranges.clone());
                }
                Operation::Reserve(who, set) => {
                    let set: BTreeSet<IpAddr> = set.into_iter().map(|number| address(number, six)).collect();
                    let before = reserved.insert(who, set.clone()).unwrap_or_default();
                    let list: Vec<IpAddr> = set.iter().copied().collect();
                    let changed: BTreeSet<IpAddr> = table.set_reserved(&reserved_for(who), &list).into_iter().collect();
                    prop_assert_eq!(changed, before.symmetric_difference(&set).copied().collect());
                }
            }
            for &range in &ranges {
                let used = naive.keys().filter(|address| range.contains(**address)).count();
                prop_assert_eq!(table.used(range), u128::try_from(used).unwrap());
                let all = || (0..=40).map(|n| address(n, six)).filter(|a| range.contains(*a));
                let by = |who: &[u8], a: &IpAddr| who.iter().any(|who| reserved.get(who).is_some_and(|set| set.contains(a)));
                let available: Vec<IpAddr> = all().filter(|a| !naive.contains_key(a) && !by(&[0, 1], a)).collect();
                let free = available.iter().find(|a| !by(&[2, 3], a)).or(available.first());
                prop_assert_eq!(table.lowest_free(&[range]), free.copied());
                prop_assert_eq!(table.available(range), u128::try_from(available.len()).unwrap());
                let forbidden = all().filter(|a| !naive.contains_key(a) && by(&[0, 1], a)).count();
                prop_assert_eq!(table.forbidden(range), u128::try_from(forbidden).unwrap());
                let listed: Vec<IpAddr> = table.reserved_in(range).map(|(a, _)| a).collect();
                prop_assert_eq!(listed, all().filter(|a| by(&[0, 1, 2, 3], a)).collect::<Vec<_>>());
            }
            let outside: BTreeSet<IpAddr> =
                naive.keys().copied().filter(|a| ranges.iter().all(|range| !range.contains(*a))).collect();
            prop_assert_eq!(table.outside(), &outside);
        }
    }
}

#[test]
fn a_reserved_address_is_refused_by_its_owner_and_an_external_ip_is_for_its_namespace() {
    let mut table = AddressTable::default();
    let all = range("192.168.50.12-192.168.50.13");
    table.set_ranges([all]);
    let [node, external] = ["192.168.50.12", "192.168.50.13"].map(|text| text.parse::<IpAddr>().unwrap());
    table.set_reserved(&ReservedFor::NodeStatus("node2".into()), &[node]);
    table.set_reserved(&ReservedFor::ExternalIp(name("old")), &[external]);
    let refusal = |address, namespace| table.check_reserved(address, namespace).unwrap_err().to_string();
    assert!(refusal(node, "shop").starts_with("192.168.50.12 is node2's own address"));
    assert!(
        refusal(external, "other").starts_with("192.168.50.13 is an external IP of a Service of another namespace")
    );
    assert_eq!(table.check_reserved(external, "shop"), Ok(()));
    assert_eq!(table.lowest_free(&[all]), Some(external));
    // What a Service holds is ours, although the Node's status lists it.
    table.hold(&name("web"), &[node]);
    assert_eq!(table.check_reserved(node, "shop"), Ok(()));
    table.set_reserved(&ReservedFor::NodeKernel("node2".into()), &[node]);
    assert!(table.check_reserved(node, "shop").is_err());
}
