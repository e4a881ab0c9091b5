//! What the routes of a group's aggregates cut off.
//!
//! On the dummy interface an address has the prefix length of its aggregate, and the kernel makes a route of that. Nodes
//! and pods then look for all addresses of the aggregate on this interface, those outside the group's ranges too.

use std::collections::BTreeSet;

use api_types::range::{from_bits, to_bits};
use api_types::{AddressRange, Announce, Group, Pool};
use ipnetwork::IpNetwork;

/// The part of a range's aggregates that is in no range of its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CutOff {
    /// The range as written.
    pub(super) range: String,
    /// The prefix length.
    pub(super) length: u8,
    pub(super) rest: Vec<AddressRange>,
    /// The subnet of the range, if some nodes are in it: only the others have the aggregate.
    pub(super) outside: Option<IpNetwork>,
}

/// The nodes that have the subnet of a range on an interface of their own. They put its addresses there, and no route of
/// an aggregate on the dummy interface comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InSubnet {
    /// No node, or nobody knows.
    Nobody,
    /// Some nodes, and others announce addresses too.
    Some,
    /// All nodes that announce addresses.
    All,
}

/// What the aggregates of the group cut off.
pub(super) fn cut_off(group: &Group, nodes: impl Fn(&Pool) -> InSubnet) -> Vec<CutOff> {
    if group.announce == Announce::Local {
        return Vec::new();
    }
    let mut seen = BTreeSet::new();
    let routed = group.pools.iter().map(|pool| (pool, nodes(pool))).filter(|(_, nodes)| *nodes != InSubnet::All);
    let found = routed.filter_map(|(pool, nodes)| {
        let whole = aggregates(pool)?;
        let rest = rest(whole, group);
        let is_new = seen.insert((whole, pool.prefix_len()));
        let outside = (nodes == InSubnet::Some).then_some(pool.subnet);
        let cut_off = CutOff { range: pool.text.clone(), length: pool.prefix_len(), rest, outside };
        (is_new && !cut_off.rest.is_empty()).then_some(cut_off)
    });
    found.collect()
}

/// All addresses of the aggregates of a range.
fn aggregates(pool: &Pool) -> Option<AddressRange> {
    let of = |address| IpNetwork::new(address, pool.prefix_len()).ok();
    AddressRange::new(of(pool.range.first())?.network(), of(pool.range.last())?.broadcast())
}

/// What of these addresses is in no range of the group. The first and the last one alone do not count: in most networks
/// nobody has them.
fn rest(whole: AddressRange, group: &Group) -> Vec<AddressRange> {
    let family = whole.family();
    let mut ranges: Vec<AddressRange> = group.pools_of(family).map(|pool| pool.range).collect();
    ranges.sort();
    let (mut from, end) = (Some(to_bits(whole.first())), to_bits(whole.last()));
    let mut rest = Vec::new();
    let mut add = |from: u128, to: u128| {
        let ends = from_bits(family, from).zip(from_bits(family, to));
        rest.extend(ends.and_then(|(from, to)| AddressRange::new(from, to)));
    };
    for range in ranges.into_iter().filter(|range| range.overlaps(whole)) {
        let Some(start) = from else { break };
        if let Some(before) = to_bits(range.first()).checked_sub(1).filter(|before| *before >= start) {
            add(start, before);
        }
        from = to_bits(range.last()).checked_add(1).map(|next| next.max(start));
    }
    if let Some(start) = from.filter(|start| *start <= end) {
        add(start, end);
    }
    rest.retain(|part| part.size() > 1 || (part.first() != whole.first() && part.last() != whole.last()));
    rest
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(&["10.1.0.0-10.1.0.99"], "default", &["10.1.0.100 10.1.0.255"])]
    #[case(&["10.1.0.10-10.1.0.19", "10.1.0.30-10.1.0.255"], "/24", &["10.1.0.0 10.1.0.9", "10.1.0.20 10.1.0.29"])]
    #[case(&["10.1.0.1-10.1.0.254"], "/24", &[])]
    #[case(&["10.1.0.0-10.1.0.99"], "/32", &[])]
    #[case(&["10.1.0.0/24"], "/25", &[])]
    #[case(&["10.1.0.0/25"], "/23", &["10.1.0.128 10.1.1.255"])]
    fn case_84_what_of_an_aggregate_is_in_no_range(
        #[case] ranges: &[&str],
        #[case] aggregation: &str,
        #[case] expected: &[&str],
    ) {
        let pools: Vec<_> = ranges
            .iter()
            .map(|range| json!({"pool": range, "subnet": "10.1.0.0/23", "aggregation": aggregation}))
            .map(|mut pool| {
                if aggregation == "default" {
                    pool["subnet"] = json!("10.1.0.0/24");
                }
                pool
            })
            .collect();
        let remote = serde_json::from_value(json!({"remote": {"v4pools": pools}})).unwrap();
        let group = Group::new("x", &remote).unwrap();
        let found = cut_off(&group, |_| InSubnet::Nobody);
        assert!(cut_off(&group, |_| InSubnet::All).is_empty());
        let of_some = cut_off(&group, |_| InSubnet::Some);
        assert_eq!(of_some.len(), found.len());
        assert!(of_some.iter().all(|found| found.outside.is_some()));
        let rest = found.iter().flat_map(|found| &found.rest);
        let rest: Vec<String> = rest.map(|part| format!("{} {}", part.first(), part.last())).collect();
        assert_eq!(rest, expected);
        let local = serde_json::from_value(json!({"local": {"v4pools": pools}})).unwrap();
        assert!(cut_off(&Group::new("x", &local).unwrap(), |_| InSubnet::Nobody).is_empty());
    }
}
