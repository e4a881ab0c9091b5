//! Shared addresses and duplicates (specification, allocation.md 7).

use serde_json::json;

use super::api_server::ApiServer;
use super::fixtures::{one, shared, start, texts, v4};
use super::replica::Replica;

#[test]
fn sharing_by_key_with_disjoint_ports() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    for (name, key, port) in [("a", "k", 80), ("b", "k", 443), ("c", "k", 80), ("d", "other", 80)] {
        let (spec, annotations) = shared(key, port);
        server.put_service(name, spec, annotations);
        replica.settle(&mut server);
    }
    assert_eq!(texts(&server, "a"), "10.1.0.0");
    assert_eq!(texts(&server, "b"), "10.1.0.0");
    assert_eq!(texts(&server, "c"), "");
    assert_eq!(texts(&server, "d"), "10.1.0.1");
    assert!(replica.take_reports().join("\n").contains("port TCP/80 is already in use by shop/a"));
    assert_eq!(replica.group_status("default")["allocatedIPv4"], 2);
    // The port is freed: the waiting one comes in.
    server.delete_service("a");
    replica.settle(&mut server);
    assert_eq!(texts(&server, "c"), "10.1.0.0");
}

#[test]
fn a_new_sharer_follows_the_kind_in_use_when_that_of_the_group_has_changed() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    let mut put = |server: &mut ApiServer, name: &str, port| {
        let (spec, annotations) = shared("k", port);
        server.put_service(name, spec, annotations);
        replica.settle(server);
        server.annotation(name, "purelb.io/pool-type").unwrap()
    };
    assert_eq!(put(&mut server, "a", 80), "local");
    server.put_group("default", &json!({"remote": {"v4pool": {"pool": "10.1.0.0/24", "subnet": "10.1.0.0/24"}}}));
    assert_eq!((put(&mut server, "b", 81), texts(&server, "b")), ("local".to_owned(), "10.1.0.0".to_owned()));
    // An address that nobody had is of the kind that the group has now.
    server.delete_service("a");
    server.delete_service("b");
    assert_eq!(put(&mut server, "c", 82), "remote");
    assert_eq!(put(&mut server, "d", 83), "remote");
}

#[test]
fn sharing_edits_move_nobody_and_are_reported() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    for (name, port) in [("a", 80), ("b", 443)] {
        let (spec, annotations) = shared("k", port);
        server.put_service(name, spec, annotations);
        replica.settle(&mut server);
    }
    replica.take_reports();
    let (spec, _) = shared("k", 80);
    server.put_service("b", spec.clone(), json!({}));
    replica.settle(&mut server);
    assert!(
        replica
            .take_reports()
            .join("\n")
            .contains("SharingConflict 10.1.0.0 is also in use by shop/a: both want port TCP/80")
    );
    server.put_service("b", spec, json!({"purelb.io/allow-shared-ip": null}));
    replica.settle(&mut server);
    assert!(replica.take_reports().join("\n").contains("no longer agree"));
    assert_eq!((texts(&server, "a"), texts(&server, "b")), ("10.1.0.0".to_owned(), "10.1.0.0".to_owned()));
}

#[test]
fn a_sharing_conflict_has_a_condition_as_long_as_it_lasts() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    for (name, port) in [("a", 80), ("b", 443)] {
        let (spec, annotations) = shared("k", port);
        server.put_service(name, spec, annotations);
        replica.settle(&mut server);
    }
    let theirs = json!({"type": "example.com/Checked", "status": "True"});
    server.services.get_mut("b").unwrap()["status"]["conditions"] = json!([theirs]);
    let conditions = |server: &ApiServer, name: &str| server.services[name]["status"]["conditions"].clone();
    let (spec, annotations) = shared("k", 80);
    server.put_service("b", spec.clone(), annotations);
    replica.settle(&mut server);
    let known = conditions(&server, "b");
    assert_eq!((&known[0], &known[1]["type"]), (&theirs, &json!("purelb.io/SharingConflict")));
    assert_eq!((&known[1]["status"], &known[1]["reason"]), (&json!("True"), &json!("SharingConflict")));
    assert_eq!(
        known[1]["message"],
        "10.1.0.0 is also in use by shop/a: both want port TCP/80; both keep the address, but only one gets the traffic of the port"
    );
    assert!(conditions(&server, "a")[0]["message"].as_str().unwrap().contains("shop/b"));
    assert_eq!((server.writes["a"], server.writes["b"]), (2, 2));
    // The sentence changes with the cause.
    server.put_service("b", spec, json!({"purelb.io/allow-shared-ip": null}));
    replica.settle(&mut server);
    assert!(conditions(&server, "b")[1]["message"].as_str().unwrap().contains("no longer agree"));
    // A new leader finds nothing to write.
    let writes = server.writes.clone();
    let mut replica = Replica::leader(&mut server, true, "f2");
    replica.settle(&mut server);
    assert_eq!(server.writes, writes);
    // Mended by one of them, it goes from both.
    let (spec, annotations) = shared("k", 443);
    server.put_service("b", spec.clone(), annotations);
    replica.settle(&mut server);
    assert_eq!((conditions(&server, "a"), conditions(&server, "b")), (json!([]), json!([theirs])));
    // And when one of them goes, also if it only ceases to be a LoadBalancer.
    let (same, annotations) = shared("k", 80);
    server.put_service("b", same, annotations);
    replica.settle(&mut server);
    server.delete_service("a");
    replica.settle(&mut server);
    assert_eq!(conditions(&server, "b"), json!([theirs]));
}

#[test]
fn a_condition_of_ours_goes_with_the_type() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    for (name, port) in [("a", 80), ("b", 443)] {
        let (spec, annotations) = shared("k", port);
        server.put_service(name, spec, annotations);
        replica.settle(&mut server);
    }
    let (spec, annotations) = shared("k", 80);
    server.put_service("b", spec, annotations);
    replica.settle(&mut server);
    // The API server takes the addresses off by itself, and nothing else.
    let known = server.services["b"]["status"]["conditions"].clone();
    server.put_service("b", json!({"type": "ClusterIP"}), json!({}));
    server.services.get_mut("b").unwrap()["status"]["conditions"] = known.clone();
    let gone = serde_json::from_value::<crate::model::WatchedService>(server.services["b"].clone()).unwrap();
    replica.index.delete_service(&gone.as_leftover());
    replica.settle(&mut server);
    assert_eq!(server.services["b"]["status"]["conditions"], json!([]), "{known}");
    assert_eq!(server.services["a"]["status"]["conditions"], json!([]));
}

#[test]
fn a_duplicate_is_repaired_and_the_older_keeps_the_address() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("old", one("IPv4"), json!({}));
    replica.settle(&mut server);
    server.put_service("new", one("IPv4"), json!({}));
    replica.settle(&mut server);
    let duplicate = json!({"loadBalancer": {"ingress": [{"ip": "10.1.0.0"}]}});
    server.set_status("new", crate::FIELD_MANAGER, duplicate.clone());
    replica.settle(&mut server);
    assert_eq!((texts(&server, "old"), texts(&server, "new")), ("10.1.0.0".to_owned(), "10.1.0.1".to_owned()));
    assert_eq!(replica.take_reports().iter().filter(|text| text.starts_with("DuplicateAddress")).count(), 2);
    // Found at start too.
    server.set_status("new", crate::FIELD_MANAGER, duplicate);
    let mut replica = Replica::leader(&mut server, true, "f2");
    replica.settle(&mut server);
    assert_eq!((texts(&server, "old"), texts(&server, "new")), ("10.1.0.0".to_owned(), "10.1.0.1".to_owned()));
}
