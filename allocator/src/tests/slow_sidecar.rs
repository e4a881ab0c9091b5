//! Sidecars that answer some calls late, or come and go.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::external::{group, one, start, texts};
use super::sidecar::Behavior;
use crate::external::{CallError, Failure, Request};

#[test]
fn one_slow_answer_concerns_one_service() {
    let (mut server, mut replica, mut sidecar) = start(30);
    sidecar.settle(&mut server, &mut replica);
    sidecar.behavior = Behavior::SlowFor("slow");
    server.put_service("slow", one(80), group("ext"));
    for number in 0..20 {
        server.put_service(&format!("web-{number}"), one(80), group("ext"));
    }
    sidecar.settle(&mut server, &mut replica);
    assert!((0..20).all(|number| server.addresses(&format!("web-{number}")).len() == 1));
    assert_eq!(texts(&server, "slow"), "");
    let reports = replica.take_reports();
    let failed: Vec<&String> = reports.iter().filter(|text| text.starts_with("AllocationFailed")).collect();
    assert!(
        failed.len() == 1 && failed[0].contains("shop/slow") && failed[0].contains("no answer within 10s"),
        "{failed:?}"
    );
    assert_eq!(replica.group_status("ext")["conditions"][0]["status"], "True");
    // It waits with pauses of its own.
    sidecar.take_calls();
    for _ in 0..60 {
        sidecar.later(1, &mut server, &mut replica);
    }
    let tries = sidecar.take_calls().iter().filter(|text| text.starts_with("allocate slow")).count();
    assert!((3..9).contains(&tries), "{tries}");
    assert_eq!(replica.group_status("ext")["conditions"][0]["status"], "True");
    sidecar.behavior = Behavior::Normal;
    sidecar.later(61, &mut server, &mut replica);
    assert_eq!(server.addresses("slow").len(), 1);
}

#[test]
fn a_sidecar_is_silent_if_its_numbers_do_not_come() {
    let (mut server, mut replica, mut sidecar) = start(4);
    sidecar.settle(&mut server, &mut replica);
    sidecar.behavior = Behavior::LosesAnswers;
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(sidecar.take_calls(), ["stats", "allocate web 10", "stats"]);
    let condition = &replica.group_status("ext")["conditions"][0];
    assert_eq!(condition["reason"], "SidecarUnavailable", "{condition}");
}

#[test]
fn ready_changes_at_most_once_in_half_a_minute() {
    let (mut server, mut replica, mut sidecar) = start(4);
    server.put_service("web", one(80), group("ext"));
    let mut shown = Vec::new();
    for second in 0..240 {
        sidecar.behavior = if second % 14 < 7 { Behavior::Normal } else { Behavior::NotAnswering };
        if second % 14 == 7 {
            server.put_service(&format!("web-{second}"), one(80), group("ext"));
        }
        sidecar.later(1, &mut server, &mut replica);
        let status = replica.group_status("ext")["conditions"][0]["status"].clone();
        if shown.last().is_none_or(|(_, last)| *last != status) {
            shown.push((second, status));
        }
    }
    assert!(shown.len() > 2, "{shown:?}");
    // The first one is no change.
    for pair in shown[1..].windows(2) {
        assert!(pair[1].0 - pair[0].0 >= 30, "{shown:?}");
    }
    // What is shown is right in the end.
    sidecar.behavior = Behavior::Normal;
    for _ in 0..40 {
        sidecar.later(1, &mut server, &mut replica);
    }
    assert_eq!(replica.group_status("ext")["conditions"][0]["status"], "True");
}

#[test]
fn slow_calls_of_one_group_leave_room_for_the_others() {
    let (mut server, mut replica, mut sidecar) = start(60);
    server.put_group(
        "ext2",
        &json!({"external": {"provider": "Acme", "socket": "/run/ipam.sock", "announce": "remote"}}),
    );
    sidecar.settle(&mut server, &mut replica);
    for number in 0..50 {
        server.put_service(&format!("a-{number:02}"), one(80), group("ext"));
    }
    replica.settle(&mut server);
    // None of these calls is answered.
    let mut groups = BTreeSet::new();
    let mut under_way = 0;
    while let Some(call) = replica.index.next_call(sidecar.now) {
        groups.insert(call.group);
        under_way += 1;
    }
    assert!(under_way < 16 && !groups.contains("ext2"), "{under_way} {groups:?}");
    server.put_service("b", one(80), group("ext2"));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(server.addresses("b").len(), 1);
}

#[test]
fn numbers_follow_an_allocation_that_was_answered_before_them() {
    let (mut server, mut replica, mut sidecar) = start(4);
    server.put_service("web", one(80), group("ext"));
    replica.settle(&mut server);
    let calls: Vec<_> = std::iter::from_fn(|| replica.index.next_call(sidecar.now)).collect();
    let answers: Vec<_> = calls.iter().rev().map(|call| (call.clone(), sidecar.answer(call))).collect();
    // The numbers were made before the allocation, and come after it.
    for (call, answer) in answers.iter().rev() {
        replica.index.call_answered(call, answer, sidecar.now);
    }
    sidecar.settle(&mut server, &mut replica);
    sidecar.later(1, &mut server, &mut replica);
    assert_eq!(replica.group_status("ext")["allocatedIPv4"], 1);
}

