//! What a Service has of a sidecar is known by the allocator's own record, whatever somebody edits, and by marks that are
//! older than the calls.

use serde_json::{Value, json};

use super::api_server::ApiServer;
use super::external::{both, group, one, start, texts};
use super::replica::Replica;
use super::sidecar::Sidecar;

const ASKED_OF: &str = "purelb.io/asked-of";

#[test]
fn no_edit_of_annotations_releases_or_strands_an_address_in_use() {
    type Edit = fn(&mut Value);
    let edits: [(&str, Edit); 6] = [
        ("allocated-from is removed", |annotations| {
            _ = annotations.as_object_mut().unwrap().remove("purelb.io/allocated-from");
        }),
        ("allocated-from names another external group", |annotations| {
            annotations["purelb.io/allocated-from"] = json!("ext2");
        }),
        ("allocated-from names a group with ranges", |annotations| {
            annotations["purelb.io/allocated-from"] = json!("default");
        }),
        ("allocated-by is removed", |annotations| {
            _ = annotations.as_object_mut().unwrap().remove("purelb.io/allocated-by");
        }),
        ("the list is removed", |annotations| {
            _ = annotations.as_object_mut().unwrap().remove("purelb.io/allocated-addresses");
        }),
        ("everything is replaced", |annotations| *annotations = json!({"purelb.io/service-group": "ext"})),
    ];
    for (what, edit) in edits {
        let (mut server, mut replica, mut sidecar) = start(4);
        server.put_group(
            "ext2",
            &json!({"external": {"provider": "Acme", "socket": "/run/other.sock", "announce": "remote"}}),
        );
        server.put_service("web", one(80), group("ext"));
        sidecar.settle(&mut server, &mut replica);
        sidecar.take_calls();
        server.edit_service("web", "kubectl-annotate", |object| edit(&mut object["metadata"]["annotations"]));
        sidecar.later(61, &mut server, &mut replica);
        assert!(!sidecar.take_calls().iter().any(|call| call.starts_with("release")), "{what}");
        assert_eq!((texts(&server, "web"), sidecar.of("web").len()), ("192.0.2.0".to_owned(), 1), "{what}");
        assert_eq!(server.annotation("web", "purelb.io/allocated-from").as_deref(), Some("ext"), "{what}");
        server.delete_service("web");
        sidecar.settle(&mut server, &mut replica);
        assert_eq!(sidecar.of("web").len(), 0, "{what}");
    }
}

#[test]
fn a_service_is_marked_before_its_sidecar_is_asked_and_not_longer_than_needed() {
    let (mut server, mut replica, mut sidecar) = start(1);
    server.put_service("web", one(80), group("ext"));
    assert!(replica.index.next_call(sidecar.now).is_some_and(|call| call.request.owner().is_none()));
    replica.settle(&mut server);
    assert_eq!(server.annotation("web", ASKED_OF).as_deref(), Some("ext"));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!((texts(&server, "web"), server.annotation("web", ASKED_OF)), ("192.0.2.0".to_owned(), None));
    assert_eq!((server.writes["web"], server.annotation("web", "purelb.io/leader-fence")), (2, None));
    // One that waits keeps it, and is written once.
    server.put_service("late", one(80), group("ext"));
    for _ in 0..3 {
        sidecar.later(61, &mut server, &mut replica);
    }
    assert_eq!((server.annotation("late", ASKED_OF).as_deref(), server.writes["late"]), (Some("ext"), 1));
    server.put_service("late", one(80), json!({"purelb.io/service-group": "default"}));
    sidecar.later(61, &mut server, &mut replica);
    assert_eq!((texts(&server, "late"), server.annotation("late", ASKED_OF)), ("10.1.0.0".to_owned(), None));
}

#[test]
fn a_takeover_asks_and_releases_nothing_for_services_that_were_not_asked_for() {
    let (mut server, mut replica, mut sidecar) = start(4);
    for number in 0..5 {
        server.put_service(&format!("web-{number}"), one(80), json!({}));
    }
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(texts(&server, "web-4"), "");
    sidecar.take_calls();
    let mut replica = Replica::leader(&mut server, false, "f2");
    assert_eq!(replica.group_status("ext")["pendingReleases"], Value::Null);
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(sidecar.take_calls(), ["stats"]);
    assert_eq!(replica.group_status("ext")["pendingReleases"], Value::Null);
}

/// The sidecar has carried out a call whose answer no leader has seen, and the Service is of another type by then.
#[test]
fn a_mark_counts_on_a_service_that_is_no_longer_served() {
    let (mut server, mut replica, mut sidecar) = start(4);
    server.put_service("web", one(80), group("ext"));
    replica.settle(&mut server);
    while let Some(call) = replica.index.next_call(sidecar.now) {
        let _ = sidecar.answer(&call);
    }
    server.put_service("web", json!({"type": "ClusterIP"}), json!({}));
    let mut replica = Replica::leader(&mut server, false, "f2");
    let found = server.services.values().filter_map(|object| {
        serde_json::from_value::<crate::model::WatchedService>(object.clone()).unwrap().leftover()
    });
    replica.index.clean_up(found);
    sidecar.settle(&mut server, &mut replica);
    assert_eq!((sidecar.allocations.len(), server.annotation("web", ASKED_OF)), (0, None));
}

