//! One address for each family (specification, allocation.md 1, 4 and 5).

use serde_json::json;

use super::fixtures::{both, dual, group, one, start, texts, v4};

#[test]
fn an_allocation_is_one_write_with_everything_in_it() {
    let (mut server, mut replica) = start(&[("default", dual("10.1.0.0/24", "2001:db8:1::/64"))]);
    server.put_service("web", both("RequireDualStack"), json!({}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.0,2001:db8:1::");
    assert_eq!(server.writes["web"], 1);
    assert_eq!(server.annotation("web", "purelb.io/allocated-by").unwrap(), "PureLB");
    assert_eq!(server.annotation("web", "purelb.io/allocated-from").unwrap(), "default");
    assert_eq!(server.annotation("web", "purelb.io/pool-type").unwrap(), "remote");
    assert_eq!(
        server.services["web"]["status"]["loadBalancer"]["ingress"][0],
        json!({"ip": "10.1.0.0", "ipMode": "VIP"})
    );
    let reports = replica.take_reports();
    assert!(
        reports.iter().any(|text| text == "AddressAssigned Assigned 10.1.0.0 from pool \"default\""),
        "{reports:?}"
    );
    assert_eq!(replica.group_status("default")["allocatedIPv4"], 1);
}

#[test]
fn each_family_from_the_first_listed_group_that_has_it() {
    let (mut server, mut replica) = start(&[
        ("four", v4("10.1.0.0/24")),
        ("six", json!({"remote": {"v6pool": {"pool": "2001:db8:1::/64", "subnet": "2001:db8:1::/64"}}})),
    ]);
    server.put_service("web", both("RequireDualStack"), group("four,six"));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.0,2001:db8:1::");
    assert_eq!(server.annotation("web", "purelb.io/allocated-from").unwrap(), "four, six");
    assert_eq!(server.annotation("web", "purelb.io/pool-type").unwrap(), "local");
}

#[test]
fn dual_stack_is_all_or_nothing_unless_preferred() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("must", both("RequireDualStack"), json!({}));
    server.put_service("may", both("PreferDualStack"), json!({}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "must"), "");
    assert_eq!(texts(&server, "may"), "10.1.0.0");
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains("AllocationFailed Failed to allocate an address for shop/must"), "{reports}");
    assert!(reports.contains("FamilyUnavailable shop/may"), "{reports}");
    // The missing range is added: both are served at once.
    server.put_group("default", &dual("10.1.0.0/24", "2001:db8:1::/64"));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "may"), "10.1.0.0,2001:db8:1::");
    assert_eq!(texts(&server, "must"), "10.1.0.1,2001:db8:1::1");
}

#[test]
fn families_change_on_a_living_service() {
    let (mut server, mut replica) = start(&[("default", dual("10.1.0.0/24", "2001:db8:1::/64"))]);
    server.put_service("web", both("RequireDualStack"), json!({}));
    replica.settle(&mut server);
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.0");
    assert!(
        replica.take_reports().iter().any(|text| text.starts_with("AddressReleased") && text.contains("2001:db8:1::"))
    );
    server.put_service("web", both("RequireDualStack"), json!({}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.0,2001:db8:1::");
}

#[test]
fn an_exhausted_pool_serves_the_oldest_when_an_address_is_freed() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/32"))]);
    for name in ["a", "c", "b"] {
        server.put_service(name, one("IPv4"), json!({}));
        replica.settle(&mut server);
    }
    assert!(replica.take_reports().join("\n").contains("exhausted"));
    assert_eq!(replica.group_status("default")["conditions"][1]["type"], "Full");
    server.delete_service("a");
    replica.settle(&mut server);
    assert_eq!((texts(&server, "c"), texts(&server, "b")), ("10.1.0.0".to_owned(), String::new()));
    // Reported once, not at every attempt.
    assert!(!replica.take_reports().join("\n").contains("shop/b"));
}

#[test]
fn a_service_that_is_no_load_balancer_any_more_loses_our_annotations() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/32"))]);
    server.put_service("web", one("IPv4"), json!({"purelb.io/announcing-IPv4": "node,eth0"}));
    server.put_service("next", one("IPv4"), json!({}));
    replica.settle(&mut server);
    let mut spec = one("IPv4");
    spec["type"] = json!("ClusterIP");
    server.put_service("web", spec, json!({}));
    replica.settle(&mut server);
    assert_eq!(server.services["web"]["metadata"]["annotations"], json!({}));
    assert_eq!(texts(&server, "next"), "10.1.0.0");
}

#[test]
fn re_evaluate_plans_as_if_new() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24")), ("other", v4("10.2.0.0/24"))]);
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    server.put_service("web", one("IPv4"), json!({"purelb.io/re-evaluate": "true"}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.0");
    assert_eq!(server.annotation("web", "purelb.io/re-evaluate"), None);
    // Only re-evaluate moves it, not the edit.
    server.put_service("web", one("IPv4"), group("other"));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.0");
    server.put_service("web", one("IPv4"), json!({"purelb.io/re-evaluate": "true"}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.2.0.0");
    assert_eq!(server.annotation("web", "purelb.io/allocated-from").unwrap(), "other");
    assert_eq!(server.annotation("web", "purelb.io/pool-type").unwrap(), "local");
    // No group serves it: it keeps what it has.
    server.put_service("web", one("IPv4"), json!({"purelb.io/service-group": "nope", "purelb.io/re-evaluate": "true"}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.2.0.0");
    assert!(replica.take_reports().join("\n").contains("unknown pool \"nope\""));
}

#[test]
fn others_are_left_alone_but_their_addresses_are_not_given_out() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    let mut spec = one("IPv4");
    spec["loadBalancerClass"] = json!("example.com/other");
    server.put_service("theirs", spec, json!({"purelb.io/allocated-by": "PureLB"}));
    server.set_ingress("theirs", &["10.1.0.0"]);
    server.put_service("metal", one("IPv4"), json!({}));
    server.set_ingress("metal", &["203.0.113.7"]);
    server.put_service("kept", one("IPv4"), json!({}));
    server.set_ingress("kept", &["10.1.0.1"]);
    server.put_service("named", one("IPv4"), json!({}));
    server.put_service("ours", one("IPv4"), json!({}));
    replica.settle(&mut server);
    // Our annotations are removed from a Service of another class, and it keeps its address.
    assert_eq!(
        (server.annotation("theirs", "purelb.io/allocated-by"), texts(&server, "theirs")),
        (None, "10.1.0.0".to_owned())
    );
    // An address of no group of ours.
    assert!(!server.writes.contains_key("metal"));
    // An address of our own range without our annotations is reserved, and no more.
    assert!(!server.writes.contains_key("kept"));
    assert_eq!(
        (texts(&server, "kept"), texts(&server, "named"), texts(&server, "ours")),
        ("10.1.0.1".to_owned(), "10.1.0.2".to_owned(), "10.1.0.3".to_owned())
    );
}

#[test]
fn an_ingress_with_a_host_name_only_is_kept() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("web", one("IPv4"), json!({}));
    server.services.get_mut("web").unwrap()["status"] =
        json!({"loadBalancer": {"ingress": [{"hostname": "x.example"}]}});
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    let ingress = &server.services["web"]["status"]["loadBalancer"]["ingress"];
    assert_eq!(*ingress, json!([{"hostname": "x.example"}, {"ip": "10.1.0.0", "ipMode": "VIP"}]));
}
