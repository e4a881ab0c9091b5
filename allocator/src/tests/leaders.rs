//! Leaders that change.

use serde_json::json;

use super::fixtures::{both, dual, group, one, start, texts, v4};
use super::replica::Replica;
use crate::state::{Outcome, Purpose};

#[test]
fn a_new_leader_voids_late_writes_of_its_predecessor() {
    let (mut server, mut old) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("a", one("IPv4"), json!({}));
    server.put_service("b", one("IPv4"), group("nope"));
    while old.deliver(&mut server) {}
    // The old leader sends its write for `a`, which is held back on its way.
    assert!(old.send());
    let late = old.writes[0].clone();
    server.put_service("b", one("IPv4"), group("default"));
    let mut new = Replica::leader(&mut server, false, "f2");
    // The first writes are fences. What the old leader may have been about to give is given to nobody before all of them
    // are answered.
    assert!(new.send() && new.send());
    assert_eq!(new.in_flight(Purpose::Fence), 2);
    assert!(!new.send());
    assert!(new.answer(&mut server, 0, false).is_some());
    assert!(new.send() && !new.send());
    new.settle(&mut server);
    assert_eq!((texts(&server, "a"), texts(&server, "b")), ("10.1.0.4".to_owned(), "10.1.0.0".to_owned()));
    assert_eq!(server.annotation("a", api_types::names::annotation::LEADER_FENCE), None);
    // Now the late write arrives.
    old.writes = vec![late];
    let (before, after) = old.answer(&mut server, 0, true).unwrap();
    assert_eq!(before, after);
}

#[test]
fn case_67_others_are_served_while_fences_are_unanswered() {
    let (mut server, mut old) =
        start(&[("default", v4("10.1.0.0-10.1.0.1")), ("other", v4("10.2.0.0/24")), ("third", v4("10.3.0.0/24"))]);
    for number in 0..100 {
        server.put_service(&format!("w{number:02}"), one("IPv4"), json!({}));
    }
    server.put_service("pinned", one("IPv4"), json!({"purelb.io/addresses": "10.3.0.7"}));
    while old.deliver(&mut server) {}
    // The write for the first is late, and gives it the first address.
    assert!(old.send());
    let mut new = Replica::leader(&mut server, false, "f2");
    while new.send() {}
    // As many fences are under way as may be, and none is answered.
    assert_eq!(new.in_flight(Purpose::Fence), 48);
    for name in ["x", "y"] {
        server.put_service(name, one("IPv4"), group("other"));
    }
    server.put_service("a-new-one", one("IPv4"), group("default"));
    server.put_service("wants-the-same", one("IPv4"), json!({"purelb.io/addresses": "10.3.0.7"}));
    server.put_service("wants-another", one("IPv4"), json!({"purelb.io/addresses": "10.3.0.8"}));
    while new.deliver(&mut server) {}
    while new.send() {}
    assert_eq!(new.in_flight(Purpose::Assign), 4);
    while new.writes.len() > 48 {
        new.answer(&mut server, 48, false);
    }
    // The old leader may have been about to give the first four addresses of this group, and the first of `default`.
    assert_eq!((texts(&server, "x"), texts(&server, "y")), ("10.2.0.4".to_owned(), "10.2.0.5".to_owned()));
    assert_eq!(
        (texts(&server, "a-new-one"), texts(&server, "wants-another")),
        ("10.1.0.1".to_owned(), "10.3.0.8".to_owned())
    );
    // The late write arrives before its Service is fenced: nobody else has got its address.
    let late = old.writes.remove(0);
    assert_eq!(late.body["status"]["loadBalancer"]["ingress"][0]["ip"], "10.1.0.0");
    assert!(server.patch(late.name.name(), &late.body).is_ok());
    new.settle(&mut server);
    let given: Vec<String> =
        server.services.keys().map(|name| texts(&server, name)).filter(|text| !text.is_empty()).collect();
    let distinct: std::collections::BTreeSet<&String> = given.iter().collect();
    assert_eq!((given.len(), distinct.len()), (6, 6), "{given:?}");
    assert_eq!(texts(&server, late.name.name()), "10.1.0.0");
    assert_eq!((texts(&server, "pinned"), texts(&server, "wants-the-same")), ("10.3.0.7".to_owned(), String::new()));
}

