//! What is given back to a sidecar that refuses, by whom, and for how long that is remembered.

use serde_json::{Value, json};

use super::api_server::ApiServer;
use super::external::{group, one, start, texts};
use super::replica::Replica;
use super::sidecar::Behavior;

/// What the record lists as owed.
pub(super) fn owed(server: &ApiServer) -> Value {
    let record = server.record.as_deref().filter(|text| !text.is_empty()).unwrap_or("{}");
    let mut record: Value = serde_json::from_str(record).unwrap();
    record.get_mut("owed").map_or(json!([]), Value::take)
}

const NO: &str = "PermissionDenied: locked by an operator";

#[test]
fn a_service_that_is_made_anew_is_another_owner_and_counts_more_than_a_refused_release() {
    for keeps_owners in [true, false] {
        let (mut server, mut replica, mut sidecar) = start(4);
        sidecar.keeps_owners = keeps_owners;
        server.put_service("web", one(80), group("ext"));
        sidecar.settle(&mut server, &mut replica);
        sidecar.behavior = Behavior::RefusesReleases(NO);
        server.delete_service("web");
        server.put_service("web", one(80), group("ext"));
        sidecar.settle(&mut server, &mut replica);
        // Who keeps owners has an allocation for each; the other one has one, which is used again.
        let expected = if keeps_owners { "192.0.2.1" } else { "192.0.2.0" };
        assert_eq!(texts(&server, "web"), expected);
        let owed = &replica.group_status("ext")["pendingReleases"];
        assert_eq!(*owed != Value::Null, keeps_owners, "{owed}");
        // It is taken back in the end, and the living Service keeps what it has.
        sidecar.behavior = Behavior::Normal;
        sidecar.later(61, &mut server, &mut replica);
        assert_eq!((texts(&server, "web"), sidecar.of("web")), (expected.to_owned(), server.addresses("web")));
        assert_eq!(replica.group_status("ext")["pendingReleases"], Value::Null);
    }
}

#[test]
fn a_refused_release_backs_off_and_is_told_on_the_group_and_on_who_waits_for_it() {
    let (mut server, mut replica, mut sidecar) = start(1);
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    sidecar.behavior = Behavior::RefusesReleases(NO);
    server.delete_service("web");
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains("ReleaseFailed"), "{reports}");
    assert!(
        reports.contains(
            "waits until what an earlier Service of its name had is given back; the sidecar says: PermissionDenied"
        ),
        "{reports}"
    );
    let status = replica.group_status("ext");
    let conditions = status["conditions"].as_array().unwrap();
    let told = conditions.iter().find(|condition| condition["type"] == "ReleasesPending").unwrap();
    assert!(told["message"].as_str().unwrap().contains(NO), "{told}");
    sidecar.take_calls();
    for _ in 0..60 {
        sidecar.later(1, &mut server, &mut replica);
    }
    let calls = sidecar.take_calls();
    let releases = calls.iter().filter(|text| *text == "release web").count();
    assert!((4..9).contains(&releases), "{calls:?}");
    assert_eq!(replica.take_reports(), Vec::<String>::new(), "it is told once");
    sidecar.behavior = Behavior::Normal;
    sidecar.later(61, &mut server, &mut replica);
    assert_eq!(texts(&server, "web"), "192.0.2.0");
}

#[test]
fn a_service_that_wants_again_what_it_gives_back_uses_it() {
    let (mut server, mut replica, mut sidecar) = start(1);
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    sidecar.behavior = Behavior::RefusesReleases(NO);
    server.put_service("web", json!({"type": "ClusterIP"}), json!({}));
    sidecar.settle(&mut server, &mut replica);
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(texts(&server, "web"), "192.0.2.0");
    assert_eq!(replica.group_status("ext")["pendingReleases"], Value::Null);
    sidecar.behavior = Behavior::Normal;
    sidecar.later(61, &mut server, &mut replica);
    assert_eq!((texts(&server, "web"), sidecar.of("web").len()), ("192.0.2.0".to_owned(), 1));
}

