//! The very addresses that the user names (specification, allocation.md 8).

use rstest::rstest;
use serde_json::json;

use super::fixtures::{both, dual, one, start, texts, v4};

#[test]
fn pinned_addresses_are_all_or_nothing() {
    let (mut server, mut replica) =
        start(&[("default", dual("10.1.0.0/24", "2001:db8:1::/64")), ("other", v4("10.2.0.0/24"))]);
    server.put_service("first", one("IPv4"), json!({"purelb.io/addresses": "10.2.0.7"}));
    server.put_service(
        "web",
        both("RequireDualStack"),
        json!({"purelb.io/addresses": "10.1.0.9,10.2.0.7,2001:db8:1::9"}),
    );
    replica.settle(&mut server);
    assert_eq!((texts(&server, "first"), texts(&server, "web")), ("10.2.0.7".to_owned(), String::new()));
    assert!(replica.take_reports().join("\n").contains("already in use"));
    assert_eq!(replica.group_status("default")["allocatedIPv4"], 0);
    server.delete_service("first");
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.9,10.2.0.7,2001:db8:1::9");
    assert_eq!(server.annotation("web", "purelb.io/allocated-from").unwrap(), "default, other, default");
    assert_eq!(server.writes["web"], 1);
}

#[test]
fn pinned_addresses_of_any_family_do_not_loop() {
    let (mut server, mut replica) = start(&[("default", dual("10.1.0.0/24", "2001:db8:1::/64"))]);
    server.put_service("web", both("RequireDualStack"), json!({"purelb.io/addresses": "10.1.0.9"}));
    server.put_service("six", one("IPv4"), json!({"purelb.io/addresses": "2001:db8:1::5"}));
    let mut spec = one("IPv4");
    spec["loadBalancerIP"] = json!("10.1.0.8");
    server.put_service("old", spec, json!({}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.9");
    assert_eq!(texts(&server, "six"), "2001:db8:1::5");
    assert_eq!(texts(&server, "old"), "10.1.0.8");
    assert_eq!((server.writes["web"], server.writes["six"]), (1, 1));
    assert!(replica.take_reports().join("\n").contains("DeprecationWarning"));
}

#[rstest]
#[case("10.9.0.1", "\"10.9.0.1\" does not belong to any group")]
#[case("10.1.0.1, 10.1.0.2", "invalid user-specified address \" 10.1.0.2\"")]
#[case("", "invalid user-specified address \"\"")]
fn bad_requested_addresses_are_reported(#[case] pins: &str, #[case] text: &str) {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("web", one("IPv4"), json!({"purelb.io/addresses": pins}));
    replica.settle(&mut server);
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains(text), "{reports}");
}
