//! The rows of the specification (allocation.md), one test each.

use rstest::rstest;
use serde_json::{Value, json};

use super::server::{Replica, Server};

fn v4(pool: &str) -> Value {
    json!({"local": {"v4pool": {"pool": pool, "subnet": "10.0.0.0/8"}}})
}

fn dual(four: &str, six: &str) -> Value {
    json!({"remote": {"v4pool": {"pool": four, "subnet": "10.0.0.0/8"}, "v6pool": {"pool": six, "subnet": "2001:db8::/32"}}})
}

fn one(family: &str) -> Value {
    json!({"ipFamilies": [family], "ipFamilyPolicy": "SingleStack", "ports": [{"port": 80}]})
}

fn both(policy: &str) -> Value {
    json!({"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": policy, "ports": [{"port": 80}]})
}

fn group(name: &str) -> Value {
    json!({"purelb.io/service-group": name})
}

/// A server with these groups, and a leader that has read it.
fn start(groups: &[(&str, Value)]) -> (Server, Replica) {
    let mut server = Server::default();
    for (name, spec) in groups {
        server.put_group(name, spec);
    }
    let replica = Replica::leader(&mut server, true, "f1");
    (server, replica)
}

fn texts(server: &Server, name: &str) -> String {
    let addresses: Vec<String> = server.addresses(name).iter().map(ToString::to_string).collect();
    addresses.join(",")
}

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
    let said = replica.said();
    assert!(said.iter().any(|text| text == "AddressAssigned Assigned 10.1.0.0 from pool \"default\""), "{said:?}");
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
    let said = replica.said().join("\n");
    assert!(said.contains("AllocationFailed Failed to allocate an address for shop/must"), "{said}");
    assert!(said.contains("FamilyUnavailable shop/may"), "{said}");
    // The missing range comes: both are served at once.
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
    assert!(replica.said().iter().any(|text| text.starts_with("AddressReleased") && text.contains("2001:db8:1::")));
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
    assert!(replica.said().join("\n").contains("exhausted"));
    assert_eq!(replica.group_status("default")["conditions"][1]["type"], "NearlyFull");
    server.delete_service("a");
    replica.settle(&mut server);
    assert_eq!((texts(&server, "c"), texts(&server, "b")), ("10.1.0.0".to_owned(), String::new()));
    // Told once, not at every attempt.
    assert!(!replica.said().join("\n").contains("shop/b"));
}

#[test]
fn a_service_that_is_no_load_balancer_any_more_loses_its_marks() {
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
fn a_group_edit_takes_no_address_away_and_gives_none_twice() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    server.put_group("default", &v4("10.2.0.0/24"));
    replica.settle(&mut server);
    assert_eq!((texts(&server, "web"), server.writes["web"]), ("10.1.0.0".to_owned(), 1));
    let status = replica.group_status("default");
    assert_eq!(
        (&status["allocatedIPv4"], &status["conditions"][1]["type"]),
        (&json!(0), &json!("AddressesOutsidePools"))
    );
    assert!(status["conditions"][1]["message"].as_str().unwrap().contains("10.1.0.0 (shop/web)"));
    // The range comes back: the address is still taken.
    server.put_group("default", &v4("10.1.0.0/24"));
    server.put_service("more", one("IPv4"), json!({}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "more"), "10.1.0.1");
    // Deleting the group counts as an edit; a new leader knows the address too.
    server.delete_group("default");
    let mut replica = Replica::leader(&mut server, true, "f2");
    server.put_group("other", &v4("10.1.0.0/24"));
    server.put_service("last", one("IPv4"), group("other"));
    replica.settle(&mut server);
    assert_eq!((texts(&server, "web"), texts(&server, "last")), ("10.1.0.0".to_owned(), "10.1.0.2".to_owned()));
}

