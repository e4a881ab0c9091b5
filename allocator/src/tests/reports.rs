//! What happened to users of other load balancers in the life of a Service. Each test is named after their report.

use serde_json::json;

use super::fixtures::{both, dual, group, one, shared, start, texts, v4};
use super::replica::{Replica, lease};

#[test]
fn metallb_1774_who_waits_for_the_only_address_does_not_get_it_when_the_allocator_restarts() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.7/32"))]);
    server.put_service("z-has", one("IPv4"), json!({}));
    replica.settle(&mut server);
    server.put_service("a-waits", one("IPv4"), json!({}));
    // It is the older one and the first by name.
    server.edit_service("a-waits", "x", |service| {
        service["metadata"]["creationTimestamp"] = json!("2025-01-01T00:00:00Z");
    });
    replica.settle(&mut server);
    let writes = server.writes["z-has"];
    for clean in [true, false] {
        let mut replica = Replica::leader(&mut server, clean, if clean { "f2" } else { "f3" });
        replica.settle(&mut server);
        assert_eq!((texts(&server, "z-has"), texts(&server, "a-waits")), ("10.1.0.7".to_owned(), String::new()));
        assert_eq!(server.writes["z-has"], writes);
    }
}

#[test]
fn metallb_321_of_two_that_name_one_address_the_second_gets_it_when_the_first_is_gone() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    for name in ["old-name", "new-name"] {
        server.put_service(name, one("IPv4"), json!({"purelb.io/addresses": "10.1.0.9"}));
        replica.settle(&mut server);
    }
    assert_eq!((texts(&server, "old-name"), texts(&server, "new-name")), ("10.1.0.9".to_owned(), String::new()));
    assert!(replica.take_reports().join("\n").contains("10.1.0.9"));
    server.delete_service("old-name");
    replica.settle(&mut server);
    assert_eq!(texts(&server, "new-name"), "10.1.0.9");
}

#[test]
fn metallb_2076_a_service_made_again_gets_nothing_of_a_group_that_is_gone() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    server.delete_group("default");
    server.delete_service("web");
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "");
    server.put_group("default", &v4("10.2.0.0/24"));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.2.0.0");
}

#[test]
fn metallb_190_and_kube_vip_1700_another_type_gives_the_address_back_and_the_way_back_takes_no_others() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    let mut node_port = one("IPv4");
    node_port["type"] = json!("NodePort");
    server.put_service("web", node_port, json!({}));
    replica.settle(&mut server);
    assert_eq!(server.annotation("web", "purelb.io/allocated-addresses"), None);
    server.put_service("next", one("IPv4"), json!({}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "next"), "10.1.0.0");
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    assert_eq!((texts(&server, "web"), texts(&server, "next")), ("10.1.0.1".to_owned(), "10.1.0.0".to_owned()));
}

#[test]
fn cloud_provider_openstack_2751_marks_that_were_left_over_do_not_keep_a_service_from_an_address() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    let mut cluster_ip = one("IPv4");
    cluster_ip["type"] = json!("ClusterIP");
    server.put_service("web", cluster_ip, json!({}));
    while replica.deliver(&mut server) {}
    // Nobody takes the marks off before another Service has the address.
    server.put_service("next", one("IPv4"), json!({}));
    let mut replica = Replica::leader(&mut server, true, "f2");
    replica.settle(&mut server);
    assert!(server.annotation("web", "purelb.io/allocated-addresses").is_some());
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    assert_eq!((texts(&server, "web"), texts(&server, "next")), ("10.1.0.1".to_owned(), "10.1.0.0".to_owned()));
}

#[test]
fn cilium_40358_and_41458_a_range_that_grows_or_shrinks_moves_nobody_also_while_others_wait() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.10-10.1.0.12"))]);
    for number in 0..5 {
        server.put_service(&format!("s{number}"), one("IPv4"), json!({}));
        replica.settle(&mut server);
    }
    let has = |server: &_| (0..5).map(|number| texts(server, &format!("s{number}"))).collect::<Vec<_>>();
    assert_eq!(has(&server), ["10.1.0.10", "10.1.0.11", "10.1.0.12", "", ""]);
    server.put_group("default", &v4("10.1.0.9-10.1.0.12"));
    replica.settle(&mut server);
    assert_eq!(has(&server), ["10.1.0.10", "10.1.0.11", "10.1.0.12", "10.1.0.9", ""]);
    server.put_group(
        "default",
        &json!({"local": {"v4pools": [
            {"pool": "10.1.0.9-10.1.0.10", "subnet": "10.0.0.0/8"}, {"pool": "10.1.0.12-10.1.0.13", "subnet": "10.0.0.0/8"}]}}),
    );
    replica.settle(&mut server);
    assert_eq!(has(&server), ["10.1.0.10", "10.1.0.11", "10.1.0.12", "10.1.0.9", "10.1.0.13"]);
    let mut replica = Replica::leader(&mut server, true, "f2");
    let writes = server.writes.clone();
    replica.settle(&mut server);
    assert_eq!(server.writes, writes);
}

