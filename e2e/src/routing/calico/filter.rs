//! The export filter: which routes a node exports, and with which communities.

use std::fmt::Write;

use ipnetwork::IpNetwork;

use crate::routing::calico::objects::{Calico, Community};
use api_types::Family;

/// The filter named `to_peers` for one family.
///
/// In this order, as in Calico's own templates: pools with `disableBGPExport` are rejected, communities are set,
/// what lies within a pool is accepted, everything else is rejected. Whether a pool is `disabled` is not looked at.
pub(super) fn export_filter(calico: &Calico, family: Family) -> String {
    let mut text = "filter to_peers {\n".to_owned();
    let here = |network: &IpNetwork| Family::of(network.ip()) == family;
    let mut rule = |network: &IpNetwork, action: &str| {
        let _ = writeln!(text, "  if net ~ {}/{} then {action}", network.network(), network.prefix());
    };
    let pools = || calico.pools.iter().filter(|pool| here(&pool.cidr));
    for pool in pools().filter(|pool| pool.disable_bgp_export) {
        rule(&pool.cidr, "reject;");
    }
    for advertisement in calico.configuration.prefix_advertisements.iter().filter(|each| here(&each.cidr)) {
        for word in &advertisement.communities {
            // A name that is not defined has no effect, and Calico reports nothing.
            if let Some(action) = add_community(word, &calico.configuration.communities) {
                rule(&advertisement.cidr, &action);
            }
        }
    }
    for pool in pools() {
        rule(&pool.cidr, "accept;");
    }
    text.push_str("  reject;\n}\n");
    text
}

/// The statement that adds the community that `word` is, or names.
fn add_community(word: &str, named: &[Community]) -> Option<String> {
    parse(word).or_else(|| parse(&named.iter().find(|community| community.name == word)?.value))
}

fn parse(value: &str) -> Option<String> {
    let parts: Vec<&str> = value.split(':').collect();
    match parts.as_slice() {
        [high, low] => {
            let (high, low): (u16, u16) = (high.parse().ok()?, low.parse().ok()?);
            Some(format!("bgp_community.add(({high}, {low}));"))
        }
        [global, first, second] => {
            let part = |text: &str| text.parse::<u32>().ok();
            Some(format!("bgp_large_community.add(({}, {}, {}));", part(global)?, part(first)?, part(second)?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::calico::objects::{BgpConfiguration, IpPool, PrefixAdvertisement};

    fn pool(cidr: &str) -> IpPool {
        IpPool { cidr: cidr.parse().unwrap(), disabled: true, disable_bgp_export: false }
    }

    fn tagged(cidr: &str, communities: &[&str]) -> BgpConfiguration {
        BgpConfiguration {
            prefix_advertisements: vec![PrefixAdvertisement {
                cidr: cidr.parse().unwrap(),
                communities: communities.iter().copied().map(str::to_owned).collect(),
            }],
            ..BgpConfiguration::default()
        }
    }

    fn filter(calico: &Calico, family: Family) -> Vec<String> {
        let text = export_filter(calico, family);
        let body = text.strip_prefix("filter to_peers {\n").unwrap().strip_suffix("}\n").unwrap();
        body.lines().map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn nothing_is_exported_without_a_pool() {
        let calico = Calico { configuration: tagged("172.30.200.0/24", &["100:100"]), ..Calico::default() };
        let rules = filter(&calico, Family::V4);
        assert!(!rules.iter().any(|rule| rule.ends_with("accept;")));
        assert_eq!(rules.last().unwrap(), "reject;");
        assert_eq!(filter(&Calico::default(), Family::V6), ["reject;"]);
    }

    #[test]
    fn a_disabled_pool_exports_all_the_same() {
        for disabled in [false, true] {
            let pools = vec![IpPool { disabled, ..pool("172.30.200.0/24") }];
            let calico = Calico { pools, ..Calico::default() };
            assert_eq!(filter(&calico, Family::V4), ["if net ~ 172.30.200.0/24 then accept;", "reject;"]);
        }
    }

    #[test]
    fn a_pool_concerns_its_own_family_only() {
        let calico = Calico { pools: vec![pool("172.30.200.0/24"), pool("2001:470:8bf5:2::/64")], ..Calico::default() };
        assert_eq!(filter(&calico, Family::V6), ["if net ~ 2001:470:8bf5:2::/64 then accept;", "reject;"]);
    }

    #[test]
    fn a_pool_with_bgp_export_disabled_is_rejected_before_all_else() {
        let no_export = IpPool { disable_bgp_export: true, ..pool("172.30.200.0/24") };
        let calico = Calico {
            pools: vec![pool("172.30.0.0/16"), no_export],
            configuration: tagged("172.30.0.0/16", &["100:100"]),
            ..Calico::default()
        };
        let rules = filter(&calico, Family::V4);
        assert_eq!(rules.first().unwrap(), "if net ~ 172.30.200.0/24 then reject;");
    }

    #[test]
    fn communities_are_set_before_the_pool_accepts() {
        let calico = Calico {
            pools: vec![pool("172.30.200.0/24")],
            configuration: tagged("172.30.200.0/24", &["100:100", "64512:1:2"]),
            ..Calico::default()
        };
        assert_eq!(
            filter(&calico, Family::V4),
            [
                "if net ~ 172.30.200.0/24 then bgp_community.add((100, 100));",
                "if net ~ 172.30.200.0/24 then bgp_large_community.add((64512, 1, 2));",
                "if net ~ 172.30.200.0/24 then accept;",
                "reject;",
            ]
        );
        assert_eq!(filter(&calico, Family::V6), ["reject;"]);
    }

    #[test]
    fn a_named_community_has_its_value() {
        let mut configuration = tagged("172.30.200.0/24", &["purelb"]);
        configuration.communities = vec![Community { name: "purelb".into(), value: "100:200".into() }];
        let rules = filter(&Calico { configuration, ..Calico::default() }, Family::V4);
        assert_eq!(rules, ["if net ~ 172.30.200.0/24 then bgp_community.add((100, 200));", "reject;"]);
    }

    #[test]
    fn undefined_names_and_impossible_values_are_dropped_in_silence() {
        let words = ["purelb", "70000:1", "1:2:3:4", "", "100:100"];
        let calico = Calico { configuration: tagged("172.30.200.0/24", &words), ..Calico::default() };
        let rules = filter(&calico, Family::V4);
        assert_eq!(rules, ["if net ~ 172.30.200.0/24 then bgp_community.add((100, 100));", "reject;"]);
    }

    #[test]
    fn host_bits_of_a_range_do_not_matter() {
        let calico = Calico { pools: vec![pool("172.30.200.7/24")], ..Calico::default() };
        assert_eq!(filter(&calico, Family::V4).first().unwrap(), "if net ~ 172.30.200.0/24 then accept;");
    }
}
