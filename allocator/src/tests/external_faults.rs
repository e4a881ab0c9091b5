//! External groups: a sidecar that fails, and leaders that change.

use serde_json::{Value, json};

use super::external::{both, group, one, start, texts};
use super::replica::Replica;
use super::sidecar::Behavior;

#[test]
fn a_sidecar_that_does_not_answer_delays_nobody_else_and_is_called_with_pauses() {
    let (mut server, mut replica, mut sidecar) = start(30);
    sidecar.behavior = Behavior::NotAnswering;
    for number in 0..20 {
        server.put_service(&format!("ext-{number:02}"), one(80), group("ext"));
    }
    server.put_service("own", one(80), json!({}));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(texts(&server, "own"), "10.1.0.0");
    assert_eq!(sidecar.take_calls().len(), 1, "one call tells that nobody is there");
    let reports = replica.take_reports();
    let failed = reports.iter().filter(|text| text.starts_with("AllocationFailed")).count();
    assert_eq!(failed, 20, "{reports:?}");
    assert!(
        reports.iter().any(|text| text.contains("sidecar of pool \"ext\": Unavailable: nobody there")),
        "{reports:?}"
    );
    let condition = &replica.group_status("ext")["conditions"][0];
    assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!("SidecarUnavailable")));
    assert!(condition["message"].as_str().unwrap().contains("/run/ipam.sock"), "{condition}");
    for _ in 0..30 {
        sidecar.later(1, &mut server, &mut replica);
    }
    let tries = sidecar.take_calls().len();
    assert!((3..12).contains(&tries), "{tries} calls in 30 s");
    assert_eq!(replica.take_reports(), Vec::<String>::new(), "it is reported once");
    // It recovers: all are served at once, without another change of theirs.
    sidecar.behavior = Behavior::Normal;
    sidecar.later(10, &mut server, &mut replica);
    assert_eq!(sidecar.allocations.len(), 20);
    assert!((0..20).all(|number| server.addresses(&format!("ext-{number:02}")).len() == 1));
    assert_eq!(replica.group_status("ext")["conditions"][0]["status"], "True");
}