#[test]
fn cilium_34106_who_leaves_a_shared_address_and_comes_again_shares_it_again() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    for (name, port) in [("http", 80), ("https", 443), ("dns", 53)] {
        let (spec, annotations) = shared("k", port);
        server.put_service(name, spec, annotations);
    }
    replica.settle(&mut server);
    for name in ["http", "dns"] {
        let port = if name == "http" { 80 } else { 53 };
        server.delete_service(name);
        let mut replica = Replica::leader(&mut server, true, name);
        replica.settle(&mut server);
        let (spec, annotations) = shared("k", port);
        server.put_service(name, spec, annotations);
        replica.settle(&mut server);
        assert!(["http", "https", "dns"].iter().all(|name| texts(&server, name) == "10.1.0.0"));
    }
}

#[test]
fn cilium_39805_the_status_of_a_service_that_is_not_ours_is_left_alone() {
    let (mut server, _) = start(&[("default", v4("10.1.0.0/24"))]);
    let mut classed = one("IPv4");
    classed["loadBalancerClass"] = json!("example.com/f5");
    server.put_service("f5", classed, json!({}));
    server.put_service("no-class", one("IPv4"), json!({}));
    for name in ["f5", "no-class"] {
        server.set_ingress(name, &["203.0.113.7"]);
    }
    let mut replica =
        Replica::leader_with(&mut server, true, "f2", false, Some(crate::model::HeldAddresses::default()));
    server.put_group("default", &v4("10.2.0.0/24"));
    replica.settle(&mut server);
    assert!(server.writes.is_empty(), "{:?}", server.writes);
    assert!(replica.take_reports().iter().all(|report| !report.contains("f5")));
}

#[test]
fn openelb_271_a_group_and_its_services_that_go_together_leave_nothing_behind() {
    let (mut server, mut replica) = start(&[("default", dual("10.1.0.0/31", "2001:db8:1::/127"))]);
    for name in ["a", "b"] {
        server.put_service(name, both("RequireDualStack"), json!({}));
    }
    replica.settle(&mut server);
    server.delete_service("a");
    server.delete_group("default");
    server.delete_service("b");
    replica.settle(&mut server);
    server.put_group("again", &dual("10.1.0.0/31", "2001:db8:1::/127"));
    for name in ["c", "d"] {
        server.put_service(name, both("RequireDualStack"), group("again"));
    }
    replica.settle(&mut server);
    assert_eq!(
        (texts(&server, "c"), texts(&server, "d")),
        ("10.1.0.0,2001:db8:1::".to_owned(), "10.1.0.1,2001:db8:1::1".to_owned())
    );
}

#[test]
fn purelb_2_a_range_that_lists_addresses_is_refused_with_what_to_write_instead() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.29,10.1.0.34"))]);
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    let ready = replica.group_status("default")["conditions"][0].clone();
    assert_eq!((&ready["type"], &ready["status"]), (&json!("Ready"), &json!("False")));
    let message = ready["message"].as_str().unwrap();
    assert!(message.contains("10.1.0.29,10.1.0.34") && message.contains("v4pools"), "{message}");
    assert!(replica.take_reports().join("\n").contains("unknown pool \"default\": the ServiceGroup is refused"));
}

#[test]
fn metallb_2723_who_has_addresses_keeps_them_when_another_service_is_deleted() {
    let (mut server, mut replica) = start(&[("default", dual("10.1.0.0/24", "2001:db8:1::/64"))]);
    replica.put_lease(&lease("node1", "10.1.0.0/24", ""));
    for name in ["a", "b", "c"] {
        server.put_service(name, both("PreferDualStack"), json!({}));
    }
    replica.settle(&mut server);
    let (before, writes) = (texts(&server, "c"), server.writes["c"]);
    server.delete_service("a");
    server.put_service("c", both("PreferDualStack"), json!({"example.com/touched": "true"}));
    replica.settle(&mut server);
    assert_eq!((texts(&server, "c"), server.writes["c"]), (before, writes));
}
