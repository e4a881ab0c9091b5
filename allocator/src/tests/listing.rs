//! What a sidecar lists, compared with what the Services have.

use std::net::IpAddr;

use serde_json::Value;

use super::external::{both, group, one, start, texts};
use super::replica::Replica;

fn key(cluster: &str, service: &str, uid: &str) -> (String, String, String) {
    (cluster.to_owned(), service.to_owned(), uid.to_owned())
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn what_no_service_of_this_cluster_has_is_given_back_and_told() {
    let (mut server, mut replica, mut sidecar) = start(30);
    sidecar.lists = Some(2);
    for number in 0..5 {
        server.put_service(&format!("web-{number}"), one(80), group("ext"));
    }
    sidecar.settle(&mut server, &mut replica);
    // Deleted while no allocator runs, and made anew under the name of one that is gone.
    let gone: Vec<Value> = ["web-1", "web-3"].iter().map(|name| server.services[*name].clone()).collect();
    server.delete_service("web-1");
    server.delete_service("web-3");
    server.put_service("web-3", one(80), group("ext"));
    // Others have something on the same IPAM.
    let uid = gone[0]["metadata"]["uid"].as_str().unwrap();
    let theirs = key("there", "shop/web-1", uid);
    sidecar.allocations.insert(theirs.clone(), (String::new(), vec![address("192.0.2.20")]));
    let mut replica = Replica::leader(&mut server, false, "f2");
    sidecar.settle(&mut server, &mut replica);
    assert_eq!((sidecar.of("web-1").len(), sidecar.of("web-3").len()), (2, 2), "not at once");
    sidecar.take_calls();
    sidecar.later(11, &mut server, &mut replica);
    let calls = sidecar.take_calls();
    assert_eq!(calls.iter().filter(|call| call.starts_with("list")).count(), 3, "{calls:?}");
    assert!(sidecar.allocations.contains_key(&theirs));
    assert_eq!((sidecar.of("web-1").len(), sidecar.of("web-3").len()), (1, 1));
    assert_eq!(server.addresses("web-3"), sidecar.of("web-3"));
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains("IPAMDiffers") && reports.contains("shop/web-1, shop/web-3"), "{reports}");
    // The next time is a day later.
    for _ in 0..30 {
        sidecar.later(60, &mut server, &mut replica);
    }
    assert!(!sidecar.take_calls().iter().any(|call| call.starts_with("list")));
    sidecar.later(24 * 3600, &mut server, &mut replica);
    assert!(sidecar.take_calls().iter().any(|call| call.starts_with("list")));
    assert_eq!(replica.take_reports(), Vec::<String>::new());
}

#[test]
fn what_was_edited_in_the_ipam_is_told_and_what_services_have_is_registered_again() {
    let (mut server, mut replica, mut sidecar) = start(30);
    sidecar.lists = Some(100);
    for name in ["forgotten", "more", "stolen"] {
        server.put_service(name, one(80), group("ext"));
    }
    sidecar.settle(&mut server, &mut replica);
    for ((_, service, _), (_, addresses)) in &mut sidecar.allocations {
        if service == "shop/more" {
            addresses.push(address("192.0.2.9"));
        }
    }
    sidecar.allocations.retain(|(_, service, _), _| service == "shop/more");
    let thief = key("there", "shop/thief", "uid");
    sidecar.allocations.insert(thief, (String::new(), vec![address("192.0.2.2")]));
    sidecar.take_calls();
    sidecar.later(11, &mut server, &mut replica);
    let reports = replica.take_reports().join("\n");
    assert!(
        reports.contains("which is registered again: 192.0.2.0 of shop/forgotten, 192.0.2.2 of shop/stolen"),
        "{reports}"
    );
    assert!(reports.contains("their Services do not have, which are given back: 192.0.2.9 of shop/more"), "{reports}");
    assert!(reports.contains("does not register it: FailedPrecondition: another Service has it"), "{reports}");
    let calls = sidecar.take_calls();
    let released: Vec<&String> = calls.iter().filter(|call| call.starts_with("release")).collect();
    assert_eq!(released, ["release more 192.0.2.9"], "{calls:?}");
    assert_eq!(calls.iter().filter(|call| call.starts_with("restore")).count(), 2, "{calls:?}");
    assert_eq!((sidecar.of("forgotten"), sidecar.of("stolen").len()), (server.addresses("forgotten"), 0));
    // Nobody loses what is in use.
    let has: Vec<String> = ["forgotten", "more", "stolen"].map(|name| texts(&server, name)).into();
    assert_eq!(has, ["192.0.2.0", "192.0.2.1", "192.0.2.2"]);
    // What was restored is given back as ever.
    server.delete_service("forgotten");
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(sidecar.of("forgotten").len(), 0);
}

