//! External groups: the index and a simulated sidecar.

use serde_json::{Value, json};

use super::api_server::ApiServer;
use super::replica::Replica;
use super::sidecar::{Behavior, Sidecar};

fn external() -> Value {
    json!({"external": {"provider": "Acme", "socket": "/run/ipam.sock", "announce": "remote"}})
}

fn local(pool: &str) -> Value {
    json!({"local": {"v4pool": {"pool": pool, "subnet": "10.0.0.0/8"}}})
}

pub(super) fn one(port: u16) -> Value {
    json!({"ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "ports": [{"port": port}]})
}

pub(super) fn both(policy: &str) -> Value {
    json!({"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": policy, "ports": [{"port": 80}]})
}

pub(super) fn group(name: &str) -> Value {
    json!({"purelb.io/service-group": name})
}

/// A server with the group `ext`, a leader that has read it, and a sidecar with some addresses of each family.
pub(super) fn start(count: u8) -> (ApiServer, Replica, Sidecar) {
    let mut server = ApiServer::default();
    server.put_group("ext", &external());
    server.put_group("default", &local("10.1.0.0/30"));
    let replica = Replica::leader(&mut server, true, "f1");
    (server, replica, Sidecar::new(count))
}

pub(super) fn texts(server: &ApiServer, name: &str) -> String {
    let addresses: Vec<String> = server.addresses(name).iter().map(ToString::to_string).collect();
    addresses.join(",")
}

#[test]
fn an_allocation_is_one_call_and_two_writes() {
    let (mut server, mut replica, mut sidecar) = start(4);
    server.put_service("web", both("RequireDualStack"), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(texts(&server, "web"), "192.0.2.0,2001:db8:2::");
    assert_eq!(server.writes["web"], 2, "a mark and the addresses");
    assert_eq!(server.annotation("web", "purelb.io/allocated-from").unwrap(), "ext");
    assert_eq!(server.annotation("web", "purelb.io/pool-type").unwrap(), "remote");
    assert!(replica.take_reports().contains(&"AddressAssigned Assigned 192.0.2.0 from pool \"ext\"".to_owned()));
    sidecar.later(2, &mut server, &mut replica);
    assert_eq!(sidecar.take_calls(), ["allocate web 11", "stats"]);
    let status = replica.group_status("ext");
    assert_eq!((&status["ipam"], &status["allocatedIPv4"]), (&json!("Acme"), &json!(1)));
    assert_eq!((&status["availableIPv6"], &status["addresses"][0]), (&json!(3), &json!("192.0.2.0/24")));
    assert_eq!(status["conditions"][0]["status"], "True");
    assert_eq!(status["conditions"].as_array().unwrap().len(), 1, "{status}");
    // A restart requests nothing, and writes nothing.
    let mut replica = Replica::leader(&mut server, false, "f2");
    sidecar.settle(&mut server, &mut replica);
    assert_eq!((server.writes["web"], sidecar.take_calls()), (2, vec!["stats".to_owned()]));
}

#[test]
fn a_family_is_added_and_removed() {
    let (mut server, mut replica, mut sidecar) = start(4);
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    server.put_service("web", both("RequireDualStack"), json!({}));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(texts(&server, "web"), "192.0.2.0,2001:db8:2::");
    server.put_service("web", one(80), json!({}));
    sidecar.take_calls();
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(texts(&server, "web"), "192.0.2.0");
    assert_eq!(sidecar.take_calls(), ["release web 2001:db8:2::"]);
    assert_eq!(sidecar.of("web").len(), 1);
}

#[test]
fn a_service_that_leaves_gives_back() {
    let (mut server, mut replica, mut sidecar) = start(4);
    for name in ["deleted", "typed", "classed", "moved"] {
        server.put_service(name, one(80), group("ext"));
    }
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(sidecar.allocations.len(), 4);
    server.delete_service("deleted");
    server.put_service("typed", json!({"type": "ClusterIP"}), json!({}));
    server.put_service("classed", json!({"ipFamilies": ["IPv4"], "loadBalancerClass": "other/class"}), json!({}));
    server.put_service(
        "moved",
        one(80),
        json!({"purelb.io/service-group": "default", "purelb.io/re-evaluate": "true"}),
    );
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(sidecar.allocations.len(), 0, "{:?}", sidecar.allocations);
    assert_eq!(texts(&server, "moved"), "10.1.0.0");
    assert_eq!(server.annotation("moved", "purelb.io/allocated-from").unwrap(), "default");
    // And back again.
    server.put_service("moved", one(80), json!({"purelb.io/service-group": "ext", "purelb.io/re-evaluate": "true"}));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(texts(&server, "moved"), "192.0.2.0");
    assert_eq!(server.annotation("moved", "purelb.io/re-evaluate"), None);
    // It keeps an address that is right.
    sidecar.take_calls();
    server.put_service("moved", one(80), json!({"purelb.io/re-evaluate": "true"}));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!((texts(&server, "moved"), sidecar.take_calls()), ("192.0.2.0".to_owned(), Vec::new()));
}

#[test]
fn a_list_is_not_believed_after_the_sidecar_took_the_address_back() {
    let (mut server, mut replica, mut sidecar) = start(4);
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    // An emptied status is put back without a call.
    server.set_ingress("web", &[]);
    sidecar.take_calls();
    sidecar.settle(&mut server, &mut replica);
    assert_eq!((texts(&server, "web"), sidecar.take_calls()), ("192.0.2.0".to_owned(), Vec::new()));
    // The Service is of the type again before our marks are taken off.
    server.put_service("web", json!({"type": "ClusterIP"}), json!({}));
    server.put_service("web", one(80), json!({}));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!((sidecar.of("web").len(), server.addresses("web")), (1, sidecar.of("web")));
    // A new leader asks.
    server.set_ingress("web", &[]);
    let mut replica = Replica::leader(&mut server, true, "f2");
    sidecar.settle(&mut server, &mut replica);
    assert_eq!((sidecar.of("web").len(), server.addresses("web")), (1, sidecar.of("web")));
}

#[test]
fn dual_stack_is_all_or_nothing_unless_preferred() {
    let (mut server, mut replica, mut sidecar) = start(4);
    sidecar.behavior = Behavior::Gives(vec!["192.0.2.8".parse().unwrap()]);
    server.put_service("must", both("RequireDualStack"), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    assert!(replica.take_reports().join("\n").contains("it gave no IPv6 address"));
    assert_eq!((texts(&server, "must"), sidecar.of("must").len()), (String::new(), 0));
    server.delete_service("must");
    server.put_service("may", both("PreferDualStack"), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(texts(&server, "may"), "192.0.2.8");
    assert!(replica.take_reports().join("\n").contains("FamilyUnavailable shop/may"));
    sidecar.behavior = Behavior::Normal;
    sidecar.later(120, &mut server, &mut replica);
    assert_eq!(texts(&server, "may"), "192.0.2.8,2001:db8:2::");
}

#[test]
fn a_family_from_a_range_and_the_other_from_a_sidecar() {
    let (mut server, mut replica, mut sidecar) = start(4);
    server.put_service("web", both("RequireDualStack"), group("default,ext"));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(texts(&server, "web"), "10.1.0.0,2001:db8:2::");
    assert_eq!(server.annotation("web", "purelb.io/allocated-from").unwrap(), "default, ext");
    // Without the other family the sidecar is not called.
    for name in ["x", "y", "z"] {
        server.put_service(name, one(80), json!({}));
    }
    server.put_service("late", both("RequireDualStack"), group("default,ext"));
    sidecar.take_calls();
    sidecar.settle(&mut server, &mut replica);
    assert_eq!((texts(&server, "late"), sidecar.of("late").len()), (String::new(), 0));
    server.delete_service("web");
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(texts(&server, "late"), "10.1.0.0,2001:db8:2::");
    assert_eq!(sidecar.allocations.len(), 1);
}

#[test]
fn sharers_have_one_address_if_their_ports_differ() {
    let (mut server, mut replica, mut sidecar) = start(4);
    let mut key = group("ext");
    key["purelb.io/allow-shared-ip"] = json!("front");
    for (name, port) in [("a", 80), ("b", 81), ("c", 80)] {
        server.put_service(name, one(port), key.clone());
        sidecar.settle(&mut server, &mut replica);
    }
    assert_eq!((texts(&server, "a"), texts(&server, "b")), ("192.0.2.0".to_owned(), "192.0.2.0".to_owned()));
    assert_eq!(texts(&server, "c"), "");
    assert!(replica.take_reports().join("\n").contains("port TCP/80 is already in use by shop/a"));
    // Only its own allocation is given back.
    server.delete_service("a");
    sidecar.settle(&mut server, &mut replica);
    assert_eq!((sidecar.of("b").len(), texts(&server, "b")), (1, "192.0.2.0".to_owned()));
}

#[test]
fn a_service_of_the_same_name_waits_for_the_release() {
    let (mut server, mut replica, mut sidecar) = start(4);
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    sidecar.take_calls();
    server.delete_service("web");
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(sidecar.take_calls()[..2], ["release web", "allocate web 10"]);
    assert_eq!(texts(&server, "web"), "192.0.2.0");
}

#[test]
fn a_group_that_goes_leaves_its_addresses_and_still_takes_them_back() {
    let (mut server, mut replica, mut sidecar) = start(4);
    server.put_service("web", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    server.delete_group("ext");
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(texts(&server, "web"), "192.0.2.0");
    server.put_service("late", one(80), group("ext"));
    server.delete_service("web");
    sidecar.settle(&mut server, &mut replica);
    assert_eq!((sidecar.allocations.len(), texts(&server, "late")), (0, String::new()));
    server.put_group("ext", &external());
    sidecar.settle(&mut server, &mut replica);
    assert_eq!(texts(&server, "late"), "192.0.2.0");
}

#[test]
fn a_group_moves_to_another_socket() {
    let (mut server, mut replica, mut sidecar) = start(4);
    server.put_service("has", one(80), group("ext"));
    sidecar.settle(&mut server, &mut replica);
    sidecar.behavior = Behavior::NotAnswering;
    for name in ["a", "b"] {
        server.put_service(name, one(80), group("ext"));
    }
    sidecar.settle(&mut server, &mut replica);
    let mut moved = external();
    moved["external"]["socket"] = json!("/run/other.sock");
    replica.take_reports();
    server.put_group("ext", &moved);
    replica.settle(&mut server);
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains("was /run/ipam.sock and is /run/other.sock"), "{reports}");
    assert!(reports.contains("in the old one by hand: 192.0.2.0 of shop/has"), "{reports}");
    sidecar.behavior = Behavior::Normal;
    let call = replica.index.next_call(sidecar.now).unwrap();
    assert_eq!(call.socket, "/run/other.sock");
    let answer = sidecar.answer(&call);
    replica.index.call_answered(&call, &answer, sidecar.now);
    sidecar.settle(&mut server, &mut replica);
    assert!(["has", "a", "b"].iter().all(|name| server.addresses(name).len() == 1));
}

#[test]
fn a_group_that_moved_while_no_allocator_ran_is_told() {
    let (mut server, mut replica, mut sidecar) = start(4);
    for name in ["has", "gone"] {
        server.put_service(name, one(80), group("ext"));
    }
    sidecar.settle(&mut server, &mut replica);
    sidecar.behavior = Behavior::NotAnswering;
    server.delete_service("gone");
    sidecar.settle(&mut server, &mut replica);
    let mut moved = external();
    moved["external"]["socket"] = json!("/run/other.sock");
    server.put_group("ext", &moved);
    let mut replica = Replica::leader(&mut server, false, "f2");
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains("was /run/ipam.sock and is /run/other.sock"), "{reports}");
    assert!(reports.contains("192.0.2.0 of shop/has, all of shop/gone, to be given back"), "{reports}");
}

#[test]
fn multi_pool_does_not_apply_to_a_sidecar() {
    let (mut server, mut replica, mut sidecar) = start(4);
    let mut multi = group("ext");
    multi["purelb.io/multi-pool"] = json!("true");
    server.put_service("web", one(80), multi);
    sidecar.settle(&mut server, &mut replica);
    server.put_service("web", one(81), json!({}));
    sidecar.settle(&mut server, &mut replica);
    assert_eq!((texts(&server, "web"), server.writes["web"]), ("192.0.2.0".to_owned(), 2));
    server.put_service("pinned", one(80), json!({"purelb.io/addresses": "192.0.2.3"}));
    sidecar.settle(&mut server, &mut replica);
    assert!(replica.take_reports().join("\n").contains("does not belong to any group"));
}

/// A group with ranges is made over what a sidecar gave: the Service has that from the sidecar all the same, which must not
/// give it to others.
#[test]
fn a_range_that_is_made_over_what_a_sidecar_gave_takes_nothing_back() {
    for restarts in [false, true] {
        let (mut server, mut replica, mut sidecar) = start(4);
        sidecar.lists = Some(100);
        server.put_service("web", one(80), group("ext"));
        sidecar.settle(&mut server, &mut replica);
        server.put_group("over", &json!({"local": {"v4pool": {"pool": "192.0.2.0/28", "subnet": "192.0.2.0/24"}}}));
        sidecar.settle(&mut server, &mut replica);
        if restarts {
            replica = Replica::leader(&mut server, false, "f2");
        }
        // Something about the Service changes, so that it is planned again.
        server.put_service("web", one(81), json!({}));
        sidecar.later(11, &mut server, &mut replica);
        sidecar.later(61, &mut server, &mut replica);
        let has = |sidecar: &Sidecar, name: &str| sidecar.of(name).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!((&*texts(&server, "web"), has(&sidecar, "web")), ("192.0.2.0", vec!["192.0.2.0".to_owned()]));
        assert!(!sidecar.take_calls().iter().any(|call| call.starts_with("release") || call.starts_with("restore")));
        assert_eq!(server.annotation("web", "purelb.io/allocated-from").unwrap(), "ext");
        assert!(!replica.take_reports().iter().any(|text| text.starts_with("IPAMDiffers")));
        // It is not given to others, and more is asked of the sidecar for the Service.
        server.put_service("other", one(80), group("over"));
        server.put_service("web", both("RequireDualStack"), json!({}));
        sidecar.settle(&mut server, &mut replica);
        assert_eq!(texts(&server, "other"), "192.0.2.1");
        assert_eq!((&*texts(&server, "web"), sidecar.of("web").len()), ("192.0.2.0,2001:db8:2::", 2));
        // When the Service leaves, the sidecar has it back.
        server.delete_service("web");
        sidecar.settle(&mut server, &mut replica);
        assert_eq!(sidecar.of("web").len(), 0);
    }
}
