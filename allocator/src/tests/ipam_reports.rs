//! What happened to users of other programs that get addresses from an IPAM. Each test is named after their report.

use std::time::Duration;

use api_types::Family;
use serde_json::{Value, json};

use super::api_server::ApiServer;
use super::external::{both, group, one, start, texts};
use super::giving_back::owed;
use super::replica::Replica;
use super::sidecar::Behavior;
use crate::external::{CallError, Failure};

#[test]
fn bigip_ctlr_3898_two_clusters_with_one_ipam_have_no_address_in_common() {
    let (mut here, mut replica, mut sidecar) = start(4);
    let (mut there, mut other, _) = start(4);
    other.index.follow();
    other.index.lead(true, None, "f1");
    other.index.start_external("there", None);
    for server in [&mut here, &mut there] {
        server.put_service("web", one(80), group("ext"));
    }
    // The same name and, by a restored backup, the same UID.
    assert_eq!(here.services["web"]["metadata"]["uid"], there.services["web"]["metadata"]["uid"]);
    sidecar.settle(&mut here, &mut replica);
    sidecar.settle(&mut there, &mut other);
    assert_eq!((texts(&here, "web"), texts(&there, "web")), ("192.0.2.0".to_owned(), "192.0.2.1".to_owned()));
    here.delete_service("web");
    sidecar.settle(&mut here, &mut replica);
    sidecar.later(61, &mut there, &mut other);
    assert_eq!((texts(&there, "web"), sidecar.allocations.len()), ("192.0.2.1".to_owned(), 1));
}

#[test]
fn bigip_ctlr_2747_a_restart_without_the_record_changes_and_releases_nothing() {
    for record in [None, Some(String::new()), Some("nonsense".to_owned())] {
        let (mut server, mut replica, mut sidecar) = start(4);
        sidecar.lists = Some(100);
        for name in ["a", "b", "c"] {
            server.put_service(name, both("RequireDualStack"), group("ext"));
        }
        sidecar.settle(&mut server, &mut replica);
        let before: Vec<String> = ["a", "b", "c"].map(|name| texts(&server, name)).into();
        server.record = record;
        sidecar.take_calls();
        let mut replica = Replica::leader(&mut server, false, "f2");
        sidecar.settle(&mut server, &mut replica);
        sidecar.later(61, &mut server, &mut replica);
        let after: Vec<String> = ["a", "b", "c"].map(|name| texts(&server, name)).into();
        assert_eq!(before, after);
        let calls = sidecar.take_calls();
        assert!(!calls.iter().any(|call| call.starts_with("release") || call.starts_with("allocate")), "{calls:?}");
    }
}

#[test]
fn bigip_ctlr_3615_an_edit_after_another_service_is_deleted_moves_nobody() {
    let (mut server, mut replica, mut sidecar) = start(4);
    for name in ["lower", "higher"] {
        server.put_service(name, one(80), group("ext"));
        sidecar.settle(&mut server, &mut replica);
    }
    server.delete_service("lower");
    sidecar.settle(&mut server, &mut replica);
    server.edit_service("higher", "kubectl-label", |object| object["metadata"]["labels"] = json!({"a": "b"}));
    server.put_service("higher", one(81), json!({}));
    sidecar.later(61, &mut server, &mut replica);
    assert_eq!((texts(&server, "higher"), sidecar.of("higher").len()), ("192.0.2.1".to_owned(), 1));
}

#[test]
fn ipam_controller_104_a_service_whose_group_did_not_exist_is_served_when_it_names_another() {
    let (mut server, mut replica, mut sidecar) = start(4);
    server.put_service("web", one(80), group("does-not-exist"));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(texts(&server, "web"), "");
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!((texts(&server, "web"), sidecar.allocations.len()), ("192.0.2.0".to_owned(), 1));
}

