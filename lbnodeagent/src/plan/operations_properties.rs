//! From any state to any other: properties of plans, with a kernel of a few rules.

use api_types::AddressAttributes;
use proptest::prelude::*;

use super::*;
use crate::cluster::members::testing::at;
use crate::model::observed::Change;
use crate::model::placement::Kind;
use crate::model::testing::{key, node, plain};
use crate::remote::addresses::Remote;

/// The kernel's rules for IPv4 addresses of one interface, as far as plans depend on them.
fn carry_out(observed: &mut Observed, operations: &[Operation], promote: bool) {
    for operation in operations {
        match operation {
            Operation::Put(entry, _) => {
                let family = |key: &AddressKey| (key.index, key.prefix_len, key.network());
                let secondary = entry.key.ip.is_ipv4()
                    && observed.addresses.keys().any(|key| *key != entry.key && family(key) == family(&entry.key));
                let secondary = observed.addresses.get(&entry.key).map_or(secondary, |found| found.secondary);
                let address = KernelAddress {
                    mark: entry.mark,
                    valid: entry.valid,
                    preferred: entry.preferred,
                    no_prefix_route: entry.no_prefix_route,
                    secondary,
                    ..plain()
                };
                observed.apply(Change::Address(entry.key, address));
            }
            Operation::Delete(key) => {
                let Some(gone) = observed.addresses.get(key).cloned() else { continue };
                observed.apply(Change::NoAddress(*key));
                if !key.ip.is_ipv4() || gone.secondary {
                    continue;
                }
                let same = |other: &AddressKey| {
                    other.index == key.index && other.prefix_len == key.prefix_len && other.network() == key.network()
                };
                let mut followers: Vec<AddressKey> =
                    observed.addresses.keys().filter(|other| same(other)).copied().collect();
                if promote && !followers.is_empty() {
                    let first = followers.remove(0);
                    let promoted = KernelAddress { secondary: false, ..observed.addresses[&first].clone() };
                    observed.apply(Change::Address(first, promoted));
                } else {
                    for follower in followers {
                        observed.apply(Change::NoAddress(follower));
                    }
                }
            }
        }
    }
}

/// One of a few addresses, so that they meet in networks and replace each other.
fn placements() -> impl Strategy<Value = BTreeMap<IpAddr, Placement>> {
    let one = (0_u8..8, prop::sample::select(vec![24_u8, 29, 32]), any::<bool>(), any::<bool>(), any::<bool>());
    prop::collection::vec(one, 0..8).prop_map(|all| {
        let placement = |(last, prefix_len, v6, no_prefix_route, host): (u8, u8, bool, bool, bool)| {
            let ip: IpAddr =
                if v6 { format!("2001:db8::{last}").parse().unwrap() } else { IpAddr::from([10, 9, 0, last]) };
            let bits = if v6 { 128 } else { 32 };
            let aggregate = (host && prefix_len < bits).then_some(prefix_len);
            let key = AddressKey { ip, index: 3, prefix_len: if aggregate.is_some() { bits } else { prefix_len } };
            (
                ip,
                Placement {
                    kind: Kind::Remote,
                    key,
                    aggregate,
                    attributes: AddressAttributes { no_prefix_route, ..AddressAttributes::REMOTE },
                },
            )
        };
        all.into_iter().map(placement).collect()
    })
}

proptest! {
    /// From any state to any other: everything desired is there, nothing of ours is left over,
    /// nobody else's address is lost, and a second plan is empty.
    #[test]
    fn a_plan_leads_where_it_should(before in placements(), after in placements(), promote in any::<bool>()) {
        let mut observed = node();
        observed.apply(Change::Address(key(3, "10.9.0.100/24"), plain()));
        for desired in [&before, &after] {
            let mut remote = Remote::default();
            for (ip, placement) in desired {
                remote.set(*ip, Some(*placement));
            }
            let recorded = BTreeSet::new();
            let kernel = observed.clone();
            let plan = Plan { desired, anchors: remote.anchors(), observed: &kernel, ours: Ours::new(&recorded, true), remote_links: &[3].into(), writer: Writer::Sole, sweep: true, interval: 30, now: at(0) };
            let all: BTreeSet<IpAddr> = plan.ours_in_kernel().chain(remote.wanted().map(|placement| placement.key.ip)).collect();
            carry_out(&mut observed, &plan.operations(all.iter().copied()), promote);
            let ours: BTreeSet<AddressKey> = observed.addresses.iter().filter(|(_, found)| found.mark.is_some()).map(|(key, _)| *key).collect();
            prop_assert_eq!(&ours, &remote.wanted().map(|placement| placement.key).collect());
            prop_assert!(observed.addresses.contains_key(&key(3, "10.9.0.100/24")));
            let again = Plan { observed: &observed, ..plan };
            prop_assert_eq!(again.operations(all), vec![]);
        }
    }
}
