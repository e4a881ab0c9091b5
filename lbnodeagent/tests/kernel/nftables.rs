//! Requests to `nf_tables`, and its notifications.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lbnodeagent::kernel::nftables::monitor::Monitor;
use lbnodeagent::kernel::nftables::proxy_rules::ProxiedPort;
use lbnodeagent::kernel::nftables::requests::Nftables;
use lbnodeagent::model::guard::{Edit, GuardChange, Openings, Rules};
use lbnodeagent::model::port::{Opening, Port, Protocol};
use lbnodeagent::model::service_proxy::ProxyMode;

use crate::proxy::{nft, our_table, proxy_tables, translate};
use crate::support::in_namespace;

const V4: &str = "192.0.2.1";
const V6: &str = "2001:db8::1";

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn tcp(ip: &str, number: u16) -> Opening {
    Opening { ip: addr(ip), port: Port { protocol: Protocol::Tcp, number } }
}

fn build(rules: Rules, openings: &[Opening]) -> GuardChange {
    let mut all = Openings::default();
    for opening in openings {
        let mut ports: BTreeSet<Port> = all.of(opening.ip).cloned().unwrap_or_default();
        ports.insert(opening.port);
        all.set(opening.ip, Some(ports));
    }
    GuardChange::Build(rules, all)
}

/// Of which families there are rules of kube-proxy in a mode.
fn families_of(mode: ProxyMode) -> [bool; 2] {
    Nftables::open().unwrap().proxy_families(mode).unwrap()
}

/// How many seconds the only element of `vips4` lasts.
fn lasts() -> f64 {
    let table = our_table().unwrap();
    let rest = table.split_once("expires ").expect("an element with a timeout").1;
    let text = rest.split_whitespace().next().unwrap();
    let number = |text: &str| text.parse::<f64>().unwrap_or(0.0);
    let (seconds, rest) = text.split_once('s').unwrap_or((text, ""));
    number(seconds) + number(rest.trim_end_matches("ms")) / 1000.0
}

#[test]
fn the_table_reads_as_it_is_documented() {
    in_namespace(|| async {
        let mut nftables = Nftables::open().unwrap();
        nftables.apply(&build(Rules::PortsAndTranslated, &[tcp(V4, 80), tcp(V6, 443)])).unwrap();
        let table = our_table().unwrap();
        let counted = "counter packets 0 bytes 0 drop";
        let to_vip = "ip daddr @vips4 meta l4proto @protocols fib daddr type local";
        for part in [
            "type filter hook prerouting priority dstnat - 10; policy accept;".to_owned(),
            "type filter hook input priority filter + 10; policy accept;".to_owned(),
            "type filter hook output priority filter + 10; policy accept;".to_owned(),
            "type filter hook input priority filter - 10; policy accept;".to_owned(),
            "type filter hook output priority filter - 10; policy accept;".to_owned(),
            format!(
                "ip daddr @young4 meta l4proto @protocols fib daddr type local ct direction original ct status ! dnat {counted}"
            ),
            format!("{to_vip} ct state invalid {counted}"),
            format!("{to_vip} ct state new,untracked ip daddr . meta l4proto . th dport != @ports4 {counted}"),
            format!("{to_vip} ct direction original ct status ! dnat {counted}"),
            format!(
                "ip6 daddr @vips6 meta l4proto @protocols fib daddr type local ct state new,untracked ip6 daddr . meta l4proto . th dport != @ports6 {counted}"
            ),
            "elements = { tcp, udp, sctp }".to_owned(),
            format!("elements = {{ {V4} . tcp . 80 }}"),
            format!("elements = {{ {V6} . tcp . 443 }}"),
            format!("elements = {{ {V6} expires"),
        ] {
            assert!(table.contains(&part), "{part}: {table}");
        }
        nftables.apply(&build(Rules::Ports, &[])).unwrap();
        let table = our_table().unwrap();
        assert!(!table.contains("hook input") && table.contains("hook prerouting"), "{table}");
        nftables.apply(&GuardChange::Remove).unwrap();
        assert_eq!(our_table(), None);
        nftables.apply(&GuardChange::Remove).unwrap();
    });
}

#[test]
fn edits_change_what_they_name_and_a_wrong_one_changes_nothing() {
    in_namespace(|| async {
        let mut nftables = Nftables::open().unwrap();
        nftables.apply(&build(Rules::PortsAndTranslated, &[tcp(V4, 80)])).unwrap();
        let edit = Edit {
            guarded: vec![addr("192.0.2.2")],
            opened: vec![tcp("192.0.2.2", 53), tcp(V4, 81)],
            closed: vec![tcp(V4, 80)],
            ..Edit::default()
        };
        nftables.apply(&GuardChange::Edit(edit)).unwrap();
        let table = our_table().unwrap();
        assert!(table.contains("192.0.2.2 . tcp . 53") && table.contains("192.0.2.1 . tcp . 81"), "{table}");
        assert!(!table.contains("192.0.2.1 . tcp . 80"), "{table}");
        let wrong = Edit { opened: vec![tcp(V4, 99)], closed: vec![tcp(V4, 80)], ..Edit::default() };
        assert!(nftables.apply(&GuardChange::Edit(wrong)).is_err());
        assert!(!our_table().unwrap().contains("99"));
        let gone = Edit { unguarded: vec![addr("192.0.2.2")], closed: vec![tcp("192.0.2.2", 53)], ..Edit::default() };
        nftables.apply(&GuardChange::Edit(gone)).unwrap();
        assert_eq!(our_table().unwrap().matches("192.0.2.2").count(), 1, "it is among the new ones for a while");
    });
}