#[test]
fn re_evaluate_judges_as_if_new() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24")), ("other", v4("10.2.0.0/24"))]);
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    server.put_service("web", one("IPv4"), json!({"purelb.io/re-evaluate": "true"}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.0");
    assert_eq!(server.annotation("web", "purelb.io/re-evaluate"), None);
    // Only the wish moves it, not the edit.
    server.put_service("web", one("IPv4"), group("other"));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.0");
    server.put_service("web", one("IPv4"), json!({"purelb.io/re-evaluate": "true"}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.2.0.0");
    assert_eq!(server.annotation("web", "purelb.io/allocated-from").unwrap(), "other");
    assert_eq!(server.annotation("web", "purelb.io/pool-type").unwrap(), "local");
    // Nowhere to go: it keeps what it has.
    server.put_service("web", one("IPv4"), json!({"purelb.io/service-group": "nope", "purelb.io/re-evaluate": "true"}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.2.0.0");
    assert!(replica.said().join("\n").contains("unknown pool \"nope\""));
}

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
    assert!(replica.said().join("\n").contains("already in use"));
    assert_eq!(replica.group_status("default")["allocatedIPv4"], 0);
    server.delete_service("first");
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.9,10.2.0.7,2001:db8:1::9");
    assert_eq!(server.annotation("web", "purelb.io/allocated-from").unwrap(), "default, other, default");
    assert_eq!(server.writes["web"], 1);
}

#[test]
fn pins_of_any_family_do_not_loop() {
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
    assert!(replica.said().join("\n").contains("DeprecationWarning"));
}

#[rstest]
#[case("10.9.0.1", "\"10.9.0.1\" does not belong to any group")]
#[case("10.1.0.1, 10.1.0.2", "invalid user-specified address \" 10.1.0.2\"")]
#[case("", "invalid user-specified address \"\"")]
fn bad_pins_are_told(#[case] pins: &str, #[case] text: &str) {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("web", one("IPv4"), json!({"purelb.io/addresses": pins}));
    replica.settle(&mut server);
    let said = replica.said().join("\n");
    assert!(said.contains(text), "{said}");
}

fn shared(key: &str, port: u16) -> (Value, Value) {
    let spec = json!({"ipFamilies": ["IPv4"], "ports": [{"port": port}]});
    (spec, json!({"purelb.io/allow-shared-ip": key}))
}

#[test]
fn sharing_by_key_with_disjoint_ports() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    for (name, key, port) in [("a", "k", 80), ("b", "k", 443), ("c", "k", 80), ("d", "other", 80)] {
        let (spec, annotations) = shared(key, port);
        server.put_service(name, spec, annotations);
        replica.settle(&mut server);
    }
    assert_eq!(texts(&server, "a"), "10.1.0.0");
    assert_eq!(texts(&server, "b"), "10.1.0.0");
    assert_eq!(texts(&server, "c"), "");
    assert_eq!(texts(&server, "d"), "10.1.0.1");
    assert!(replica.said().join("\n").contains("port TCP/80 is already in use by shop/a"));
    assert_eq!(replica.group_status("default")["allocatedIPv4"], 2);
    // The port is freed: the waiting one comes in.
    server.delete_service("a");
    replica.settle(&mut server);
    assert_eq!(texts(&server, "c"), "10.1.0.0");
}

#[test]
fn sharing_edits_move_nobody_and_are_told() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    for (name, port) in [("a", 80), ("b", 443)] {
        let (spec, annotations) = shared("k", port);
        server.put_service(name, spec, annotations);
        replica.settle(&mut server);
    }
    replica.said();
    let (spec, _) = shared("k", 80);
    server.put_service("b", spec.clone(), json!({}));
    replica.settle(&mut server);
    assert!(
        replica.said().join("\n").contains("SharingConflict 10.1.0.0 is also in use by shop/a: both want port TCP/80")
    );
    server.put_service("b", spec, json!({"purelb.io/allow-shared-ip": null}));
    replica.settle(&mut server);
    assert!(replica.said().join("\n").contains("no longer agree"));
    assert_eq!((texts(&server, "a"), texts(&server, "b")), ("10.1.0.0".to_owned(), "10.1.0.0".to_owned()));
}

#[test]
fn a_sharing_conflict_stands_in_a_condition_as_long_as_it_lasts() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    for (name, port) in [("a", 80), ("b", 443)] {
        let (spec, annotations) = shared("k", port);
        server.put_service(name, spec, annotations);
        replica.settle(&mut server);
    }
    let theirs = json!({"type": "example.com/Checked", "status": "True"});
    server.services.get_mut("b").unwrap()["status"]["conditions"] = json!([theirs]);
    let conditions = |server: &Server, name: &str| server.services[name]["status"]["conditions"].clone();
    let (spec, annotations) = shared("k", 80);
    server.put_service("b", spec.clone(), annotations);
    replica.settle(&mut server);
    let told = conditions(&server, "b");
    assert_eq!((&told[0], &told[1]["type"]), (&theirs, &json!("purelb.io/SharingConflict")));
    assert_eq!((&told[1]["status"], &told[1]["reason"]), (&json!("True"), &json!("SharingConflict")));
    assert_eq!(
        told[1]["message"],
        "10.1.0.0 is also in use by shop/a: both want port TCP/80; nobody is moved, but only one gets the traffic"
    );
    assert!(conditions(&server, "a")[0]["message"].as_str().unwrap().contains("shop/b"));
    assert_eq!((server.writes["a"], server.writes["b"]), (2, 2));
    // The sentence changes with the cause.
    server.put_service("b", spec, json!({"purelb.io/allow-shared-ip": null}));
    replica.settle(&mut server);
    assert!(conditions(&server, "b")[1]["message"].as_str().unwrap().contains("no longer agree"));
    // A new leader finds nothing to write.
    let writes = server.writes.clone();
    let mut replica = Replica::leader(&mut server, true, "f2");
    replica.settle(&mut server);
    assert_eq!(server.writes, writes);
    // Mended by one of them, it goes from both.
    let (spec, annotations) = shared("k", 443);
    server.put_service("b", spec.clone(), annotations);
    replica.settle(&mut server);
    assert_eq!((conditions(&server, "a"), conditions(&server, "b")), (json!([]), json!([theirs])));
    // And when one of them goes, also if it only ceases to be a LoadBalancer.
    let (same, annotations) = shared("k", 80);
    server.put_service("b", same, annotations);
    replica.settle(&mut server);
    server.delete_service("a");
    replica.settle(&mut server);
    assert_eq!(conditions(&server, "b"), json!([theirs]));
}

#[test]
fn a_condition_of_ours_goes_with_the_type() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    for (name, port) in [("a", 80), ("b", 443)] {
        let (spec, annotations) = shared("k", port);
        server.put_service(name, spec, annotations);
        replica.settle(&mut server);
    }
    let (spec, annotations) = shared("k", 80);
    server.put_service("b", spec, annotations);
    replica.settle(&mut server);
    // The API server takes the addresses off by itself, and nothing else.
    let told = server.services["b"]["status"]["conditions"].clone();
    server.put_service("b", json!({"type": "ClusterIP"}), json!({}));
    server.services.get_mut("b").unwrap()["status"]["conditions"] = told.clone();
    let gone = serde_json::from_value::<crate::service::Watched>(server.services["b"].clone()).unwrap();
    replica.index.delete_service(&gone.trace());
    replica.settle(&mut server);
    assert_eq!(server.services["b"]["status"]["conditions"], json!([]), "{told}");
    assert_eq!(server.services["a"]["status"]["conditions"], json!([]));
}