#[test]
fn what_is_owed_outlives_the_group_and_the_process() {
    let (mut server, mut replica, mut sidecar) = start(4);
    for name in ["gone", "stays"] {
        server.put_service(name, one(80), group("ext"));
    }
    sidecar.settle(&mut server, &mut replica);
    sidecar.behavior = Behavior::NotAnswering;
    server.delete_service("gone");
    sidecar.settle(&mut server, &mut replica);
    server.delete_group("ext");
    sidecar.settle(&mut server, &mut replica);
    let record = server.record.clone().unwrap();
    assert!(record.contains("shop/gone") && record.contains("/run/ipam.sock"), "{record}");
    // Nothing but the record knows the group now.
    let mut replica = Replica::leader(&mut server, false, "f2");
    sidecar.behavior = Behavior::Normal;
    sidecar.settle(&mut server, &mut replica);
    assert_eq!((sidecar.of("gone").len(), sidecar.of("stays").len()), (0, 1));
    replica.write_record(&mut server);
    assert_eq!(owed(&server), json!([]));
    // The next process does not know the group either, and the other Service is deleted.
    let mut replica = Replica::leader(&mut server, false, "f3");
    sidecar.settle(&mut server, &mut replica);
    server.delete_service("stays");
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(sidecar.of("stays").len(), 0);
    replica.write_record(&mut server);
    assert_eq!(server.record.as_deref(), Some(""));
}

#[test]
fn what_a_group_that_is_gone_owes_is_told_again_and_again() {
    let (mut server, mut replica, mut sidecar) = start(4);
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    sidecar.behavior = Behavior::RefusesReleases(NO);
    server.delete_group("ext");
    sidecar.settle(&mut server, &mut replica);
    replica.take_reports();
    server.delete_service("web");
    sidecar.settle(&mut server, &mut replica);
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains("does not take back the addresses of shop/web"), "{reports}");
    // Once more in the first hour, then daily.
    let mut told = Vec::new();
    for hour in 0..50 {
        let at = sidecar.now + std::time::Duration::from_secs(hour * 3600);
        let _record = replica.index.record_write(at);
        replica.index.record_written(true, at);
        let reports = replica.take_reports();
        assert!(reports.iter().all(|text| text.contains("all of shop/web") && text.contains(NO)), "{reports:?}");
        told.extend(reports.iter().map(|_| hour));
    }
    assert_eq!(told, [1, 25, 49]);
}

#[test]
fn a_group_may_be_deleted_while_no_allocator_runs() {
    let (mut server, mut replica, mut sidecar) = start(4);
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    replica.write_record(&mut server);
    server.delete_group("ext");
    let mut replica = Replica::leader(&mut server, false, "f2");
    sidecar.settle(&mut server, &mut replica);
    assert_eq!((texts(&server, "web"), sidecar.of("web").len()), ("192.0.2.0".to_owned(), 1));
    server.delete_service("web");
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(sidecar.of("web").len(), 0);
}

#[test]
fn a_release_of_an_earlier_owner_never_takes_what_a_living_service_has() {
    for keeps_owners in [true, false] {
        let (mut server, mut replica, mut sidecar) = start(4);
        sidecar.keeps_owners = keeps_owners;
        server.put_service("web", one(80), group("ext"));
        sidecar.settle(&mut server, &mut replica);
        let debts = json!([{"pool": "ext", "service": "shop/web", "uid": "before"}]);
        server.record = Some(json!({"cluster": "here", "owed": debts}).to_string());
        let mut replica = Replica::leader(&mut server, false, "f2");
        sidecar.take_calls();
        sidecar.settle(&mut server, &mut replica);
        assert_eq!((texts(&server, "web"), sidecar.of("web").len()), ("192.0.2.0".to_owned(), 1));
        assert_eq!(sidecar.take_calls().iter().any(|text| text == "release web"), keeps_owners);
        replica.write_record(&mut server);
        assert_eq!(owed(&server), json!([]));
    }
}

