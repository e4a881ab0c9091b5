//! Whose the addresses of a Service without our list are.

use serde_json::{Value, json};

use super::api_server::ApiServer;
use super::fixtures::{group, one, start, texts, v4};
use super::replica::Replica;
use crate::FIELD_MANAGER;
use crate::model::HeldAddresses;

fn marks() -> Value {
    json!({"purelb.io/allocated-by": "PureLB", "purelb.io/allocated-from": "default", "purelb.io/pool-type": "local"})
}

fn copied(addresses: &str) -> Value {
    let mut annotations = marks();
    annotations["purelb.io/allocated-addresses"] = json!(addresses);
    annotations["purelb.io/allocated-to"] = json!("uid-of-another");
    annotations
}

fn show(server: &mut ApiServer, name: &str, manager: &str, address: &str) {
    server.set_status(name, manager, json!({"loadBalancer": {"ingress": [{"ip": address}]}}));
}

#[test]
fn case_13_an_address_of_another_load_balancer_stays_until_the_user_says_otherwise() {
    let (mut server, _) = start(&[("default", v4("10.1.0.0/24"))]);
    for (name, address) in [("outside", "203.0.113.7"), ("inside", "10.1.0.0")] {
        server.put_service(name, one("IPv4"), json!({}));
        show(&mut server, name, "metallb", address);
    }
    let mut replica = Replica::leader(&mut server, false, "f2");
    server.put_service("ours", one("IPv4"), json!({}));
    replica.settle(&mut server);
    assert!(!server.writes.contains_key("outside") && !server.writes.contains_key("inside"));
    assert_eq!(texts(&server, "ours"), "10.1.0.1");
    let reports = replica.take_reports();
    let foreign: Vec<&String> = reports.iter().filter(|text| text.starts_with("ForeignAddress")).collect();
    assert!(foreign.len() == 2 && foreign.iter().all(|text| text.contains("purelb.io/re-evaluate")), "{reports:?}");
    // Once.
    server.put_service("outside", one("IPv4"), json!({"purelb.io/announcing-IPv4": "x"}));
    replica.settle(&mut server);
    assert!(replica.take_reports().is_empty());
    for name in ["outside", "inside"] {
        server.put_service(name, one("IPv4"), json!({"purelb.io/re-evaluate": "true"}));
        replica.settle(&mut server);
    }
    assert_eq!((texts(&server, "outside"), texts(&server, "inside")), ("10.1.0.2".to_owned(), "10.1.0.3".to_owned()));
    assert_eq!(server.annotation("outside", "purelb.io/allocated-addresses").unwrap(), "10.1.0.2");
    assert_eq!(server.annotation("outside", "purelb.io/re-evaluate"), None);
}

#[test]
fn a_takeover_that_fails_leaves_the_status_alone() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("web", one("IPv4"), group("nope"));
    show(&mut server, "web", "metallb", "203.0.113.7");
    while replica.deliver(&mut server) {}
    server.put_service("web", one("IPv4"), json!({"purelb.io/re-evaluate": "true"}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "203.0.113.7");
    assert_eq!(server.annotation("web", "purelb.io/allocated-by"), None);
    assert!(replica.take_reports().join("\n").contains("unknown pool \"nope\""));
}

#[test]
fn services_of_an_earlier_release_are_marked_slowly_and_keep_their_addresses() {
    let (mut server, _) = start(&[("default", v4("10.1.0.0/24"))]);
    for number in 0..50 {
        let name = format!("s{number}");
        server.put_service(&name, one("IPv4"), marks());
        show(&mut server, &name, FIELD_MANAGER, &format!("10.1.0.{number}"));
    }
    let mut replica = Replica::leader(&mut server, true, "f2");
    replica.settle_now(&mut server);
    assert_eq!(server.writes.len(), 1);
    replica.pass(&mut server, 1);
    replica.settle_now(&mut server);
    assert_eq!(server.writes.len(), 21);
    replica.settle(&mut server);
    assert!(server.writes.len() == 50 && server.writes.values().all(|writes| *writes == 1));
    for number in 0..50 {
        let name = format!("s{number}");
        assert_eq!(texts(&server, &name), format!("10.1.0.{number}"));
        assert_eq!(server.annotation(&name, "purelb.io/allocated-addresses").unwrap(), format!("10.1.0.{number}"));
        assert_eq!(server.annotation(&name, "purelb.io/pool-type").unwrap(), "local");
    }
    assert!(replica.take_reports().iter().all(|text| text.starts_with("Parsed")));
}