#[test]
fn a_duplicate_is_repaired_and_the_older_keeps_the_address() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("old", one("IPv4"), json!({}));
    replica.settle(&mut server);
    server.put_service("new", one("IPv4"), json!({}));
    replica.settle(&mut server);
    server.set_ingress("new", &["10.1.0.0"]);
    replica.settle(&mut server);
    assert_eq!((texts(&server, "old"), texts(&server, "new")), ("10.1.0.0".to_owned(), "10.1.0.1".to_owned()));
    assert_eq!(replica.said().iter().filter(|text| text.starts_with("DuplicateAddress")).count(), 2);
    // Found at start too.
    server.set_ingress("new", &["10.1.0.0"]);
    let mut replica = Replica::leader(&mut server, true, "f2");
    replica.settle(&mut server);
    assert_eq!((texts(&server, "old"), texts(&server, "new")), ("10.1.0.0".to_owned(), "10.1.0.1".to_owned()));
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
    // Marks of a class that is not ours go, its address stays its own.
    assert_eq!(
        (server.annotation("theirs", "purelb.io/allocated-by"), texts(&server, "theirs")),
        (None, "10.1.0.0".to_owned())
    );
    // An address that we know nothing of.
    assert!(!server.writes.contains_key("metal"));
    // An address of our own range without our marks is adopted.
    assert_eq!(server.annotation("kept", "purelb.io/allocated-from").unwrap(), "default");
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