#[test]
fn what_another_cluster_owes_is_not_given_back() {
    let (mut server, _, mut sidecar) = start(4);
    let debts = json!([{"pool": "ext", "service": "shop/web", "uid": "before"}]);
    for (record, told) in [
        (json!({"cluster": "there", "owed": debts}).to_string(), "no Service has: ext: all of shop/web"),
        ("nonsense of somebody".to_owned(), "cannot be read"),
    ] {
        server.record = Some(record);
        let mut replica = Replica::leader(&mut server, false, "f2");
        let reports = replica.take_reports().join("\n");
        assert!(reports.contains("ReleaseFailed") && reports.contains(told), "{reports}");
        sidecar.settle(&mut server, &mut replica);
        assert_eq!(sidecar.take_calls(), ["stats"]);
        assert_eq!(owed(&server), json!([]));
    }
}

#[test]
fn no_call_is_sent_before_it_is_known_who_asks() {
    let (mut server, mut replica, mut sidecar) = start(4);
    replica.index.follow();
    replica.index.lead(true, None, "f2");
    server.put_service("web", one(80), group("ext"));
    server.put_service("own", one(80), json!({}));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!((sidecar.take_calls(), texts(&server, "own")), (Vec::new(), "10.1.0.0".to_owned()));
    replica.index.cannot_start_external("the namespace kube-system cannot be read");
    sidecar.settle(&mut server, &mut replica);
    assert!(replica.take_reports().join("\n").contains("kube-system"));
    let condition = &replica.group_status("ext")["conditions"][0];
    assert!(
        condition["status"] == "False" && condition["message"].as_str().unwrap().contains("kube-system"),
        "{condition}"
    );
    replica.index.start_external("here", None);
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(texts(&server, "web"), "192.0.2.0");
}

/// Found by the model. The sidecar gives an address of another group's range, which the Service gets from that group, because
/// it has been moved there meanwhile.
#[test]
fn an_address_of_another_groups_range_is_given_back_although_the_service_has_it() {
    for keeps_owners in [true, false] {
        let (mut server, mut replica, mut sidecar) = start(4);
        sidecar.keeps_owners = keeps_owners;
        sidecar.behavior = Behavior::Gives(vec!["192.0.2.1".parse().unwrap(), "10.1.0.0".parse().unwrap()]);
        server.put_service("web", one(80), group("ext"));
        replica.settle(&mut server);
        let call = replica.index.next_call(sidecar.now).unwrap();
        server.put_service("web", one(80), group("default"));
        let answer = sidecar.answer(&call);
        replica.index.call_answered(&call, &answer, sidecar.now);
        for _ in 0..3 {
            sidecar.later(61, &mut server, &mut replica);
        }
        assert_eq!((&*texts(&server, "web"), sidecar.of("web").len()), ("10.1.0.0", 0), "{keeps_owners}");
        assert_eq!(server.annotation("web", "purelb.io/allocated-from").unwrap(), "default");
    }
}

/// Found by the model. The sidecar keeps owners, and refuses to say so when it is asked first.
#[test]
fn a_sidecar_that_has_not_said_whether_it_keeps_owners_is_owed_until_it_takes_back() {
    let (mut server, mut replica, mut sidecar) = start(4);
    server.put_service("web", one(80), group("ext"));
    replica.settle(&mut server);
    let call = replica.index.next_call(sidecar.now).unwrap();
    let _ = sidecar.answer(&call);
    let mut replica = Replica::leader(&mut server, false, "f2");
    server.delete_service("web");
    server.put_service("web", one(80), group("ext"));
    while replica.deliver(&mut server) {}
    sidecar.behavior = Behavior::Refuses("Internal: not now");
    for _ in 0..2 {
        let call = replica.index.next_call(sidecar.now).unwrap();
        let answer = sidecar.answer(&call);
        replica.index.call_answered(&call, &answer, sidecar.now);
    }
    assert_eq!(sidecar.take_calls(), ["allocate web 10", "release web", "stats"]);
    sidecar.behavior = Behavior::Normal;
    for _ in 0..3 {
        sidecar.later(61, &mut server, &mut replica);
    }
    assert_eq!((&*texts(&server, "web"), sidecar.allocations.len()), ("192.0.2.1", 1));
    assert_eq!(owed(&server), json!([]));
}