#[test]
fn case_67_of_an_earlier_version_nothing_is_known_and_everything_is_held_back() {
    let (mut server, mut old) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("a", one("IPv4"), json!({}));
    while old.deliver(&mut server) {}
    assert!(old.send());
    *server.lease.borrow_mut() = None;
    let mut new = Replica::leader(&mut server, false, "f2");
    assert!(new.send() && new.in_flight(Purpose::Fence) == 1);
    server.put_service("b", one("IPv4"), json!({}));
    while new.deliver(&mut server) {}
    assert!(!new.send());
    // A successor of this one knows that as little.
    assert_eq!(server.lease.borrow().as_deref(), Some("*"));
    new.settle(&mut server);
    assert_eq!((texts(&server, "a"), texts(&server, "b")), ("10.1.0.0".to_owned(), "10.1.0.1".to_owned()));
    assert_ne!(server.lease.borrow().as_deref(), Some("*"));
}

#[test]
fn case_67_what_two_leaders_may_have_been_about_to_give_is_held_back_by_the_third() {
    let (mut server, mut first) = start(&[("default", v4("10.1.0.0/24"))]);
    for name in ["a", "b"] {
        server.put_service(name, one("IPv4"), json!({}));
    }
    while first.deliver(&mut server) {}
    assert!(first.send());
    let mut second = Replica::leader(&mut server, false, "f2");
    server.put_service("c", one("IPv4"), json!({}));
    while second.deliver(&mut server) {}
    while second.send() {}
    assert_eq!((second.in_flight(Purpose::Fence), second.in_flight(Purpose::Assign)), (2, 1));
    let mut third = Replica::leader(&mut server, false, "f3");
    server.put_service("d", one("IPv4"), json!({}));
    while third.deliver(&mut server) {}
    while third.send() {}
    assert_eq!((third.in_flight(Purpose::Fence), third.in_flight(Purpose::Assign)), (3, 1));
    for late in [&first.writes[0], second.writes.iter().find(|patch| patch.purpose == Purpose::Assign).unwrap()] {
        assert!(server.patch(late.name.name(), &late.body).is_ok());
    }
    third.settle(&mut server);
    let given: std::collections::BTreeSet<String> = ["a", "b", "c", "d"].map(|name| texts(&server, name)).into();
    assert!(given.len() == 4 && !given.contains(""), "{given:?}");
}

#[test]
fn case_67_a_fence_that_is_refused_keeps_back_what_its_service_could_get() {
    let (mut server, mut old) = start(&[("default", v4("10.1.0.0/29"))]);
    server.put_service("refused", one("IPv4"), json!({}));
    while old.deliver(&mut server) {}
    assert!(old.send());
    let mut new = Replica::leader(&mut server, false, "f2");
    assert!(new.send() && new.in_flight(Purpose::Fence) == 1);
    let fence = new.writes.remove(0);
    new.index.written(&fence, Outcome::Refused("a policy denies it".to_owned()));
    assert!(!new.send());
    server.put_service("other", one("IPv4"), json!({}));
    new.settle_now(&mut server);
    assert_eq!(texts(&server, "other"), "10.1.0.2");
    let late = old.writes.remove(0);
    assert_eq!(late.body["status"]["loadBalancer"]["ingress"][0]["ip"], "10.1.0.0");
    assert!(server.patch("refused", &late.body).is_ok());
    new.settle(&mut server);
    assert_eq!((texts(&server, "refused"), texts(&server, "other")), ("10.1.0.0".to_owned(), "10.1.0.2".to_owned()));
}

#[test]
fn case_67_an_address_is_given_only_after_the_lease_says_so() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    replica.settle(&mut server);
    assert_eq!(server.lease.borrow().as_deref(), Some("10.1.0.0-10.1.0.3"));
    replica.states_at_once = false;
    let all = ["a", "b", "c", "d", "e", "f"];
    for name in all {
        server.put_service(name, one("IPv4"), json!({}));
    }
    while replica.deliver(&mut server) {}
    // Half of the offer has been given, so another one is on its way. Only what both have is given.
    while replica.send() {}
    assert_eq!(replica.writes.len(), 4);
    // Its answer is lost, and the next leader already knows it.
    assert!(replica.state(true) && !replica.send());
    assert_eq!(server.lease.borrow().as_deref(), Some("10.1.0.0-10.1.0.6"));
    assert!(replica.state(false));
    while replica.send() {}
    assert_eq!(replica.writes.len(), 6);
    replica.settle(&mut server);
    let given = all.map(|name| texts(&server, name));
    assert_eq!(given, [0, 1, 2, 3, 4, 5].map(|last| format!("10.1.0.{last}")));
}