#[test]
fn a_service_that_is_served_meanwhile_is_no_difference() {
    let (mut server, mut replica, mut sidecar) = start(30);
    sidecar.lists = Some(100);
    server.put_service("web", one(80), group("ext"));
    server.put_service("other", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    replica.take_reports();
    sidecar.now = sidecar.now + std::time::Duration::from_secs(11);
    // The first page is made, and then a Service comes and another one goes.
    let list = std::iter::from_fn(|| replica.index.next_call(sidecar.now)).collect::<Vec<_>>();
    let answers: Vec<_> = list.iter().map(|call| sidecar.answer(call)).collect();
    server.put_service("late", one(80), group("ext"));
    server.delete_service("web");
    sidecar.settle(&mut server, &mut replica);
    for (call, answer) in list.iter().zip(&answers) {
        replica.index.call_answered(call, answer, sidecar.now);
    }
    sidecar.settle(&mut server, &mut replica);
    let reports = replica.take_reports().join("\n");
    assert!(!reports.contains("IPAMDiffers"), "{reports}");
    assert_eq!((sidecar.of("web").len(), sidecar.of("late").len()), (0, 1));
    assert_eq!(texts(&server, "other"), "192.0.2.1");
}

/// The leader ends in the moment between the write that takes an address off a Service and the record of what is owed.
#[test]
fn what_a_crash_leaves_to_a_living_service_is_given_back() {
    let (mut server, mut replica, mut sidecar) = start(4);
    sidecar.lists = Some(100);
    server.put_service("web", both("RequireDualStack"), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    let record = server.record.clone();
    server.put_service("web", one(80), group("ext"));
    replica.settle(&mut server);
    assert_eq!((texts(&server, "web"), sidecar.of("web").len()), ("192.0.2.0".to_owned(), 2));
    server.record = record;
    server.groups.get_mut("ext").unwrap()["status"] = Value::Null;
    let mut replica = Replica::leader(&mut server, false, "f2");
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(sidecar.of("web").len(), 2, "nothing tells it so far");
    sidecar.later(11, &mut server, &mut replica);
    assert_eq!((texts(&server, "web"), sidecar.of("web").len()), ("192.0.2.0".to_owned(), 1));
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains("which are given back: 2001:db8:2:: of shop/web"), "{reports}");
}

/// The sidecar has an address for one Service that another one has.
#[test]
fn what_another_service_has_is_given_back_only_if_the_sidecar_tells_owners_apart() {
    for keeps_owners in [true, false] {
        let (mut server, mut replica, mut sidecar) = start(4);
        (sidecar.lists, sidecar.says_keeps_owners) = (Some(100), keeps_owners);
        for name in ["web", "other"] {
            server.put_service(name, one(80), group("ext"));
        }
        sidecar.settle(&mut server, &mut replica);
        for ((_, service, _), (_, addresses)) in &mut sidecar.allocations {
            if service == "shop/web" {
                addresses.push(address("192.0.2.1"));
            }
        }
        sidecar.take_calls();
        sidecar.later(11, &mut server, &mut replica);
        let released = sidecar.take_calls().iter().any(|call| call == "release web 192.0.2.1");
        assert_eq!((released, sidecar.of("other").len()), (keeps_owners, 1));
        let reports = replica.take_reports().join("\n");
        let told = if keeps_owners { "which are given back" } else { "and other Services do: correct the IPAM" };
        assert!(reports.contains(&format!("{told}: 192.0.2.1 of shop/web")), "{reports}");
    }
}

#[test]
fn a_sidecar_that_cannot_list_now_is_asked_again_and_one_that_never_can_seldom() {
    let (mut server, mut replica, mut sidecar) = start(4);
    sidecar.settle(&mut server, &mut replica);
    let mut asked = Vec::new();
    for minute in 0..200 {
        sidecar.later(60, &mut server, &mut replica);
        if sidecar.take_calls().iter().any(|call| call.starts_with("list")) {
            asked.push(minute);
        }
    }
    assert!((4..6).contains(&asked.len()), "{asked:?}");
    sidecar.lists = Some(100);
    sidecar.later(4 * 3600, &mut server, &mut replica);
    assert!(sidecar.take_calls().iter().any(|call| call.starts_with("list")));
}

#[test]
fn a_list_that_does_not_end_says_nothing_of_what_is_missing() {
    let (mut server, mut replica, mut sidecar) = start(4);
    (sidecar.lists, sidecar.repeats_pages) = (Some(1), true);
    for name in ["a", "b", "c"] {
        server.put_service(name, one(80), group("ext"));
    }
    sidecar.settle(&mut server, &mut replica);
    sidecar.take_calls();
    sidecar.later(11, &mut server, &mut replica);
    assert_eq!(sidecar.take_calls().iter().filter(|call| call.starts_with("restore")).count(), 0);
}

/// The sidecar gives the lowest free address. What it has forgotten is the lowest one, for everybody who comes.
#[test]
fn a_forgetful_sidecar_holds_up_nobody_else() {
    let (mut server, mut replica, mut sidecar) = start(8);
    sidecar.lists = Some(100);
    server.put_service("has", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    sidecar.later(11, &mut server, &mut replica);
    for round in 0..3 {
        for _ in 0..600 {
            sidecar.later(1, &mut server, &mut replica);
        }
        sidecar.allocations.retain(|(_, service, _), _| service != "shop/has");
        sidecar.take_calls();
        for number in 0..2 {
            server.put_service(&format!("new-{round}-{number}"), one(80), group("ext"));
        }
        for _ in 0..8 {
            sidecar.later(1, &mut server, &mut replica);
        }
        for number in 0..2 {
            assert_eq!(server.addresses(&format!("new-{round}-{number}")).len(), 1, "{round}");
        }
        assert_eq!((texts(&server, "has"), sidecar.of("has").len()), ("192.0.2.0".to_owned(), 1));
        let calls = sidecar.take_calls();
        assert_eq!(calls.iter().filter(|call| call.starts_with("list")).count(), 1, "{calls:?}");
    }
}

/// The sidecar fills in something of its own for the UIDs.
#[test]
fn what_living_services_have_is_not_given_back_for_a_wrong_uid() {
    let (mut server, mut replica, mut sidecar) = start(8);
    sidecar.lists = Some(100);
    for name in ["a", "b", "c"] {
        server.put_service(name, one(80), group("ext"));
    }
    sidecar.settle(&mut server, &mut replica);
    let wrong = |((cluster, service, uid), allocation)| ((cluster, service, format!("record-{uid}")), allocation);
    sidecar.allocations = std::mem::take(&mut sidecar.allocations).into_iter().map(wrong).collect();
    sidecar.take_calls();
    let mut replica = Replica::leader(&mut server, false, "f2");
    sidecar.settle(&mut server, &mut replica);
    sidecar.later(11, &mut server, &mut replica);
    let calls = sidecar.take_calls();
    assert!(!calls.iter().any(|call| call.starts_with("release")), "{calls:?}");
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains("for other UIDs than theirs") && reports.contains("shop/b"), "{reports}");
}
