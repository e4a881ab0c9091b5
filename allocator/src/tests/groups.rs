//! Groups that are edited, refused, or bound to namespaces (specification, allocation.md 2 and 3).

use serde_json::{Value, json};

use super::api_server::ApiServer;
use super::fixtures::{group, one, start, texts, v4};
use super::replica::{Replica, lease};

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

#[test]
fn case_65_the_group_in_force_stays_when_another_one_overlaps() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    // By name it comes first.
    server.put_group("backup", &v4("10.1.0.0/25"));
    server.put_service("more", one("IPv4"), json!({}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "more"), "10.1.0.1");
    let refused = replica.group_status("backup");
    assert_eq!(refused["conditions"][0]["reason"], "OverlappingGroups");
    assert_eq!(refused["conditions"][1]["type"], "Stalled");
    // So it does after a change of leader, which knows it by the status alone.
    let mut replica = Replica::leader(&mut server, true, "f2");
    replica.settle(&mut server);
    assert_eq!(replica.group_status("default")["conditions"][0]["status"], "True");
    // An edit that makes an overlap is refused, and the other group stays.
    server.put_group("backup", &v4("10.2.0.0/24"));
    replica.settle(&mut server);
    assert_eq!(replica.group_status("backup")["conditions"][0]["status"], "True");
    server.put_group("default", &v4("10.0.0.0/9"));
    replica.settle(&mut server);
    assert_eq!(replica.group_status("default")["conditions"][0]["reason"], "OverlappingGroups");
    assert_eq!(replica.group_status("backup")["conditions"][0]["status"], "True");
    assert_eq!(texts(&server, "web"), "10.1.0.0");
}

#[test]
fn case_71_the_end_of_a_group_in_use_is_told_and_its_addresses_follow_their_range() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    replica.take_reports();
    server.delete_group("default");
    replica.settle(&mut server);
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains("ServiceGroup \"default\" was deleted: its addresses stay as they are"), "{reports}");
    let condition = |server: &ApiServer| server.services["web"]["status"]["conditions"][0].clone();
    assert_eq!(condition(&server)["type"], "purelb.io/GroupDeleted");
    assert!(condition(&server)["message"].as_str().unwrap().starts_with("no ServiceGroup \"default\" exists any more"));
    // A new leader, who knows nothing of the group, keeps it as it is.
    let writes = server.writes["web"];
    let mut replica = Replica::leader(&mut server, true, "f2");
    replica.settle(&mut server);
    assert_eq!(server.writes["web"], writes);
    server.put_group("renamed", &v4("10.1.0.0/24"));
    replica.pass(&mut server, 61);
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.0");
    assert_eq!(condition(&server), json!(null));
    assert_eq!(server.annotation("web", "purelb.io/allocated-from").as_deref(), Some("renamed"));
}

#[test]
fn case_71_many_services_of_a_group_that_is_gone_get_their_condition_slowly_and_one_event() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    for number in 0..100 {
        server.put_service(&format!("s{number}"), one("IPv4"), json!({}));
    }
    replica.settle(&mut server);
    replica.take_reports();
    let written = server.writes.values().sum::<u32>();
    server.delete_group("default");
    replica.settle_now(&mut server);
    for second in 1..=5 {
        replica.pass(&mut server, 1);
        replica.settle_now(&mut server);
        let writes = server.writes.values().sum::<u32>() - written;
        assert!(writes <= 1 + 20 * second, "{writes} writes in {second} s");
    }
    let reports = replica.take_reports();
    let told: Vec<&String> = reports.iter().filter(|report| report.starts_with("ConfigurationWarning")).collect();
    assert!(told.len() == 1 && told[0].contains("while 100 Services have addresses of it"), "{reports:?}");
    let has_condition = |object: &Value| object.to_string().contains("purelb.io/GroupDeleted");
    assert!(server.services.values().all(has_condition));
    // The group is there again.
    server.put_group("default", &v4("10.1.0.0/24"));
    replica.settle(&mut server);
    assert!(!server.services.values().any(has_condition));
    assert_eq!(server.writes.values().sum::<u32>(), written + 200);
}

#[test]
fn case_84_an_aggregate_wider_than_the_ranges_is_told() {
    let wide = json!({"remote": {"v4pool": {"pool": "10.1.0.0-10.1.0.99", "subnet": "10.1.0.0/24"}}});
    let (mut server, mut replica) = start(&[("default", wide)]);
    replica.settle(&mut server);
    let condition = |replica: &mut Replica| {
        let conditions = replica.group_status("default")["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|condition| condition["type"] == "AggregateCutsOff")
    };
    let message = condition(&mut replica).unwrap()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("10.1.0.100-10.1.0.255 (by /24 for 10.1.0.0-10.1.0.99)"), "{message}");
    let exact = json!({"remote": {"v4pool":
        {"pool": "10.1.0.0-10.1.0.99", "subnet": "10.1.0.0/24", "aggregation": "/32"}}});
    server.put_group("default", &exact);
    replica.settle(&mut server);
    assert!(condition(&mut replica).is_none());
}