#[test]
fn case_67_what_a_narrower_offer_lacks_is_not_given_while_it_is_on_its_way() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    for name in ["a", "b", "c"] {
        server.put_service(name, one("IPv4"), json!({}));
        replica.settle_now(&mut server);
    }
    replica.states_at_once = false;
    server.put_service("d", one("IPv4"), json!({}));
    server.put_service("e", one("IPv4"), json!({}));
    replica.settle_now(&mut server);
    for name in ["f", "g"] {
        server.put_service(name, one("IPv4"), json!({}));
    }
    while replica.deliver(&mut server) {}
    while replica.send() {}
    while replica.answer(&mut server, 0, false).is_some() {}
    // The next offer has no need of the first address any more. It arrives, and its answer is lost.
    assert!(replica.state(true));
    let offer = server.lease.borrow().clone().unwrap();
    assert!(!offer.contains("10.1.0.0"), "{offer}");
    server.delete_service("a");
    server.put_service("new", one("IPv4"), json!({}));
    while replica.deliver(&mut server) {}
    while replica.send() {}
    assert_eq!(texts(&server, "new"), "");
    assert!(replica.writes.iter().all(|patch| patch.name.name() != "new"));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "new"), "10.1.0.0");
}

#[test]
fn case_67_nobody_waits_for_an_address_that_another_names_while_others_are_free() {
    let (mut server, mut old) = start(&[("default", v4("10.1.0.0/29"))]);
    server.put_service("first", one("IPv4"), json!({}));
    old.settle_now(&mut server);
    server.put_service("pinned", one("IPv4"), json!({"purelb.io/addresses": "10.1.0.3"}));
    while old.deliver(&mut server) {}
    assert!(old.send());
    assert_eq!(server.lease.borrow().as_deref(), Some("10.1.0.0-10.1.0.1"));
    let mut new = Replica::leader(&mut server, false, "f2");
    assert!(new.send() && new.in_flight(Purpose::Fence) == 1);
    let fence = new.writes.remove(0);
    server.put_service("other", one("IPv4"), json!({}));
    new.settle_now(&mut server);
    assert_eq!(texts(&server, "other"), "10.1.0.2");
    // Whoever waits is served when something becomes free that no fence keeps back.
    for name in ["b", "c", "d", "e"] {
        server.put_service(name, one("IPv4"), json!({}));
    }
    server.put_service("waits", one("IPv4"), json!({}));
    new.settle_now(&mut server);
    assert_eq!((texts(&server, "e"), texts(&server, "waits")), ("10.1.0.7".to_owned(), String::new()));
    server.delete_service("other");
    new.settle_now(&mut server);
    assert_eq!(texts(&server, "waits"), "10.1.0.2");
    new.writes.push(fence);
    new.settle(&mut server);
    assert_eq!(texts(&server, "pinned"), "10.1.0.3");
}

#[test]
fn case_67_a_service_that_only_the_predecessor_served_keeps_back_what_it_could_get() {
    let (mut server, mut old) = start(&[("default", v4("10.1.0.0/29"))]);
    server.put_service("web", one("IPv4"), json!({}));
    while old.deliver(&mut server) {}
    assert!(old.send());
    // Services without a class are not for this one.
    let mut new = Replica::leader_with(&mut server, false, "f2", false, None);
    let class = json!({"ipFamilies": ["IPv4"], "loadBalancerClass": "purelb.io/purelb", "ports": [{"port": 80}]});
    server.put_service("other", class, json!({}));
    new.settle_now(&mut server);
    assert_eq!(texts(&server, "other"), "10.1.0.2");
    let late = old.writes.remove(0);
    assert!(server.patch("web", &late.body).is_ok());
    new.settle(&mut server);
    assert_eq!((texts(&server, "web"), texts(&server, "other")), ("10.1.0.0".to_owned(), "10.1.0.2".to_owned()));
}

#[test]
fn case_67_the_webhooks_are_named_after_two_writes_without_an_answer() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("web", one("IPv4"), json!({}));
    while replica.deliver(&mut server) {}
    assert!(replica.send());
    let name = replica.writes[0].name.clone();
    let deadline = std::time::Duration::from_secs(12);
    replica.index.write_failed(&name, deadline);
    assert!(!replica.index.wants_webhooks());
    replica.index.write_failed(&name, deadline);
    assert!(replica.index.wants_webhooks());
    replica.index.tell_webhooks("these webhooks match services/status: \"policy\"");
    assert!(!replica.index.wants_webhooks());
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains("APIServerSlow 2 writes of this Service's status in a row failed"), "{reports}");
    assert!(reports.contains("these webhooks match services/status: \"policy\""), "{reports}");
    let conditions = |replica: &mut Replica| replica.group_status("default")["conditions"].to_string();
    assert!(conditions(&mut replica).contains("WritesUnanswered"));
    // It is over when one is answered.
    replica.index.write_answered(&name, std::time::Duration::from_millis(5));
    replica.settle(&mut server);
    assert!(!conditions(&mut replica).contains("WritesUnanswered"));
    assert_eq!(texts(&server, "web"), "10.1.0.0");
}

