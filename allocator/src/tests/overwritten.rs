//! Status and annotations that somebody else writes over: what we gave is put back, within a budget.

use serde_json::{Value, json};

use super::api_server::ApiServer;
use super::fixtures::{both, dual, one, start, texts, v4};
use super::replica::Replica;
use crate::FIELD_MANAGER;
use crate::model::HeldAddresses;

fn condition(server: &ApiServer, name: &str) -> Option<Value> {
    let conditions = server.services[name]["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["type"] == "purelb.io/Overwritten")
}

fn web() -> (ApiServer, Replica) {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    replica.take_reports();
    (server, replica)
}

#[test]
fn an_allocation_names_addresses_and_object_in_its_one_write() {
    let (mut server, mut replica) = start(&[("default", dual("10.1.0.0/24", "2001:db8:1::/64"))]);
    server.put_service("web", both("RequireDualStack"), json!({}));
    replica.settle(&mut server);
    assert_eq!(server.annotation("web", "purelb.io/allocated-addresses").unwrap(), "10.1.0.0,2001:db8:1::");
    assert_eq!(server.annotation("web", "purelb.io/allocated-to").unwrap(), "uid-00001");
    assert_eq!(server.writes["web"], 1);
}

#[test]
fn case_02_a_status_that_somebody_overwrites_is_put_back() {
    let (mut server, mut replica) = web();
    let status =
        json!({"loadBalancer": {"ingress": [{"ip": "192.168.50.13"}, {"hostname": "x.example"}]}, "conditions": []});
    server.set_status("web", "k3s-cloud-controller", status);
    replica.settle_now(&mut server);
    let ingress = &server.services["web"]["status"]["loadBalancer"]["ingress"];
    assert_eq!(*ingress, json!([{"hostname": "x.example"}, {"ip": "10.1.0.0", "ipMode": "VIP"}]));
    assert_eq!(server.writes["web"], 2);
    let reports = replica.take_reports();
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(
        reports[0].starts_with("StatusOverwritten \"k3s-cloud-controller\" overwrote the status with 192.168.50.13"),
        "{reports:?}"
    );
    // What stands beside ours is not ours, and nobody's business but the event's.
    server.set_ingress("web", &["10.1.0.0", "192.168.50.13"]);
    replica.settle_now(&mut server);
    assert_eq!(server.writes["web"], 2);
    assert!(replica.take_reports()[0].starts_with("ForeignAddress another load balancer gave 192.168.50.13"));
}

#[test]
fn other_fields_of_an_entry_are_no_overwrite_but_the_mode_is() {
    let (mut server, mut replica) = web();
    let entry = json!({"ip": "10.1.0.0", "ports": [{"port": 80, "protocol": "TCP"}], "hostname": "x"});
    server.set_status("web", "other", json!({"loadBalancer": {"ingress": [entry]}}));
    replica.settle(&mut server);
    assert_eq!((server.writes["web"], replica.take_reports().len()), (1, 0));
    let mut proxied = entry;
    proxied["ipMode"] = json!("Proxy");
    server.set_status("web", "other", json!({"loadBalancer": {"ingress": [proxied.clone()]}}));
    replica.settle_now(&mut server);
    proxied["ipMode"] = json!("VIP");
    assert_eq!(server.services["web"]["status"]["loadBalancer"]["ingress"], json!([proxied]));
    assert!(replica.take_reports()[0].starts_with("StatusOverwritten \"other\""));
}

#[test]
fn case_10_a_replaced_service_gets_its_marks_back() {
    let (mut server, mut replica) = web();
    let marks = server.services["web"]["metadata"]["annotations"].clone();
    server.replace_annotations("web", json!({"purelb.io/service-group": "default"}));
    replica.settle_now(&mut server);
    assert_eq!((texts(&server, "web"), server.writes["web"]), ("10.1.0.0".to_owned(), 2));
    for (key, value) in marks.as_object().unwrap() {
        assert_eq!(server.annotation("web", key).as_deref(), value.as_str(), "{key}");
    }
    assert!(replica.take_reports().is_empty());
    // The same while no allocator runs: an agent has told that it has the address for this object.
    server.replace_annotations("web", json!({}));
    let uid = server.services["web"]["metadata"]["uid"].as_str().unwrap().to_owned();
    let by_uid = [(uid, ["10.1.0.0".parse().unwrap()].into())].into();
    let held = HeldAddresses { by_uid, ..HeldAddresses::default() };
    let mut replica = Replica::leader_with(&mut server, false, "f2", true, Some(held));
    replica.settle(&mut server);
    assert_eq!(server.annotation("web", "purelb.io/allocated-addresses").unwrap(), "10.1.0.0");
    assert_eq!(texts(&server, "web"), "10.1.0.0");
}

#[test]
fn case_20_an_emptied_status_gets_the_same_address_again() {
    let (mut server, mut replica) = web();
    server.put_service("second", one("IPv4"), json!({}));
    replica.settle(&mut server);
    server.delete_service("web");
    server.set_status("second", "velero", json!({"loadBalancer": {}}));
    replica.settle_now(&mut server);
    assert_eq!(texts(&server, "second"), "10.1.0.1");
    assert!(replica.take_reports().join("\n").contains("StatusOverwritten"));
    // Our marks go together with the status.
    replica.pass(&mut server, 300);
    server.edit_service("second", "kubectl-replace", |object| {
        (object["status"], object["metadata"]["annotations"]) = (json!({}), json!({}));
    });
    server.put_service("third", one("IPv4"), json!({}));
    replica.settle_now(&mut server);
    assert_eq!((texts(&server, "second"), texts(&server, "third")), ("10.1.0.1".to_owned(), "10.1.0.0".to_owned()));
    // A new leader finds the list only.
    server.set_status("second", "velero", json!({}));
    let mut replica = Replica::leader(&mut server, false, "f2");
    server.put_service("fourth", one("IPv4"), json!({}));
    replica.settle(&mut server);
    assert_eq!((texts(&server, "second"), texts(&server, "fourth")), ("10.1.0.1".to_owned(), "10.1.0.2".to_owned()));
}

#[test]
fn case_66_repairs_are_few_and_a_condition_names_who_makes_them_needed() {
    let (mut server, mut replica) = web();
    let writes = |server: &ApiServer| server.writes["web"] - 1;
    for second in 0..600 {
        if texts(&server, "web") == "10.1.0.0" {
            let manager = ["one", "two", "three"][second % 3];
            server.set_status("web", manager, json!({"loadBalancer": {"ingress": [{"ip": "10.9.9.9"}]}}));
        }
        if second % 7 == 0 {
            let annotations = json!({"purelb.io/x": second.to_string()});
            server.replace_annotations("web", annotations);
        }
        replica.settle_now(&mut server);
        replica.pass(&mut server, 1);
    }
    assert!((10..=31).contains(&writes(&server)), "{}", writes(&server));
    // The address is nobody else's meanwhile.
    server.put_service("other", one("IPv4"), json!({}));
    replica.settle_now(&mut server);
    assert_eq!(texts(&server, "other"), "10.1.0.1");
    // It ends, and the condition goes.
    replica.pass(&mut server, 60);
    replica.settle_now(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.0");
    let message = condition(&server, "web").unwrap()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("\"one\"") || message.contains("\"two\"") || message.contains("\"three\""), "{message}");
    replica.settle(&mut server);
    assert!(condition(&server, "web").is_none());
}

#[test]
fn case_66_an_operator_that_deletes_annotations_for_ever_moves_nothing_over_changes_of_leader() {
    let (mut server, mut replica) = web();
    let uid = server.services["web"]["metadata"]["uid"].as_str().unwrap().to_owned();
    let by_uid = [(uid, ["10.1.0.0".parse().unwrap()].into())].into();
    let held = HeldAddresses { by_uid, ..HeldAddresses::default() };
    let mut told = false;
    for minute in 0..12 {
        let before = server.writes["web"];
        for second in 0..60 {
            server.edit_service("web", "bad-operator", |object| {
                object["metadata"]["annotations"] = json!({});
                object["status"]["conditions"] = json!([]);
            });
            replica.settle_now(&mut server);
            told |=
                condition(&server, "web").is_some_and(|found| found["message"].to_string().contains("bad-operator"));
            // Each leader that follows has to learn from the agents what the Service does not say any more.
            if minute % 4 == 3 && second == 30 {
                assert!(std::mem::take(&mut told), "no condition in minute {minute}");
                server.seconds -= 60;
                replica = Replica::leader_with(&mut server, false, &format!("f{minute}"), true, None);
                replica.settle_now(&mut server);
                assert_eq!(texts(&server, "web"), "10.1.0.0");
                replica.index.set_held(held.clone());
                replica.index.set_heard_all(true);
            }
            replica.pass(&mut server, 1);
            assert_eq!(texts(&server, "web"), "10.1.0.0", "minute {minute}");
        }
        let writes = server.writes["web"] - before;
        // Two, and two of the next leader where the object does not tell it of the first.
        let most = if minute % 4 == 3 { 4 } else { 2 };
        assert!(writes <= most, "{writes} writes in minute {minute}");
        let reports = replica.take_reports().join("\n");
        let events = reports.matches("StatusOverwritten \"bad-operator\" overwrites again and again").count();
        assert!(events <= 1 && (minute > 0 || events == 1), "minute {minute}: {reports}");
    }
    // Nobody else gets the address.
    server.put_service("other", one("IPv4"), json!({}));
    replica.settle_now(&mut server);
    assert_eq!(texts(&server, "other"), "10.1.0.1");
    // The operator stops.
    replica.settle(&mut server);
    assert_eq!(server.annotation("web", "purelb.io/allocated-addresses").as_deref(), Some("10.1.0.0"));
    assert!(condition(&server, "web").is_none());
}

#[test]
fn the_first_repair_is_made_at_once_and_a_new_leader_begins_with_what_is_left() {
    let (mut server, mut replica) = web();
    replica.pass(&mut server, 300);
    for _ in 0..3 {
        server.set_ingress("web", &["10.9.9.9"]);
        replica.settle_now(&mut server);
    }
    assert_eq!((texts(&server, "web"), server.writes["web"]), ("10.9.9.9".to_owned(), 3));
    assert!(condition(&server, "web").is_some());
    // A leader that follows at once does not repair a third time in this minute.
    server.seconds -= 50;
    let mut replica = Replica::leader(&mut server, true, "f2");
    replica.settle_now(&mut server);
    assert_eq!(server.writes["web"], 3);
    replica.pass(&mut server, 50);
    replica.settle_now(&mut server);
    assert_eq!((texts(&server, "web"), server.writes["web"]), ("10.1.0.0".to_owned(), 4));
    assert!(condition(&server, "web").is_some());
    replica.settle(&mut server);
    assert!(condition(&server, "web").is_none());
}

#[test]
fn a_status_that_an_earlier_release_wrote_is_believed() {
    let (mut server, _) = web();
    let status = json!({"loadBalancer": {"ingress": [{"ip": "10.1.0.7", "ipMode": "VIP"}]}});
    server.set_status("web", FIELD_MANAGER, status);
    let mut replica = Replica::leader(&mut server, true, "f2");
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.7");
    assert_eq!(server.annotation("web", "purelb.io/allocated-addresses").unwrap(), "10.1.0.7");
    assert!(!replica.take_reports().join("\n").contains("StatusOverwritten"));
}

#[test]
fn an_address_that_an_earlier_release_gave_away_stays_there() {
    let (mut server, _) = web();
    server.set_status("web", "other", json!({}));
    let marks = json!({"purelb.io/allocated-by": "PureLB", "purelb.io/allocated-from": "default", "purelb.io/pool-type": "local"});
    server.put_service("next", one("IPv4"), marks);
    server.set_status("next", FIELD_MANAGER, json!({"loadBalancer": {"ingress": [{"ip": "10.1.0.0"}]}}));
    let mut replica = Replica::leader(&mut server, true, "f2");
    replica.settle(&mut server);
    assert_eq!((texts(&server, "next"), texts(&server, "web")), ("10.1.0.0".to_owned(), "10.1.0.1".to_owned()));
    assert_eq!(server.annotation("web", "purelb.io/allocated-addresses").unwrap(), "10.1.0.1");
}

#[test]
fn a_list_does_not_win_over_a_write_in_flight() {
    let (mut server, mut replica) = web();
    server.put_service("web", json!({"type": "ClusterIP"}), json!({}));
    while replica.deliver(&mut server) {}
    server.put_service("next", one("IPv4"), json!({}));
    while replica.deliver(&mut server) {}
    // Before our marks are taken off, the Service is of the type again.
    assert!(replica.send());
    server.put_service("web", one("IPv4"), json!({}));
    while replica.deliver(&mut server) {}
    replica.settle(&mut server);
    assert_eq!((texts(&server, "next"), texts(&server, "web")), ("10.1.0.0".to_owned(), "10.1.0.1".to_owned()));
}