#[test]
fn a_lost_answer_does_no_harm() {
    let (mut server, mut replica, mut sidecar) = start(4);
    sidecar.behavior = Behavior::LosesAnswers;
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!((texts(&server, "web"), sidecar.of("web").len()), (String::new(), 1));
    sidecar.behavior = Behavior::Normal;
    sidecar.later(10, &mut server, &mut replica);
    assert_eq!(texts(&server, "web"), "192.0.2.0");
    // The Service is deleted before the answer.
    sidecar.behavior = Behavior::LosesAnswers;
    server.put_service("next", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    server.delete_service("next");
    sidecar.behavior = Behavior::Normal;
    sidecar.later(10, &mut server, &mut replica);
    assert!(sidecar.of("next").is_empty());
}

#[test]
fn a_refusal_is_reported_once_and_retried_with_pauses() {
    let (mut server, mut replica, mut sidecar) = start(1);
    server.put_service("a", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    server.put_service("b", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains("AllocationFailed") && reports.contains("ResourceExhausted: none left"), "{reports}");
    // The group stays ready: a refusal is an answer.
    assert_eq!(replica.group_status("ext")["conditions"][0]["status"], "True");
    sidecar.take_calls();
    for _ in 0..60 {
        sidecar.later(1, &mut server, &mut replica);
    }
    let asked = sidecar.take_calls().iter().filter(|text| text.starts_with("allocate b")).count();
    assert!((3..9).contains(&asked), "{asked}");
    assert_eq!(replica.take_reports(), Vec::<String>::new());
    // An address that is given back is used at once.
    server.delete_service("a");
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(texts(&server, "b"), "192.0.2.0");
}

#[test]
fn an_address_in_use_is_refused_and_given_back() {
    let (mut server, mut replica, mut sidecar) = start(4);
    server.put_service("a", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    replica.put_member("node1", "192.0.2.0/24", "192.0.2.77");
    for (given, words) in [
        ("192.0.2.77", "which is node1's own address"),
        ("192.0.2.0", "which another Service has"),
        ("10.1.0.2", "which lies in 10.1.0.0/30 of pool \"default\""),
        ("127.0.0.1", "which no host can be reached by"),
    ] {
        sidecar.behavior = Behavior::Gives(vec![given.parse().unwrap()]);
        server.put_service("b", one(80), group("ext"));
        sidecar.take_calls();
        sidecar.settle(&mut server, &mut replica);
        let reports = replica.take_reports().join("\n");
        assert!(reports.contains("AllocationFailed") && reports.contains(words), "{given}: {reports}");
        assert_eq!(sidecar.take_calls(), ["allocate b 10".to_owned(), format!("release b {given}")]);
        assert_eq!(texts(&server, "b"), "");
        server.delete_service("b");
        sidecar.later(60, &mut server, &mut replica);
    }
    assert_eq!(texts(&server, "a"), "192.0.2.0");
    // The sidecar recovers.
    sidecar.behavior = Behavior::Gives(vec!["192.0.2.0".parse().unwrap()]);
    server.put_service("b", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    sidecar.behavior = Behavior::Normal;
    sidecar.later(5, &mut server, &mut replica);
    assert_eq!(texts(&server, "b"), "192.0.2.1");
}

#[test]
fn the_usable_part_of_an_answer_is_used() {
    let (mut server, mut replica, mut sidecar) = start(4);
    sidecar.behavior =
        Behavior::Gives(["192.0.2.8", "10.1.0.1", "192.0.2.9", "2001:db8::9"].map(|it| it.parse().unwrap()).into());
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    // A sidecar may give two of a family. The unusable address and the family that nobody requested are given back.
    assert_eq!(texts(&server, "web"), "192.0.2.8,192.0.2.9");
    assert_eq!(sidecar.of("web").len(), 2, "{:?}", sidecar.of("web"));
    assert!(replica.take_reports().iter().any(|text| text.contains("it gave 10.1.0.1")));
}

#[test]
fn pending_releases_are_recorded_and_resumed_after_a_restart() {
    let (mut server, mut replica, mut sidecar) = start(4);
    for name in ["gone", "again", "smaller", "stays"] {
        server.put_service(name, both("RequireDualStack"), group("ext"));
    }
    sidecar.settle(&mut server, &mut replica);
    sidecar.behavior = Behavior::NotAnswering;
    server.delete_service("gone");
    server.delete_service("again");
    server.put_service("smaller", one(80), json!({}));
    sidecar.settle(&mut server, &mut replica);
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains("ReleaseFailed the IPAM sidecar of pool \"ext\" does not take back"), "{reports}");
    let status = replica.group_status("ext");
    let noted = json!([
        {"service": "shop/again"}, {"service": "shop/gone"}, {"service": "shop/smaller", "address": sidecar.of("smaller")[1]},
    ]);
    assert_eq!(status["pendingReleases"], noted);
    let conditions = status["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|condition| condition["type"] == "ReleasesPending"
        && condition["message"].as_str().unwrap().contains("all of shop/gone")));
    // The allocator restarts. One of the Services exists again by then.
    server.groups.get_mut("ext").unwrap()["status"] = status;
    server.put_service("again", one(80), group("ext"));
    let mut replica = Replica::leader(&mut server, false, "f2");
    sidecar.behavior = Behavior::Normal;
    sidecar.settle(&mut server, &mut replica);
    let kept: Vec<_> = ["again", "gone", "smaller", "stays"].map(|name| sidecar.of(name).len()).into();
    assert_eq!(kept, [1, 0, 1, 2]);
    assert_eq!(replica.group_status("ext")["pendingReleases"], Value::Null);
    // A recorded release that is older than the Service does no harm, whoever recorded it.
    server.groups.get_mut("ext").unwrap()["status"]["pendingReleases"] = json!([{"service": "shop/stays"}]);
    let uid = server.services["stays"]["metadata"]["uid"].as_str().unwrap();
    let owed = json!([{"pool": "ext", "service": "shop/stays", "uid": uid}]);
    server.record = Some(json!({"cluster": "here", "owed": owed}).to_string());
    let mut replica = Replica::leader(&mut server, false, "f3");
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(sidecar.of("stays").len(), 2);
}

#[test]
fn a_service_that_left_while_no_allocator_ran_is_found_by_its_annotations() {
    let (mut server, mut replica, mut sidecar) = start(4);
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    server.put_service("web", json!({"type": "ClusterIP"}), json!({}));
    let mut replica = Replica::leader(&mut server, false, "f2");
    let found = server.services.values().filter_map(|object| {
        serde_json::from_value::<crate::model::WatchedService>(object.clone()).unwrap().leftover()
    });
    replica.index.clean_up(found);
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(sidecar.allocations.len(), 0);
    assert_eq!(server.annotation("web", "purelb.io/allocated-from"), None);
}

#[test]
fn the_condition_of_a_sidecar_outlives_a_restart() {
    let (mut server, mut replica, mut sidecar) = start(4);
    assert_eq!(replica.group_status("ext")["conditions"][0]["reason"], "Connecting");
    sidecar.settle(&mut server, &mut replica);
    let status = replica.group_status("ext");
    server.groups.get_mut("ext").unwrap()["status"] = status.clone();
    let mut replica = Replica::leader(&mut server, true, "f2");
    assert_eq!(replica.group_status("ext")["conditions"], status["conditions"]);
}

/// Found by the model: a leader requests addresses and ends before it can write them. Its successor finds a Service that
/// has nothing and is deleted before it is served. Its addresses must be given back all the same.
#[test]
fn addresses_that_a_leader_requested_and_never_wrote_are_given_back() {
    let (mut server, mut replica, mut sidecar) = start(4);
    for name in ["deleted", "typed", "moved"] {
        server.put_service(name, one(80), group("ext"));
    }
    replica.settle(&mut server);
    while let Some(call) = replica.index.next_call(sidecar.now) {
        let _ = sidecar.answer(&call);
    }
    assert_eq!(sidecar.allocations.len(), 3);
    let mut replica = Replica::leader(&mut server, false, "f2");
    server.delete_service("deleted");
    server.put_service("typed", json!({"type": "ClusterIP"}), json!({}));
    server.put_service("moved", one(80), json!({"purelb.io/service-group": "default"}));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(sidecar.allocations.len(), 0, "{:?}", sidecar.allocations);
}

/// Found by the model: the answer for a second family is lost, and then the family is no longer wanted. Only the sidecar
/// knows what it gave.
#[test]
fn addresses_of_a_lost_answer_are_found_and_given_back() {
    let (mut server, mut replica, mut sidecar) = start(4);
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    sidecar.behavior = Behavior::LosesAnswers;
    server.put_service("web", both("RequireDualStack"), json!({}));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!((texts(&server, "web"), sidecar.of("web").len()), ("192.0.2.0".to_owned(), 2));
    sidecar.behavior = Behavior::Normal;
    server.put_service("web", one(80), json!({}));
    sidecar.later(10, &mut server, &mut replica);
    assert_eq!((texts(&server, "web"), sidecar.of("web").len()), ("192.0.2.0".to_owned(), 1));
}

/// Found by the model: the request changes while a call is in flight. The address of the first answer must not be given
/// back after the second answer gave it again.
#[test]
fn addresses_that_are_given_again_are_not_given_back() {
    let (mut server, mut replica, mut sidecar) = start(4);
    server.put_service("web", both("RequireDualStack"), group("ext"));
    replica.settle(&mut server);
    let first = replica.index.next_call(sidecar.now).unwrap();
    server.put_service("web", one(80), json!({}));
    replica.settle(&mut server);
    let answer = sidecar.answer(&first);
    replica.index.call_answered(&first, &answer, sidecar.now);
    let second = replica.index.next_call(sidecar.now).unwrap();
    replica.settle(&mut server);
    let answer = sidecar.answer(&second);
    replica.index.call_answered(&second, &answer, sidecar.now);
    sidecar.settle(&mut server, &mut replica);
    assert_eq!((texts(&server, "web"), sidecar.of("web").len()), ("192.0.2.0".to_owned(), 1));
}

/// Found by the model: the answer for one family is lost, then both are requested and refused. The Service has nothing, so
/// the sidecar must not keep anything for it either.
#[test]
fn addresses_of_a_lost_answer_are_given_back_after_a_refusal() {
    let (mut server, mut replica, mut sidecar) = start(1);
    server.put_service("holder", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    sidecar.behavior = Behavior::LosesAnswers;
    server.put_service("web", json!({"ipFamilies": ["IPv6"], "ports": [{"port": 80}]}), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(sidecar.of("web").len(), 1);
    sidecar.behavior = Behavior::Normal;
    server.put_service("web", both("RequireDualStack"), json!({}));
    sidecar.later(10, &mut server, &mut replica);
    assert!(server.addresses("web").is_empty() && sidecar.of("web").is_empty());
}

#[test]
fn an_unanswered_call_for_a_service_with_addresses_is_not_forgotten() {
    let (mut server, mut replica, mut sidecar) = start(4);
    server.put_service("web", one(80), json!({}));
    sidecar.settle(&mut server, &mut replica);
    server.put_service("web", both("RequireDualStack"), group("ext"));
    replica.settle_now(&mut server);
    assert!(server.annotation("web", "purelb.io/leader-fence").is_some());
    // The sidecar carries out the call, its answer is lost together with the leader, and the user changes his mind before
    // the next leader looks.
    let call = replica.index.next_call(sidecar.now).unwrap();
    let _ = sidecar.answer(&call);
    assert!(!sidecar.of("web").is_empty());
    server.put_service("web", one(80), json!({"purelb.io/service-group": null}));
    let mut replica = Replica::leader(&mut server, false, "f2");
    sidecar.later(61, &mut server, &mut replica);
    assert_eq!((texts(&server, "web"), sidecar.of("web").len()), ("10.1.0.0".to_owned(), 0));
    assert_eq!(server.annotation("web", "purelb.io/leader-fence"), None);
}
