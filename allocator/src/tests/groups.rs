//! Groups that are edited, refused, or bound to namespaces (specification, allocation.md 2 and 3).

use serde_json::json;

use super::fixtures::{group, one, start, texts, v4};
use super::replica::Replica;

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
fn namespace_rules_are_reported_and_retried() {
    let mut bound = v4("10.1.0.0/24");
    bound["namespaces"] = json!(["elsewhere"]);
    bound["enforceNamespaces"] = json!(true);
    let (mut server, mut replica) = start(&[("default", bound)]);
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    assert!(replica.take_reports().join("\n").contains("namespace denied"));
    server.put_group("default", &v4("10.1.0.0/24"));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.0");
}

#[test]
fn a_group_of_netbox_is_refused_and_says_what_to_do() {
    let (mut server, mut replica) = start(&[("old", json!({"netbox": {"url": "http://x"}}))]);
    server.put_service("box", one("IPv4"), group("old"));
    replica.settle(&mut server);
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains("unknown pool \"old\"") && reports.contains("netbox is no longer supported"), "{reports}");
    assert_eq!(replica.group_status("old")["conditions"][0]["reason"], "NetboxUnsupported");
}
