//! Leaders that change.

use serde_json::json;

use super::fixtures::{both, dual, group, one, start, texts, v4};
use super::replica::Replica;
use crate::state::Purpose;

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
    // The first writes are fences, and nothing is allocated before all of them are answered.
    assert!(new.send() && new.send());
    assert_eq!(new.in_flight(Purpose::Fence), 2);
    assert!(!new.send());
    assert!(new.answer(&mut server, 0, false).is_some());
    assert!(!new.send());
    new.settle(&mut server);
    assert_eq!((texts(&server, "a"), texts(&server, "b")), ("10.1.0.0".to_owned(), "10.1.0.1".to_owned()));
    assert_eq!(server.annotation("a", api_types::names::annotation::LEADER_FENCE), None);
    // Now the late write arrives.
    old.writes = vec![late];
    let (before, after) = old.answer(&mut server, 0, true).unwrap();
    assert_eq!(before, after);
}

#[test]
fn a_service_is_marked_before_it_moves_so_that_a_new_leader_knows() {
    let (mut server, mut old) = start(&[("default", v4("10.1.0.0-10.1.0.1"))]);
    for name in ["a", "b"] {
        server.put_service(name, one("IPv4"), json!({}));
        old.settle(&mut server);
    }
    server.set_ingress("b", &["10.1.0.0"]);
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