#[test]
fn bigip_ctlr_2303_who_pins_an_address_that_the_ipam_gave_does_not_get_it_by_a_restart() {
    let (mut server, mut replica, mut sidecar) = start(4);
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    server.put_service("a-pins", one(81), json!({"purelb.io/addresses": "192.0.2.0"}));
    sidecar.settle(&mut server, &mut replica);
    let mut replica = Replica::leader(&mut server, false, "f2");
    sidecar.later(61, &mut server, &mut replica);
    assert_eq!((texts(&server, "web"), texts(&server, "a-pins")), ("192.0.2.0".to_owned(), String::new()));
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains("does not belong to any group"), "{reports}");
}

#[test]
fn harvester_6684_what_the_ipam_gave_goes_back_when_the_group_has_ranges_instead() {
    let (mut server, mut replica, mut sidecar) = start(4);
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    server.put_group("ext", &json!({"local": {"v4pool": {"pool": "10.2.0.0/30", "subnet": "10.0.0.0/8"}}}));
    sidecar.settle(&mut server, &mut replica);
    // Nothing that works is taken away. The move is the user's wish.
    assert_eq!((texts(&server, "web"), sidecar.of("web").len()), ("192.0.2.0".to_owned(), 1));
    server.put_service("web", one(80), json!({"purelb.io/re-evaluate": "true"}));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!((texts(&server, "web"), sidecar.of("web").len()), ("10.2.0.0".to_owned(), 0));
}

#[test]
fn metallb_2076_a_service_made_anew_has_nothing_of_a_group_that_is_gone() {
    let (mut server, mut replica, mut sidecar) = start(4);
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    server.delete_group("ext");
    sidecar.settle(&mut server, &mut replica);
    server.delete_service("web");
    server.put_service("web", one(80), group("ext"));
    sidecar.later(61, &mut server, &mut replica);
    assert_eq!((texts(&server, "web"), sidecar.of("web").len()), (String::new(), 0));
}

#[test]
fn whereabouts_176_of_two_owners_of_a_name_the_one_that_is_gone_loses_its_address() {
    let (mut server, mut replica, mut sidecar) = start(4);
    sidecar.lists = Some(100);
    for round in 0..4 {
        server.put_service("web-0", one(80), group("ext"));
        sidecar.later(61, &mut server, &mut replica);
        let has = server.addresses("web-0");
        assert_eq!((has.len(), sidecar.of("web-0")), (1, has), "{round}");
        // The node of the leader is gone, and the Service is made anew meanwhile.
        server.delete_service("web-0");
        server.put_service("web-0", one(80), group("ext"));
        replica = Replica::leader(&mut server, false, &format!("f{round}"));
    }
}

/// 13,000 allocations stood when the first release had failed for each of them.
#[test]
fn neon_1278_releases_that_failed_are_repeated_and_what_is_too_much_for_the_record_is_told() {
    let (mut server, _, mut sidecar) = start(4);
    let owner = |number: i32| json!({"pool": "ext", "service": format!("shop/gone-{number}"), "uid": "u"});
    let debts: Vec<Value> = (0..2100).map(owner).collect();
    server.record = Some(json!({"cluster": "here", "groups": {"ext": "/run/ipam.sock"}, "owed": debts}).to_string());
    sidecar.behavior = Behavior::RefusesReleases("Internal: the database is locked");
    let mut replica = Replica::leader(&mut server, false, "f2");
    replica.write_record(&mut server);
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains("more than 2000 allocations") && reports.contains("and 80 more"), "{reports}");
    assert_eq!(owed(&server).as_array().unwrap().len(), 2000);
    sidecar.behavior = Behavior::Normal;
    for _ in 0..200 {
        while let Some(call) = replica.index.next_call(sidecar.now) {
            let answer = sidecar.answer(&call);
            replica.index.call_answered(&call, &answer, sidecar.now);
        }
        sidecar.now = sidecar.now + Duration::from_secs(1);
    }
    let released = sidecar.take_calls().iter().filter(|call| call.starts_with("release")).count();
    assert_eq!(released, 2100);
    replica.write_record(&mut server);
    assert_eq!(owed(&server), json!([]));
}