#[test]
fn a_class_of_ours_counts_in_a_pool_but_not_for_a_nodes_own_address() {
    let (mut server, _) = start(&[("default", v4("10.1.0.0/24"))]);
    let mut spec = one("IPv4");
    spec["loadBalancerClass"] = json!("purelb.io/purelbv2");
    for (name, address) in [("pool", "10.1.0.5"), ("node", "10.1.0.6"), ("outside", "203.0.113.7")] {
        server.put_service(name, spec.clone(), json!({}));
        show(&mut server, name, "kubectl-replace", address);
    }
    let held = HeldAddresses { own: ["10.1.0.6".parse().unwrap()].into(), ..HeldAddresses::default() };
    let mut replica = Replica::leader_with(&mut server, true, "f2", true, Some(held));
    replica.settle(&mut server);
    assert_eq!(server.annotation("pool", "purelb.io/allocated-addresses").unwrap(), "10.1.0.5");
    assert!(!server.writes.contains_key("node") && !server.writes.contains_key("outside"));
}

#[test]
fn what_a_new_leader_has_not_heard_of_stays_as_it_is() {
    let (mut server, _) = start(&[("default", v4("10.1.0.0/24"))]);
    for (name, address) in [("held", "10.1.0.0"), ("unknown", "10.1.0.1")] {
        server.put_service(name, one("IPv4"), json!({}));
        show(&mut server, name, "kubectl-replace", address);
    }
    let mut replica = Replica::leader_with(&mut server, false, "f2", true, None);
    server.put_service("new", one("IPv4"), json!({}));
    replica.settle(&mut server);
    assert_eq!((server.writes.len(), texts(&server, "new")), (1, "10.1.0.2".to_owned()));
    assert!(!replica.take_reports().join("\n").contains("ForeignAddress"));
    let uid = server.services["held"]["metadata"]["uid"].as_str().unwrap().to_owned();
    let by_uid = [(uid, ["10.1.0.0".parse().unwrap()].into())].into();
    replica.index.set_held(HeldAddresses { by_uid, ..HeldAddresses::default() });
    replica.index.set_heard_all(true);
    replica.settle(&mut server);
    assert_eq!(server.annotation("held", "purelb.io/allocated-addresses").unwrap(), "10.1.0.0");
    assert!(!server.writes.contains_key("unknown"));
    assert!(replica.take_reports().join("\n").contains("ForeignAddress another load balancer gave 10.1.0.1"));
}

#[test]
fn case_72_what_was_given_stays_ours_when_we_are_no_longer_the_default() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("given", one("IPv4"), json!({}));
    replica.settle(&mut server);
    server.put_service("old", one("IPv4"), marks());
    show(&mut server, "old", FIELD_MANAGER, "10.1.0.9");
    server.put_service("foreign", one("IPv4"), json!({}));
    show(&mut server, "foreign", "metallb", "203.0.113.7");
    let mut replica = Replica::leader_with(&mut server, true, "f2", false, Some(HeldAddresses::default()));
    server.put_service("new", one("IPv4"), json!({}));
    replica.settle(&mut server);
    assert_eq!((texts(&server, "given"), server.writes["given"]), ("10.1.0.0".to_owned(), 1));
    assert_eq!(server.annotation("old", "purelb.io/allocated-addresses").unwrap(), "10.1.0.9");
    assert!(!server.writes.contains_key("new") && !server.writes.contains_key("foreign"));
    assert!(!replica.take_reports().join("\n").contains("ForeignAddress"));
    // It is looked after like any other.
    server.set_ingress("given", &["10.9.9.9"]);
    replica.settle(&mut server);
    assert_eq!(texts(&server, "given"), "10.1.0.0");
}

