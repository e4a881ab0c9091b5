use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn group(spec: Value) -> Result<Group, GroupError> {
    Group::new("test", &serde_json::from_value::<ServiceGroupSpec>(spec).unwrap())
}

#[test]
fn groups_of_version_v1_are_subnet_or_routed() {
    let v4 = group(json!({"local": {
        "aggregation": "/32", "pool": "172.30.200.155-172.30.200.160", "subnet": "172.30.200.0/24", "announce": "SubnetOrRouted"
    }}))
    .unwrap();
    assert_eq!(v4.announce, Announce::SubnetOrRouted);
    assert_eq!(v4.pools[0].range.size(), 6);
    assert_eq!(v4.pools[0].prefix_len(), 32);
    assert!(v4.serves(Family::V4) && !v4.serves(Family::V6));

    // Earlier releases stored such groups without the field `announce`.
    let v6 = group(json!({"local": {
        "aggregation": "/128", "pool": "2001:470:8bf5:2:2::1-2001:470:8bf5:2:2::ffff", "subnet": "2001:470:8bf5:2::/64"
    }}))
    .unwrap();
    assert_eq!(v6.announce, Announce::SubnetOrRouted);
    assert_eq!(v6.pools[0].prefix_len(), 128);
}

#[test]
fn pools_keep_their_order_ipv4_first() {
    let pool = |range: &str, subnet: &str| json!({"pool": range, "subnet": subnet});
    let group = group(json!({"local": {
        "v6pool": pool("2001:db8::/112", "2001:db8::/64"),
        "v4pool": pool("192.0.2.1-192.0.2.9", "192.0.2.0/24"),
        "v4pools": [pool("198.51.100.0/28", "198.51.100.0/24"), pool("192.0.2.128/25", "192.0.2.0/24")],
    }}))
    .unwrap();
    assert_eq!(group.announce, Announce::Local);
    let texts: Vec<_> = group.pools.iter().map(|pool| pool.text.as_str()).collect();
    assert_eq!(texts, ["198.51.100.0/28", "192.0.2.128/25", "192.0.2.1-192.0.2.9", "2001:db8::/112"]);
}

#[rstest]
#[case(json!({"local": {}}), "NoRange", "no valid address range found")]
#[case(json!({"local": {"announce": "SubnetOrRouted"}}), "NoRange", "pool and subnet")]
#[case(json!({"remote": {}}), "NoRange", "spec.remote")]
#[case(json!({}), "Contradiction", "exactly one of")]
#[case(json!({"netbox": {"url": "http://netbox.example"}}), "NetboxUnsupported", "spec.external")]
#[case(json!({"local": {"v4pool": {"pool": "192.0.2.9-192.0.2.1", "subnet": "192.0.2.0/24"}}}), "InvalidRange", "local.v4pool.pool")]
#[case(json!({"local": {"v4pool": {"pool": "198.51.100.1/32", "subnet": "192.0.2.0/24"}}}), "RangeOutsideSubnet", "not contained by network 192.0.2.0/24")]
#[case(json!({"local": {"v4pool": {"pool": "192.0.2.1/32", "subnet": "192.0.2.0"}}}), "InvalidSubnet", "invalid subnet")]
#[case(json!({"local": {"v4pool": {"pool": "2001:db8::1/128", "subnet": "2001:db8::/64"}}}), "InvalidRange", "not an IPv4 range")]
#[case(json!({"local": {"v4pool": {"pool": "192.0.2.1/32", "subnet": "192.0.2.0/24", "aggregation": "/64"}}}), "InvalidAggregation", "32 bits")]
#[case(json!({"local": {"pool": "192.0.2.1/32", "subnet": "192.0.2.0/24", "aggregation": "32"}}), "InvalidAggregation", "\"/32\"")]
#[case(json!({"local": {"pool": "192.0.2.1/32"}}), "NoRange", "without local.subnet")]
#[case(json!({"local": {"pool": "192.0.2.1/32", "subnet": "192.0.2.0/24", "v4pool": {"pool": "192.0.2.2/32", "subnet": "192.0.2.0/24"}}}), "Contradiction", "one form")]
#[case(json!({"remote": {"v4pools": [{"pool": "192.0.2.0/24", "subnet": "192.0.2.0/24"}, {"pool": "192.0.2.7/32", "subnet": "192.0.2.0/24"}]}}), "OverlappingRanges", "remote.v4pools[1]")]
#[case(json!({"remote": {"v4pool": {"pool": "192.0.2.0/24", "subnet": "192.0.2.0/24"}, "multiPool": true, "balancePools": true}}), "Contradiction", "mutually exclusive")]
#[case(json!({"external": {"provider": "x", "socket": "ipam.sock", "announce": "local"}}), "InvalidSocket", "absolute path")]
fn refuses(#[case] spec: Value, #[case] reason: &str, #[case] says: &str) {
    let error = group(spec).unwrap_err();
    assert_eq!(error.reason(), reason, "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn remains_of_the_flat_form_are_ignored() {
    let pools = json!([{"pool": "192.0.2.1/32", "subnet": "192.0.2.0/24"}]);
    for local in [
        json!({"subnet": "192.0.2.0/24", "v4pools": pools}),
        json!({"pool": "", "subnet": "", "aggregation": "", "v4pools": pools}),
    ] {
        assert_eq!(group(json!({ "local": local })).unwrap().pools.len(), 1);
    }
}

proptest! {
    #[test]
    fn a_valid_group_has_disjoint_pools_inside_their_subnets(
        pools in prop::collection::vec((any::<[u8; 4]>(), 0_u8..=34, any::<[u8; 4]>(), 0_u8..=34, 6_u8..40), 1..4)
    ) {
        let written: Vec<_> = pools
            .iter()
            .map(|(a, alen, s, slen, aggregation)| {
                let [a0, a1, a2, a3] = a;
                let [s0, s1, s2, s3] = s;
                json!({
                    "pool": format!("{a0}.{a1}.{a2}.{a3}/{alen}"),
                    "subnet": if slen % 2 == 0 { format!("{a0}.{a1}.{a2}.{a3}/{}", slen.min(alen)) } else { format!("{s0}.{s1}.{s2}.{s3}/{slen}") },
                    "aggregation": format!("/{aggregation}"),
                })
            })
            .collect();
        if let Ok(group) = group(json!({"remote": {"v4pools": written}})) {
            for (index, pool) in group.pools.iter().enumerate() {
                prop_assert!(pool.subnet.contains(pool.range.first()) && pool.subnet.contains(pool.range.last()));
                prop_assert!(pool.prefix_len() <= pool.range.family().bits());
                prop_assert!(group.pools.iter().skip(index + 1).all(|other| !other.range.overlaps(pool.range)));
                prop_assert_eq!(group.pool_of(pool.range.last()).map(|found| &found.text), Some(&pool.text));
            }
        }
    }

    #[test]
    fn never_panics(pool in "\\PC{0,40}", subnet in "\\PC{0,40}", aggregation in "\\PC{0,8}") {
        let _ = group(json!({"local": {"pool": pool, "subnet": subnet, "aggregation": aggregation}}));
    }
}