#[test]
fn case_84_it_is_told_as_long_as_any_node_that_announces_is_outside_of_the_subnet() {
    let wide = json!({"remote": {"v4pool": {"pool": "10.1.0.0-10.1.0.99", "subnet": "10.1.0.0/24"}}});
    let (mut server, mut replica) = start(&[("default", wide)]);
    let message = |replica: &mut Replica| {
        let conditions = replica.group_status("default")["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.into_iter().find(|condition| condition["type"] == "AggregateCutsOff");
        found.map(|condition| condition["message"].as_str().unwrap().to_owned())
    };
    replica.put_member("inside", "10.1.0.0/24", "");
    replica.settle(&mut server);
    assert_eq!(message(&mut replica), None, "all nodes have the addresses on interfaces of their own");
    replica.put_member("outside", "192.168.50.0/24", "");
    replica.settle(&mut server);
    let told = message(&mut replica).unwrap();
    assert!(told.contains("by /24 for 10.1.0.0-10.1.0.99, on nodes outside of 10.1.0.0/24"), "{told}");
    let mut deselected = lease("outside", "", "");
    let annotations = deselected.metadata.annotations.as_mut().unwrap();
    annotations.insert(api_types::lease::INSTANCE.to_owned(), "pod".to_owned());
    let deselects = api_types::lease::inactive_value(api_types::lease::Inactive::Deselected, "pod");
    annotations.insert(api_types::lease::INACTIVE.to_owned(), deselects);
    replica.put_lease(&deselected);
    replica.settle(&mut server);
    assert_eq!(message(&mut replica), None, "it announces nothing");
    replica.put_member("outside", "192.168.50.0/24", "");
    replica.settle(&mut server);
    assert!(message(&mut replica).is_some());
    replica.index.delete_lease(&lease("outside", "", ""));
    replica.settle(&mut server);
    assert_eq!(message(&mut replica), None);
}

#[test]
fn case_74_what_a_network_with_host_bits_stands_for_is_told() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.184/28"))]);
    server.put_group("default", &v4("10.1.0.200/29"));
    server.put_group("default", &v4("10.1.0.184/28"));
    replica.settle(&mut server);
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains("10.1.0.184/28 stands for 10.1.0.184 to 10.1.0.191"), "{reports}");
}

#[test]
fn case_75_a_small_pool_in_use_is_as_meant_until_somebody_waits() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.7/32"))]);
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    assert_eq!(replica.group_status("default")["conditions"].as_array().unwrap().len(), 1);
    server.put_service("waits", one("IPv4"), json!({}));
    replica.settle(&mut server);
    assert_eq!(replica.group_status("default")["conditions"][1]["type"], "Full");
    server.delete_service("web");
    replica.settle(&mut server);
    assert_eq!(replica.group_status("default")["conditions"].as_array().unwrap().len(), 1);
}

#[test]
fn case_103_the_status_says_which_specification_it_is_about() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    replica.settle(&mut server);
    assert_eq!(
        replica.group_status("default")["observedGeneration"],
        server.groups["default"]["metadata"]["generation"]
    );
}

/// The rules of kstatus for an object with conditions (cli-utils, `status/generic.go` and `status/core.go`).
fn kstatus(object: &Value) -> &'static str {
    let status = &object["status"];
    let is = |kind: &str, value: &str| {
        let conditions = status["conditions"].as_array();
        conditions.into_iter().flatten().any(|found| found["type"] == kind && found["status"] == value)
    };
    if status["observedGeneration"].as_i64().is_some_and(|seen| object["metadata"]["generation"] != seen) {
        "InProgress"
    } else if is("Stalled", "True") {
        "Failed"
    } else if is("Reconciling", "True") || is("Ready", "False") || is("Ready", "Unknown") {
        "InProgress"
    } else {
        "Current"
    }
}

#[test]
fn case_103_kstatus_reads_what_becomes_of_a_group() {
    // A status is written at most once a second, which do not pass here.
    let judge = |replica: &mut Replica, server: &mut ApiServer| {
        replica.index.rewrite_statuses();
        replica.settle(server);
    };
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24")), ("copy", v4("10.1.0.0/25"))]);
    judge(&mut replica, &mut server);
    let seen = |server: &ApiServer| ["default", "copy"].map(|name| kstatus(&server.groups[name]));
    assert_eq!(seen(&server), ["Current", "Failed"]);
    server.put_group("copy", &v4("10.2.0.0/25"));
    assert_eq!(seen(&server), ["Current", "InProgress"], "the edit is not judged yet");
    judge(&mut replica, &mut server);
    assert_eq!(seen(&server), ["Current", "Current"]);
    server.put_group("copy", &json!({"netbox": {"url": "http://x"}}));
    judge(&mut replica, &mut server);
    assert_eq!(seen(&server), ["Current", "Failed"]);
}

#[test]
fn case_71_the_end_of_another_group_of_the_same_name_is_no_news() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    replica.take_reports();
    replica.index.apply_group(crate::model::tests::object("elsewhere", "default", v4("10.1.0.0/24")));
    replica.index.delete_group(&("elsewhere".to_owned(), "default".to_owned()));
    replica.settle(&mut server);
    let reports = replica.take_reports().join("\n");
    assert!(!reports.contains("deleted"), "{reports}");
    assert_eq!(server.services["web"]["status"]["conditions"], json!(null));
}