#[test]
fn a_service_is_marked_before_it_moves_so_that_a_new_leader_knows() {
    let (mut server, mut old) = start(&[("default", v4("10.1.0.0-10.1.0.1"))]);
    for name in ["a", "b"] {
        server.put_service(name, one("IPv4"), json!({}));
        old.settle(&mut server);
    }
    let duplicate = json!({"loadBalancer": {"ingress": [{"ip": "10.1.0.0"}]}});
    server.set_status("b", crate::FIELD_MANAGER, duplicate);
    while old.deliver(&mut server) {}
    // The mark, and then the move, which is held back on its way.
    assert!(old.send() && old.in_flight(Purpose::Mark) == 1);
    old.answer(&mut server, 0, false);
    while old.deliver(&mut server) {}
    assert!(old.send() && old.in_flight(Purpose::Mark) == 0);
    let late = old.writes[0].clone();
    assert_eq!(late.body["status"]["loadBalancer"]["ingress"][0]["ip"], "10.1.0.1");
    // The next leader can see it by nothing but the mark.
    server.delete_service("a");
    let mut new = Replica::leader(&mut server, false, "f2");
    server.put_service("winner", one("IPv4"), json!({}));
    new.settle(&mut server);
    assert_eq!((texts(&server, "b"), texts(&server, "winner")), ("10.1.0.0".to_owned(), "10.1.0.1".to_owned()));
    assert_eq!(server.annotation("b", api_types::names::annotation::LEADER_FENCE), None);
    old.writes = vec![late];
    let (before, after) = old.answer(&mut server, 0, true).unwrap();
    assert_eq!(before, after);
}

#[test]
fn planning_again_writes_nothing() {
    let (mut server, mut replica) = start(&[("default", dual("10.1.0.0/24", "2001:db8:1::/64"))]);
    server.put_service("web", both("PreferDualStack"), json!({}));
    replica.settle(&mut server);
    let writes = server.writes.clone();
    let mut replica = Replica::leader(&mut server, false, "f2");
    replica.settle(&mut server);
    server.put_service("web", both("PreferDualStack"), json!({"purelb.io/announcing-IPv4": "node,eth0"}));
    replica.settle(&mut server);
    assert_eq!(server.writes, writes);
}

#[test]
fn only_the_leader_exports_the_gauges_of_pools() {
    let (mut server, _) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("web", one("IPv4"), json!({}));
    let registry = prometheus::Registry::new();
    let mut replica = Replica::leader(&mut server, true, "f2");
    replica.index = crate::state::Index::new("purelb", crate::metrics::Metrics::new(&registry).unwrap());
    let object = crate::model::tests::object("purelb", "default", v4("10.1.0.0/24"));
    replica.index.reset_groups(vec![object]);
    replica
        .index
        .reset_services(server.services.values().filter_map(|object| super::replica::kept(object, true)).collect());
    let in_use = |replica: &mut Replica| {
        replica.index.refresh_pool_gauges();
        let families = registry.gather();
        let gauges = families.iter().find(|family| family.name() == "purelb_address_pool_addresses_in_use");
        gauges.map(|family| family.get_metric().iter().map(|metric| metric.get_gauge().get_value()).collect::<Vec<_>>())
    };
    assert_eq!(in_use(&mut replica), None);
    replica.index.lead(true, None, "f3");
    assert_eq!(in_use(&mut replica), Some(vec![0.0]));
    replica.settle(&mut server);
    assert_eq!(in_use(&mut replica), Some(vec![1.0]));
    replica.index.delete_group(&("purelb".to_owned(), "default".to_owned()));
    assert_eq!(in_use(&mut replica), None);
    replica.index.apply_group(crate::model::tests::object("purelb", "default", v4("10.1.0.0/24")));
    assert_eq!(in_use(&mut replica), Some(vec![1.0]));
    replica.index.follow();
    assert_eq!(in_use(&mut replica), None);
}
