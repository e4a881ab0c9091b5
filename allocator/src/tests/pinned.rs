//! The very addresses that the user names (specification, allocation.md 8).

use rstest::rstest;
use serde_json::json;

use super::fixtures::{both, dual, one, start, texts, v4};
use super::replica::Replica;

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
    let mut spec = one("IPv4");
    spec["loadBalancerIP"] = json!("10.1.0.8");
    server.put_service("old", spec, json!({}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.9");
    assert_eq!(texts(&server, "old"), "10.1.0.8");
    assert_eq!(server.writes["web"], 1);
    assert!(replica.take_reports().join("\n").contains("DeprecationWarning"));
}

#[test]
fn case_69_a_pin_of_a_family_that_the_service_does_not_have() {
    let (mut server, mut replica) = start(&[("default", dual("10.1.0.0/24", "2001:db8:1::/64"))]);
    server.put_service("six", one("IPv4"), json!({"purelb.io/addresses": "2001:db8:1::5"}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "six"), "");
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains("\"2001:db8:1::5\" cannot be given: the Service has IPv4 only"), "{reports}");
}

#[test]
fn case_69_a_pinned_service_that_gains_a_family_is_told_which_pin_is_missing() {
    let (mut server, mut replica) = start(&[("default", dual("10.1.0.0/24", "2001:db8:1::/64"))]);
    let pin = json!({"purelb.io/addresses": "10.1.0.9"});
    server.put_service("web", one("IPv4"), pin.clone());
    replica.settle(&mut server);
    replica.take_reports();
    server.put_service("web", both("RequireDualStack"), pin);
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.9");
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains("gets no IPv6 address, because the requested addresses include none"), "{reports}");
    // Nor is anything left for the next leader to wait for.
    let mut replica = Replica::leader(&mut server, false, "f2");
    replica.settle(&mut server);
    assert_eq!(server.annotation("web", "purelb.io/leader-fence"), None);
}

#[test]
fn case_76_an_ip_of_another_load_balancer_is_named_with_its_writer() {
    let (mut server, _) = start(&[("default", v4("10.1.0.0/24"))]);
    for (name, address) in [("dhcp", "0.0.0.0"), ("stored", "192.0.2.7")] {
        let mut spec = one("IPv4");
        spec["loadBalancerIP"] = json!(address);
        server.put_service(name, spec, json!({}));
        let service = server.services.get_mut(name).unwrap();
        service["metadata"]["managedFields"] =
            json!([{"manager": "kube-vip", "fieldsV1": {"f:spec": {"f:loadBalancerIP": {}}}}]);
    }
    let mut replica = Replica::leader(&mut server, true, "f2");
    replica.settle(&mut server);
    assert_eq!((texts(&server, "dhcp"), texts(&server, "stored")), ("10.1.0.0".to_owned(), String::new()));
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains("spec.loadBalancerIP, written by \"kube-vip\", is the unspecified address"), "{reports}");
    assert!(reports.contains("\"kube-vip\" wrote it to spec.loadBalancerIP"), "{reports}");
}

#[rstest]
#[case("10.9.0.1", "\"10.9.0.1\" does not belong to any group")]
#[case("10.1.0.1, x", "invalid user-specified address \"x\": write IP addresses separated by commas")]
#[case(
    "10.1.0.1,10.1.0.2,10.1.0.3,10.1.0.4,10.1.0.5,10.1.0.6,10.1.0.7,10.1.0.8,10.1.0.9,10.1.0.10,10.1.0.11,10.1.0.12,10.1.0.13,10.1.0.14,10.1.0.15,10.1.0.16,10.1.0.17",
    "17 addresses are requested, and a Service can have 16 at most"
)]
#[case("", "invalid user-specified address \"\"")]
fn bad_requested_addresses_are_reported(#[case] pins: &str, #[case] text: &str) {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("web", one("IPv4"), json!({"purelb.io/addresses": pins}));
    replica.settle(&mut server);
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains(text), "{reports}");
}

#[test]
fn case_18_blanks_around_commas_are_fine() {
    let (mut server, mut replica) = start(&[("default", dual("10.1.0.0/24", "2001:db8:1::/64"))]);
    server.put_service(
        "web",
        both("RequireDualStack"),
        json!({"purelb.io/addresses": " 10.1.0.205, 2001:db8:1::205 "}),
    );
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.205,2001:db8:1::205");
}