/// Found by the model. The sidecar gave an address of another group's range in addition; the leader ends while it writes that
/// the Service has it from that group.
#[test]
fn an_address_of_another_groups_range_is_recorded_before_the_service_has_it_from_there() {
    for lists in [None, Some(100)] {
        let (mut server, mut replica, mut sidecar) = start(4);
        sidecar.lists = lists;
        sidecar.behavior = Behavior::Gives(vec!["192.0.2.1".parse().unwrap(), "10.1.0.0".parse().unwrap()]);
        server.put_service("web", one(80), group("ext"));
        replica.settle(&mut server);
        let call = replica.index.next_call(sidecar.now).unwrap();
        server.put_service("web", one(80), group("default"));
        let answer = sidecar.answer(&call);
        replica.index.call_answered(&call, &answer, sidecar.now);
        while replica.deliver(&mut server) || replica.send() {}
        if lists.is_none() {
            replica.write_record(&mut server);
        }
        while replica.answer(&mut server, 0, false).is_some() {}
        let mut replica = Replica::leader(&mut server, false, "f2");
        sidecar.behavior = Behavior::Normal;
        for _ in 0..3 {
            sidecar.later(61, &mut server, &mut replica);
        }
        assert_eq!((&*texts(&server, "web"), sidecar.of("web").len()), ("10.1.0.0", 0), "{lists:?}");
    }
}

/// A release that is not answered may still be at work: what is given after it would be taken away.
#[test]
fn nothing_is_asked_for_while_a_release_of_the_same_allocation_may_be_at_work() {
    for made_anew in [true, false] {
        let (mut server, mut replica, mut sidecar) = start(4);
        // One allocation for the name, or one for the Service.
        sidecar.keeps_owners = !made_anew;
        server.put_service("web", one(80), group("ext"));
        sidecar.settle(&mut server, &mut replica);
        sidecar.behavior = Behavior::SlowFor("web");
        if made_anew {
            server.delete_service("web");
        } else {
            server.put_service("web", json!({"type": "ClusterIP"}), json!({}));
            sidecar.settle(&mut server, &mut replica);
        }
        server.put_service("web", one(80), group("ext"));
        sidecar.take_calls();
        for _ in 0..30 {
            sidecar.later(1, &mut server, &mut replica);
        }
        let calls = sidecar.take_calls();
        assert!(!calls.iter().any(|call| call.starts_with("allocate")), "{made_anew}: {calls:?}");
        let reports = replica.take_reports().join("\n");
        assert!(reports.contains("is given back; the sidecar says: DeadlineExceeded"), "{made_anew}: {reports}");
        sidecar.behavior = Behavior::Normal;
        sidecar.later(61, &mut server, &mut replica);
        assert_eq!((server.addresses("web").len(), sidecar.of("web").len()), (1, 1), "{made_anew}");
    }
}

#[test]
fn a_record_that_somebody_empties_is_written_again() {
    let (mut server, mut replica, mut sidecar) = start(4);
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    sidecar.behavior = Behavior::RefusesReleases(NO);
    server.delete_service("web");
    sidecar.settle(&mut server, &mut replica);
    replica.write_record(&mut server);
    let before = owed(&server);
    assert_eq!(before.as_array().unwrap().len(), 1);
    server.record = Some(String::new());
    // A write takes ten seconds here.
    for _ in 0..7 {
        replica.write_record(&mut server);
    }
    assert_eq!(owed(&server), before);
}