#[test]
fn a_sidecar_that_refuses_its_numbers_is_told_on_the_group() {
    let (mut server, mut replica, mut sidecar) = start(4);
    sidecar.behavior = Behavior::Refuses("Unimplemented: another version");
    sidecar.settle(&mut server, &mut replica);
    let condition = &replica.group_status("ext")["conditions"][0];
    assert_eq!(condition["status"], "True");
    assert!(condition["message"].as_str().unwrap().contains("Unimplemented: another version"), "{condition}");
    sidecar.behavior = Behavior::Normal;
    sidecar.later(61, &mut server, &mut replica);
    let condition = &replica.group_status("ext")["conditions"][0];
    assert!(!condition["message"].as_str().unwrap().contains("another version"), "{condition}");
}

/// The numbers of one group never come. The others, and the Services of all, are served.
#[test]
fn numbers_that_never_come_for_one_group_concern_no_other_one() {
    let (mut server, mut replica, mut sidecar) = start(60);
    let external = json!({"external": {"provider": "Acme", "socket": "/run/ipam.sock", "announce": "remote"}});
    server.put_group("ext2", &external);
    sidecar.settle(&mut server, &mut replica);
    let mut hanging = Vec::new();
    for second in 0..300 {
        if second % 60 == 30 {
            for name in ["ext", "ext2"] {
                server.put_service(&format!("web-{name}-{second}"), one(80), group(name));
            }
        }
        replica.settle(&mut server);
        while let Some(call) = replica.index.next_call(sidecar.now) {
            if call.request == Request::Stats && call.group == "ext" {
                hanging.push((second + 10, call));
                continue;
            }
            // An answer takes a moment.
            sidecar.now = sidecar.now + Duration::from_millis(1);
            let answer = sidecar.answer(&call);
            replica.index.call_answered(&call, &answer, sidecar.now);
            replica.settle(&mut server);
        }
        for (_, call) in hanging.extract_if(.., |(at, _)| *at <= second) {
            let text = "DeadlineExceeded: no answer within 10s".to_owned();
            let error = CallError { failure: Failure::NoAnswer, may_have_acted: true, text };
            replica.index.call_answered(&call, &Err(error), sidecar.now);
        }
        if second % 60 == 40 {
            for name in ["ext", "ext2"] {
                assert_eq!(server.addresses(&format!("web-{name}-{}", second - 10)).len(), 1, "{name} {second}");
            }
        }
        assert_eq!(replica.group_status("ext2")["conditions"][0]["status"], "True", "{second}");
        sidecar.now = sidecar.now + Duration::from_secs(1);
    }
}

/// The sidecar dies of the calls for one Service, with all that is under way, and is there again after a while.
#[test]
fn a_service_whose_calls_break_the_sidecar_holds_up_no_other_one() {
    let (mut server, mut replica, mut sidecar) = start(60);
    sidecar.settle(&mut server, &mut replica);
    let error = |failure, text: &str| Err(CallError { failure, may_have_acted: true, text: text.to_owned() });
    for number in 0..20 {
        server.put_service(&format!("web-{number:02}"), one(80), group("ext"));
    }
    server.put_service("a-poison", one(80), group("ext"));
    let (mut dead_until, mut deaths) = (0, Vec::new());
    for second in 0..300 {
        for _ in 0..100 {
            replica.settle(&mut server);
            let calls: Vec<_> = std::iter::from_fn(|| replica.index.next_call(sidecar.now)).collect();
            let is_poison = |request: &Request| request.owner().is_some_and(|owner| owner.name.name() == "a-poison");
            let dies = second >= dead_until && calls.iter().any(|call| is_poison(&call.request));
            for call in &calls {
                let answer = if dies {
                    error(Failure::Broken, "Unavailable: connection closed")
                } else if second < dead_until {
                    error(Failure::Unreachable, "Unavailable: nobody listens")
                } else {
                    sidecar.answer(call)
                };
                replica.index.call_answered(call, &answer, sidecar.now);
            }
            if dies {
                deaths.push(second);
                dead_until = second + 5;
            }
            if calls.is_empty() {
                break;
            }
        }
        if second == 60 {
            let happy = (0..20).filter(|number| server.addresses(&format!("web-{number:02}")).len() == 1).count();
            assert_eq!(happy, 20, "{deaths:?}");
        }
        sidecar.now = sidecar.now + Duration::from_secs(1);
    }
    assert!((3..12).contains(&deaths.len()), "{deaths:?}");
    assert!(replica.take_reports().iter().any(|text| text.contains("shop/a-poison") && text.contains("closed")));
}