/// Found by the model on a fresh machine. The first leader asks for a Service that has an address of its own group, and
/// ends before the answer. The second one ends before it has looked. By then the user wants less, and the Service has all
/// that it wants, so that nothing but a mark tells the third leader what the sidecar gave.
#[test]
fn what_a_leader_asked_for_is_given_back_after_two_takeovers() {
    let mut server = ApiServer::default();
    let external =
        |provider| json!({"external": {"provider": provider, "socket": "/run/ipam.sock", "announce": "remote"}});
    server.put_group("ext", &external("Acme"));
    server
        .put_group("default", &json!({"remote": {"v6pool": {"pool": "2001:db8:1::/127", "subnet": "2001:db8::/32"}}}));
    let mut replica = Replica::leader(&mut server, true, "f0");
    let mut sidecar = Sidecar::new(3);
    let six = json!({"ipFamilies": ["IPv6"], "ipFamilyPolicy": "RequireDualStack", "ports": [{"port": 80}]});
    server.put_service("web", six.clone(), json!({}));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(texts(&server, "web"), "2001:db8:1::");
    server.put_service("web", both("RequireDualStack"), group("ext"));
    replica.settle_now(&mut server);
    while let Some(call) = replica.index.next_call(sidecar.now) {
        let _ = sidecar.answer(&call);
    }
    assert!(!sidecar.of("web").is_empty());
    let mut replica = Replica::leader(&mut server, false, "f1");
    server.put_group("ext", &external("Other"));
    server.put_service("web", six, group("ext"));
    while replica.deliver(&mut server) || replica.send() {}
    let mut replica = Replica::leader(&mut server, false, "f2");
    sidecar.later(61, &mut server, &mut replica);
    assert_eq!((texts(&server, "web"), sidecar.of("web").len()), ("2001:db8:1::".to_owned(), 0));
    assert_eq!(server.annotation("web", ASKED_OF), None);
}

fn take_mark_off(server: &mut ApiServer) {
    server.edit_service("web", "kubectl-annotate", |object| {
        object["metadata"]["annotations"].as_object_mut().unwrap().remove(ASKED_OF);
    });
}

#[test]
fn somebody_who_takes_the_mark_off_again_and_again_does_not_load_the_api_server() {
    let (mut server, mut replica, mut sidecar) = start(0);
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    let before = server.writes["web"];
    for _ in 0..60 {
        take_mark_off(&mut server);
        replica.pass(&mut server, 1);
        replica.settle_now(&mut server);
    }
    assert!((1..=4).contains(&(server.writes["web"] - before)), "{}", server.writes["web"] - before);
}

#[test]
fn a_mark_that_was_not_written_is_not_counted() {
    let (mut server, mut replica, mut sidecar) = start(0);
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    replica.pass(&mut server, 300);
    take_mark_off(&mut server);
    for attempt in 0..3 {
        while replica.deliver(&mut server) {}
        assert!(replica.send(), "{attempt}");
        // Somebody else writes first.
        server.edit_service("web", "other", |object| object["metadata"]["labels"] = json!({"attempt": attempt}));
        replica.answer(&mut server, 0, false);
        assert_eq!(server.annotation("web", ASKED_OF), None);
    }
    replica.settle_now(&mut server);
    assert_eq!(server.annotation("web", ASKED_OF).as_deref(), Some("ext"));
}

#[test]
fn marks_before_questions_and_repairs_have_budgets_of_their_own() {
    let (mut server, mut replica, mut sidecar) = start(1);
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    // It wants another address, and the sidecar has none.
    sidecar.free.insert(api_types::Family::V6, Vec::new());
    server.put_service("web", both("PreferDualStack"), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!((&*texts(&server, "web"), server.annotation("web", ASKED_OF).as_deref()), ("192.0.2.0", Some("ext")));
    let whole = server.services["web"].clone();
    for minute in 0..5 {
        replica.pass(&mut server, 60);
        let before = server.writes["web"];
        for _ in 0..60 {
            server.edit_service("web", "bad-operator", |object| {
                object["metadata"]["annotations"] = group("ext");
                object["status"] = json!({});
            });
            replica.settle_now(&mut server);
            replica.pass(&mut server, 1);
        }
        // Two marks and two repairs.
        assert_eq!(server.writes["web"] - before, 4, "minute {minute}");
    }
    sidecar.later(300, &mut server, &mut replica);
    assert_eq!(server.services["web"]["status"]["loadBalancer"], whole["status"]["loadBalancer"]);
    assert_eq!((sidecar.allocations.len(), sidecar.of("web").len()), (1, 1));
}

/// Found on the lab: a Service that was made anew for the second time within a minute waited for the rest of it, in silence.
#[test]
fn a_service_that_is_made_anew_has_marks_of_its_own() {
    let (mut server, mut replica, mut sidecar) = start(4);
    for round in 0..6 {
        server.put_service("web", one(80), group("ext"));
        for _ in 0..20 {
            replica.settle_now(&mut server);
            let Some(call) = replica.index.next_call(sidecar.now) else { break };
            let answer = sidecar.answer(&call);
            replica.index.call_answered(&call, &answer, sidecar.now);
        }
        assert_eq!(server.addresses("web").len(), 1, "{round}");
        server.delete_service("web");
    }
}