#[test]
fn a_new_leader_voids_writes_of_the_one_before() {
    let (mut server, mut old) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("a", one("IPv4"), json!({}));
    server.put_service("b", one("IPv4"), group("nope"));
    while old.deliver(&mut server) {}
    // The old leader sends its write for `a`, which is held back on its way.
    assert!(old.send());
    let late = old.flights[0].clone();
    server.put_service("b", one("IPv4"), group("default"));
    let mut new = Replica::leader(&mut server, false, "f2");
    // The first writes are fences, and nothing is handed out before all of them are answered.
    assert!(new.send() && new.send());
    assert_eq!(new.fences(), 2);
    assert!(!new.send());
    assert!(new.answer(&mut server, 0, false).is_some());
    assert!(!new.send());
    new.settle(&mut server);
    assert_eq!((texts(&server, "a"), texts(&server, "b")), ("10.1.0.0".to_owned(), "10.1.0.1".to_owned()));
    assert_eq!(server.annotation("a", api_types::names::annotation::LEADER_FENCE), None);
    // Now the late write arrives.
    old.flights = vec![late];
    let (before, after) = old.answer(&mut server, 0, true).unwrap();
    assert_eq!(before, after);
}

#[test]
fn who_is_about_to_move_is_marked_first_so_that_a_new_leader_knows() {
    let (mut server, mut old) = start(&[("default", v4("10.1.0.0-10.1.0.1"))]);
    for name in ["a", "b"] {
        server.put_service(name, one("IPv4"), json!({}));
        old.settle(&mut server);
    }
    server.set_ingress("b", &["10.1.0.0"]);
    while old.deliver(&mut server) {}
    // The mark, and then the move, which is held back on its way.
    assert!(old.send() && old.fences() == 1);
    old.answer(&mut server, 0, false);
    while old.deliver(&mut server) {}
    assert!(old.send() && old.fences() == 0);
    let late = old.flights[0].clone();
    assert_eq!(late.body["status"]["loadBalancer"]["ingress"][0]["ip"], "10.1.0.1");
    // When the next leader looks, nothing but the mark tells of it.
    server.delete_service("a");
    let mut new = Replica::leader(&mut server, false, "f2");
    server.put_service("winner", one("IPv4"), json!({}));
    new.settle(&mut server);
    assert_eq!((texts(&server, "b"), texts(&server, "winner")), ("10.1.0.0".to_owned(), "10.1.0.1".to_owned()));
    assert_eq!(server.annotation("b", api_types::names::annotation::LEADER_FENCE), None);
    old.flights = vec![late];
    let (before, after) = old.answer(&mut server, 0, true).unwrap();
    assert_eq!(before, after);
}