/// An IPAM that gives another address whenever it is asked, and never says what it gave before.
#[test]
fn network_service_mesh_507_what_a_forgetful_ipam_gave_twice_is_given_back() {
    let (mut server, mut replica, mut sidecar) = start(4);
    sidecar.lists = Some(100);
    server.put_service("web", one(80), group("ext"));
    replica.settle(&mut server);
    let call = replica.index.next_call(sidecar.now).unwrap();
    let _given = sidecar.answer(&call);
    let lost =
        CallError { failure: Failure::NoAnswer, may_have_acted: true, text: "DeadlineExceeded: no answer".to_owned() };
    replica.index.call_answered(&call, &Err(lost), sidecar.now);
    sidecar.behavior = Behavior::GivesAnother;
    sidecar.later(2, &mut server, &mut replica);
    assert_eq!((texts(&server, "web"), sidecar.of("web").len()), ("192.0.2.1".to_owned(), 2));
    sidecar.later(11, &mut server, &mut replica);
    assert_eq!((texts(&server, "web"), sidecar.of("web")), ("192.0.2.1".to_owned(), server.addresses("web")));
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains("which are given back: 192.0.2.0 of shop/web"), "{reports}");
}

#[test]
fn calico_10658_what_was_given_after_the_deadline_is_not_lost() {
    let (mut server, mut replica, mut sidecar) = start(30);
    sidecar.behavior = Behavior::LosesAnswers;
    let names: Vec<String> = (0..20).map(|number| format!("pod-{number}")).collect();
    for name in &names {
        server.put_service(name, one(80), group("ext"));
    }
    sidecar.settle(&mut server, &mut replica);
    // Half of them do not wait for it.
    for name in names.iter().step_by(2) {
        server.delete_service(name);
    }
    sidecar.settle(&mut server, &mut replica);
    sidecar.behavior = Behavior::Normal;
    sidecar.later(61, &mut server, &mut replica);
    sidecar.later(61, &mut server, &mut replica);
    assert_eq!(sidecar.allocations.len(), 10);
    assert!(names.iter().skip(1).step_by(2).all(|name| server.addresses(name) == sidecar.of(name)));
}

#[test]
fn netbox_operator_131_who_waits_for_a_pool_that_was_full_is_served_when_it_grows() {
    let (mut server, mut replica, mut sidecar) = start(1);
    for name in ["has", "waits"] {
        server.put_service(name, one(80), group("ext"));
        sidecar.settle(&mut server, &mut replica);
    }
    assert_eq!(texts(&server, "waits"), "");
    for _ in 0..10 {
        sidecar.later(60, &mut server, &mut replica);
    }
    sidecar.free.get_mut(&Family::V4).unwrap().push("192.0.2.77".parse().unwrap());
    sidecar.later(60, &mut server, &mut replica);
    assert_eq!(texts(&server, "waits"), "192.0.2.77");
}

#[test]
fn bigip_ctlr_3723_an_ipam_that_refuses_everything_takes_nothing_away() {
    let (mut server, mut replica, mut sidecar) = start(4);
    sidecar.lists = Some(100);
    for name in ["a", "b"] {
        server.put_service(name, both("PreferDualStack"), group("ext"));
    }
    sidecar.settle(&mut server, &mut replica);
    let shown = |server: &ApiServer| [texts(server, "a"), texts(server, "b")];
    let before = shown(&server);
    sidecar.behavior = Behavior::Refuses("InvalidArgument: 422 from the device");
    server.put_service("c", one(80), group("ext"));
    sidecar.later(61, &mut server, &mut replica);
    let mut replica = Replica::leader(&mut server, false, "f2");
    for _ in 0..3 {
        sidecar.later(61, &mut server, &mut replica);
    }
    assert_eq!((shown(&server), sidecar.allocations.len()), (before, 2));
}