#[test]
fn case_73_marks_of_another_object_are_a_hint() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/29"))]);
    server.put_service("taken", one("IPv4"), json!({}));
    replica.settle(&mut server);
    for (name, address) in [("outside", "198.51.100.7"), ("free", "10.1.0.5"), ("copy", "10.1.0.0")] {
        server.put_service(name, one("IPv4"), copied(address));
        show(&mut server, name, "velero", address);
        replica.settle(&mut server);
    }
    // Nothing that another cluster gave stays in a status, and the same address comes only if it is free.
    assert_eq!((texts(&server, "outside"), texts(&server, "free")), ("10.1.0.1".to_owned(), "10.1.0.5".to_owned()));
    assert_eq!((texts(&server, "taken"), texts(&server, "copy")), ("10.1.0.0".to_owned(), "10.1.0.2".to_owned()));
    for name in ["outside", "free", "copy"] {
        let uid = server.services[name]["metadata"]["uid"].as_str().unwrap().to_owned();
        assert_eq!(server.annotation(name, "purelb.io/allocated-to"), Some(uid));
    }
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains("were written for another object"), "{reports}");
    assert!(reports.contains("name 198.51.100.7; this Service has 10.1.0.1"), "{reports}");
    assert!(!reports.contains("DuplicateAddress"), "{reports}");
}

#[test]
fn case_73_of_several_copies_of_one_address_the_oldest_has_it() {
    // By age and then by name, and not in the order in which they are read.
    for order in [["b", "a", "c"], ["c", "b", "a"], ["a", "b", "c"]] {
        let (mut server, _) = start(&[("default", v4("10.1.0.0/29"))]);
        for name in order {
            server.put_service(name, one("IPv4"), copied("10.1.0.5"));
            show(&mut server, name, "velero", "10.1.0.5");
            let second = if name == "a" { 9 } else { 5 };
            server.services.get_mut(name).unwrap()["metadata"]["creationTimestamp"] =
                json!(format!("2026-01-01T00:00:0{second}Z"));
        }
        let mut replica = Replica::leader(&mut server, true, "f2");
        replica.settle(&mut server);
        assert_eq!(texts(&server, "b"), "10.1.0.5", "{order:?}");
        let others: Vec<String> = ["a", "c"].map(|name| texts(&server, name)).into();
        assert!(others == ["10.1.0.0", "10.1.0.1"] || others == ["10.1.0.1", "10.1.0.0"], "{others:?}");
        let reports = replica.take_reports().join("\n");
        assert!(reports.contains("name 10.1.0.5; this Service has 10.1.0.0"), "{reports}");
        assert!(reports.contains("name 10.1.0.5; this Service has 10.1.0.5"), "{reports}");
    }
}

#[test]
fn case_73_what_an_agent_has_for_this_very_object_is_kept() {
    let (mut server, _) = start(&[("default", v4("10.1.0.0/29"))]);
    server.put_service("web", one("IPv4"), copied("10.1.0.3"));
    show(&mut server, "web", "velero", "10.1.0.4");
    let uid = server.services["web"]["metadata"]["uid"].as_str().unwrap().to_owned();
    let by_uid = [(uid, ["10.1.0.4".parse().unwrap()].into())].into();
    let held = HeldAddresses { by_uid, ..HeldAddresses::default() };
    let mut replica = Replica::leader_with(&mut server, true, "f2", true, Some(held));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.4");
    assert_eq!(server.annotation("web", "purelb.io/allocated-addresses").unwrap(), "10.1.0.4");
}

#[test]
fn case_73_a_hint_takes_no_address_that_somebody_else_freed_just_now() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/29"))]);
    for name in ["a", "b"] {
        server.put_service(name, one("IPv4"), json!({}));
        replica.settle(&mut server);
    }
    server.delete_service("a");
    server.delete_service("b");
    replica.settle(&mut server);
    server.put_service("restored", one("IPv4"), copied("10.1.0.1"));
    server.put_service("b", one("IPv4"), copied("10.1.0.1"));
    replica.settle(&mut server);
    assert_eq!((texts(&server, "restored"), texts(&server, "b")), ("10.1.0.0".to_owned(), "10.1.0.1".to_owned()));
    server.delete_service("b");
    replica.settle(&mut server);
    replica.pass(&mut server, 61);
    server.put_service("later", one("IPv4"), copied("10.1.0.1"));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "later"), "10.1.0.1");
}