#[test]
fn a_renewal_starts_the_time_of_an_address_anew() {
    in_namespace(|| async {
        let mut nftables = Nftables::open().unwrap();
        nftables.apply(&build(Rules::Ports, &[tcp(V4, 80)])).unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        assert!(lasts() < 28.7, "{}", lasts());
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(300));
            let renewal = Edit { renewed: Some(vec![addr(V4)]), ..Edit::default() };
            nftables.apply(&GuardChange::Edit(renewal)).unwrap();
            assert!(lasts() > 29.5 && lasts() <= 30.0, "{}", lasts());
        }
        // Nothing else has a timeout.
        assert_eq!(our_table().unwrap().matches("expires").count(), 1);
    });
}

#[test]
fn what_others_do_to_our_table_is_noticed_and_theirs_is_left_alone() {
    in_namespace(|| async {
        nft(
            "table inet other { set s { type ipv4_addr; elements = { 192.0.2.1 }; }\n chain c { type filter hook input priority 0; ip saddr @s accept; }; }",
        );
        let mut nftables = Nftables::open().unwrap();
        let built = build(Rules::PortsAndTranslated, &[tcp(V4, 80)]);
        assert!(nftables.is_intact().unwrap(), "nothing was written yet");
        nftables.apply(&built).unwrap();
        assert!(nftables.is_intact().unwrap());
        nft("flush chain inet purelb input");
        assert!(!nftables.is_intact().unwrap());
        nftables.apply(&built).unwrap();
        nft("delete table inet purelb; add table inet purelb");
        assert!(!nftables.is_intact().unwrap());
        nftables.apply(&built).unwrap();
        assert!(nft("list table inet other").contains("ip saddr @s accept"));
        nft("flush ruleset");
        assert!(!nftables.is_intact().unwrap());
    });
}

#[test]
fn a_change_of_any_rules_is_reported() {
    in_namespace(|| async {
        let mut monitor = Monitor::open().unwrap();
        let reported = async |monitor: &mut Monitor| {
            let reported = tokio::time::timeout(Duration::from_millis(500), monitor.wait()).await.is_ok();
            monitor.drain();
            reported
        };
        assert!(!reported(&mut monitor).await);
        nft("table inet other { chain c { type filter hook input priority 0; }; }");
        assert!(reported(&mut monitor).await);
        assert!(!reported(&mut monitor).await);
        nft("flush ruleset");
        assert!(reported(&mut monitor).await);
    });
}

#[test]
fn rules_of_kube_proxy_are_found_in_both_modes() {
    in_namespace(|| async {
        let mut nftables = Nftables::open().unwrap();
        let mut mode = |ip: &str, chain: &str| {
            nftables.proxy_rules(&ProxiedPort { opening: tcp(ip, 80), chain: chain.to_owned() }).unwrap()
        };
        let chain = "KUBE-EXT-XPGD46QRK7WJZT7O";
        assert_eq!(mode(V4, chain), None);
        assert_eq!(families_of(ProxyMode::Nftables), [false, false]);
        proxy_tables();
        assert_eq!(families_of(ProxyMode::Nftables), [true, true]);
        assert_eq!((mode(V4, chain), mode(V6, chain)), (None, None));
        translate(V4, 80, "10.0.0.1", 80);
        translate(V6, 80, "fd00::1", 80);
        assert_eq!((mode(V4, chain), mode(V6, chain)), (Some(ProxyMode::Nftables), Some(ProxyMode::Nftables)));
        assert_eq!(mode("192.0.2.2", chain), None);
        nft("flush table ip kube-proxy");
        assert_eq!(families_of(ProxyMode::Nftables), [false, true]);
        nft("flush ruleset");
        assert_eq!(mode(V4, chain), None);
        nft(&format!("table ip nat {{ chain {chain} {{ counter; }}\n chain KUBE-IPTABLES-HINT {{ counter; }}; }}"));
        assert_eq!((mode(V4, chain), mode(V4, "KUBE-EXT-OTHER")), (Some(ProxyMode::Iptables), None));
        assert_eq!(families_of(ProxyMode::Iptables), [false, false], "the kubelet's chains alone");
        nft("table ip nat { chain KUBE-SERVICES { counter; }; }");
        assert_eq!(families_of(ProxyMode::Iptables), [true, false]);
        // As `iptables -F` does.
        nft("flush table ip nat");
        assert_eq!((mode(V4, chain), families_of(ProxyMode::Iptables)), (None, [false, false]));
    });
}

#[test]
fn ten_thousand_addresses_are_written_and_renewed_at_once() {
    in_namespace(|| async {
        let mut nftables = Nftables::open().unwrap();
        let addresses: Vec<String> = (0..10_000_u32).map(|nth| format!("10.9.{}.{}", nth / 250, nth % 250)).collect();
        let openings: Vec<Opening> = addresses.iter().flat_map(|ip| [tcp(ip, 80), tcp(ip, 443)]).collect();
        let mut timed = |change: &GuardChange| {
            let start = Instant::now();
            nftables.apply(change).unwrap();
            start.elapsed()
        };
        let built = timed(&build(Rules::PortsAndTranslated, &openings));
        let renewal = Edit { renewed: Some(addresses.iter().map(|ip| addr(ip)).collect()), ..Edit::default() };
        let renewed = timed(&GuardChange::Edit(renewal));
        let opened = timed(&GuardChange::Edit(Edit { opened: vec![tcp(&addresses[0], 81)], ..Edit::default() }));
        eprintln!("built after {built:?}, renewed in {renewed:?}, one port in {opened:?}");
        assert_eq!(our_table().unwrap().matches("expires").count(), 10_000);
    });
}