#[test]
fn namespace_rules_are_told_and_retried() {
    let mut bound = v4("10.1.0.0/24");
    bound["namespaces"] = json!(["elsewhere"]);
    bound["enforceNamespaces"] = json!(true);
    let (mut server, mut replica) = start(&[("default", bound)]);
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    assert!(replica.said().join("\n").contains("namespace denied"));
    server.put_group("default", &v4("10.1.0.0/24"));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.0");
}

#[test]
fn multi_pool_takes_one_of_each_range_with_a_node() {
    let spec = json!({"local": {"multiPool": true, "v4pools": [
        {"pool": "10.1.0.0/24", "subnet": "10.1.0.0/24"}, {"pool": "10.2.0.0/24", "subnet": "10.2.0.7/24"}, {"pool": "10.3.0.0/24", "subnet": "10.3.0.0/24"}]}});
    let (mut server, mut replica) = start(&[("default", spec)]);
    let subnets = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
    replica.index.set_subnets(subnets(&["10.1.0.0/24", "10.2.0.0/24"]));
    server.put_service("web", one("IPv4"), json!({}));
    server.put_service("off", one("IPv4"), json!({"purelb.io/multi-pool": "false"}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.0,10.2.0.0");
    assert_eq!(texts(&server, "off"), "10.1.0.1");
    // A node joins the third subnet; one leaves the first.
    replica.index.set_subnets(subnets(&["10.2.0.0/24", "10.3.0.0/24"]));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.0,10.2.0.0,10.3.0.0");
    server.put_service("none", one("IPv4"), json!({"purelb.io/allow-shared-ip": "k"}));
    replica.settle(&mut server);
    assert!(replica.said().join("\n").contains("purelb.io/allow-shared-ip"));
}

#[test]
fn balanced_pools_take_from_the_least_used_range() {
    let spec = json!({"remote": {"balancePools": true, "v4pools": [
        {"pool": "10.1.0.0/24", "subnet": "10.0.0.0/8"}, {"pool": "10.2.0.0/24", "subnet": "10.0.0.0/8"}]}});
    let (mut server, mut replica) = start(&[("default", spec)]);
    for name in ["a", "b", "c", "d"] {
        server.put_service(name, one("IPv4"), json!({}));
        replica.settle(&mut server);
    }
    let all: Vec<String> = ["a", "b", "c", "d"].iter().map(|name| texts(&server, name)).collect();
    assert_eq!(all, ["10.1.0.0", "10.2.0.0", "10.1.0.1", "10.2.0.1"]);
    server.put_service("e", one("IPv4"), json!({"purelb.io/multi-pool": "true"}));
    replica.settle(&mut server);
    assert!(replica.said().join("\n").contains("mutually exclusive"));
}

#[test]
fn a_group_of_netbox_is_refused_and_says_what_to_do() {
    let (mut server, mut replica) = start(&[("old", json!({"netbox": {"url": "http://x"}}))]);
    server.put_service("box", one("IPv4"), group("old"));
    replica.settle(&mut server);
    let said = replica.said().join("\n");
    assert!(said.contains("unknown pool \"old\"") && said.contains("netbox is no longer supported"), "{said}");
    assert_eq!(replica.group_status("old")["conditions"][0]["reason"], "NetboxUnsupported");
}

#[test]
fn a_second_look_writes_nothing() {
    let (mut server, mut replica) = start(&[("default", dual("10.1.0.0/24", "2001:db8:1::/64"))]);
    server.put_service("web", both("PreferDualStack"), json!({}));
    replica.settle(&mut server);
    let writes = server.writes.clone();
    let mut replica = Replica::leader(&mut server, false, "f2");
    replica.settle(&mut server);
    server.put_service("web", both("PreferDualStack"), json!({"purelb.io/announcing-IPv4": "node,eth0"}));
    replica.settle(&mut server);
    assert_eq!(server.writes, writes);
}
