//! Edits of a living Service, and its end.

use serde_json::{Value, json};

use super::fixtures::{both, dual, group, one, shared, start, texts, v4};
use super::replica::Replica;

#[test]
fn case_19_an_edit_that_does_not_move_the_service_is_answered_once() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24")), ("other", v4("10.2.0.0/24"))]);
    let mut with_ip = one("IPv4");
    with_ip["loadBalancerIP"] = json!("10.2.0.9");
    let edits: [(&str, Value, Value); 5] = [
        ("group", one("IPv4"), group("other")),
        ("pin", one("IPv4"), json!({"purelb.io/addresses": "10.2.0.7"})),
        ("ip", with_ip, json!({})),
        ("key", one("IPv4"), json!({"purelb.io/allow-shared-ip": "k"})),
        ("gone", one("IPv4"), group("nope")),
    ];
    let (spec, annotations) = shared("k", 443);
    server.put_service("sharer", spec, annotations);
    for (name, _, _) in &edits {
        server.put_service(name, one("IPv4"), json!({}));
    }
    replica.settle(&mut server);
    let (before, writes) = (server.services.clone(), server.writes.clone());
    replica.take_reports();
    for (name, spec, annotations) in edits {
        server.put_service(name, spec, annotations);
        replica.settle(&mut server);
        let reports = replica.take_reports();
        assert_eq!(reports.len(), 1, "{name}: {reports:?}");
        assert!(reports[0].starts_with("ReEvaluateNeeded the Service keeps 10.1.0."), "{reports:?}");
        let says = if name == "gone" { "unknown pool \"nope\"" } else { "purelb.io/re-evaluate: \"true\"" };
        assert!(reports[0].contains(says), "{reports:?}");
        assert_eq!(server.services[name]["status"], before[name]["status"]);
        // Nothing is said of an edit that asks for nothing else.
        let spec = server.services[name]["spec"].clone();
        server.put_service(name, spec, json!({"purelb.io/node-affinity": "service-endpoints"}));
        replica.settle(&mut server);
        assert!(replica.take_reports().is_empty());
    }
    assert_eq!(server.writes, writes);
    // A new leader does not say it again.
    let mut replica = Replica::leader(&mut server, true, "f2");
    replica.settle(&mut server);
    assert!(!replica.take_reports().join("\n").contains("ReEvaluateNeeded"));
}

#[test]
fn case_19_an_edit_of_the_group_is_answered_as_well() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    server.put_group("default", &v4("10.3.0.0/24"));
    replica.settle(&mut server);
    assert!(replica.take_reports().join("\n").contains("ReEvaluateNeeded the Service keeps 10.1.0.0"));
    assert_eq!((texts(&server, "web"), server.writes["web"]), ("10.1.0.0".to_owned(), 1));
}

#[test]
fn case_21_a_service_that_is_being_deleted_gives_back_first() {
    let (mut server, mut replica) = start(&[("default", dual("10.1.0.0/32", "2001:db8:1::/128"))]);
    server.put_service("web", both("RequireDualStack"), json!({}));
    replica.settle(&mut server);
    server.put_service("next", both("RequireDualStack"), json!({}));
    server.put_service("waits", both("RequireDualStack"), json!({}));
    server.begin_deletion("waits");
    replica.settle(&mut server);
    server.begin_deletion("web");
    while replica.deliver(&mut server) {}
    // The write is under way: the address is not free yet.
    assert!(replica.send() && !replica.send());
    assert_eq!(texts(&server, "next"), "");
    replica.settle(&mut server);
    assert_eq!((texts(&server, "web"), texts(&server, "waits")), (String::new(), String::new()));
    assert_eq!(server.writes["web"], 2);
    let left = server.services["web"]["metadata"]["annotations"].as_object().unwrap().clone();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(texts(&server, "next"), "10.1.0.0,2001:db8:1::");
    // Nothing new, whatever is asked for.
    server.put_service("web", both("RequireDualStack"), json!({"purelb.io/re-evaluate": "true"}));
    server.delete_service("next");
    replica.settle(&mut server);
    assert_eq!((texts(&server, "web"), server.writes["web"]), (String::new(), 2));
}

#[test]
fn case_21_another_load_balancers_address_stays_until_the_end() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("web", one("IPv4"), json!({}));
    server.set_ingress("web", &["203.0.113.7"]);
    server.begin_deletion("web");
    while replica.deliver(&mut server) {}
    replica.settle(&mut server);
    assert!(!server.writes.contains_key("web"));
}

#[test]
fn case_70_families_stand_in_the_order_of_the_service() {
    let (mut server, mut replica) = start(&[("default", dual("10.1.0.0/24", "2001:db8:1::/64"))]);
    server.put_service("web", both("RequireDualStack"), json!({}));
    replica.settle(&mut server);
    server.put_group("default", &dual("10.9.0.0/24", "2001:db8:1::/64"));
    server.put_service("web", both("RequireDualStack"), json!({"purelb.io/re-evaluate": "true"}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.9.0.0,2001:db8:1::");
    assert_eq!(server.annotation("web", "purelb.io/allocated-addresses").unwrap(), "10.9.0.0,2001:db8:1::");
}

#[test]
fn case_72_a_service_is_released_to_another_load_balancer() {
    let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
    server.put_service("web", one("IPv4"), json!({}));
    let mut classed = one("IPv4");
    classed["loadBalancerClass"] = json!("purelb.io/purelb");
    server.put_service("classed", classed.clone(), json!({}));
    replica.settle(&mut server);
    let (released, kept) = (texts(&server, "web"), texts(&server, "classed"));
    replica.take_reports();
    server.put_service("web", one("IPv4"), json!({"purelb.io/release": "true"}));
    server.put_service("classed", classed, json!({"purelb.io/release": "true"}));
    replica.settle(&mut server);
    assert_eq!((texts(&server, "web"), texts(&server, "classed")), (String::new(), kept));
    assert_eq!(server.writes["web"], 2, "one write to give and one to take");
    for key in ["allocated-by", "allocated-from", "allocated-addresses", "allocated-to", "pool-type"] {
        assert_eq!(server.annotation("web", &format!("purelb.io/{key}")), None, "{key}");
    }
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains(&format!("Released {released}, as the annotation purelb.io/release asks")), "{reports}");
    assert!(reports.contains("purelb.io/release has no effect on a Service whose spec.loadBalancerClass"), "{reports}");
    // What the other load balancer gives stays its own, and a new leader finds it so.
    server.set_ingress("web", &["198.51.100.7"]);
    replica.settle(&mut server);
    let mut replica = Replica::leader(&mut server, true, "f2");
    replica.settle(&mut server);
    assert_eq!((texts(&server, "web"), server.writes["web"]), ("198.51.100.7".to_owned(), 2));
}

#[test]
fn case_77_and_86_what_has_no_effect_is_told_once() {
    let (mut server, mut replica) = start(&[("default", dual("10.1.0.0/24", "2001:db8:1::/64"))]);
    let mut sticky = one("IPv4");
    sticky["sessionAffinity"] = json!("ClientIP");
    server.put_service("kube-dns", one("IPv4"), json!({}));
    server.deliveries.clear();
    server.edit_service("kube-dns", "x", |service| service["metadata"]["namespace"] = json!("kube-system"));
    server.put_service("sticky", sticky, json!({}));
    replica.settle(&mut server);
    let reports = replica.take_reports().join("\n");
    assert_eq!(reports.matches("spec.sessionAffinity: ClientIP holds on each node by itself").count(), 1, "{reports}");
    assert_eq!(reports.matches("kube-system/kube-dns gets no address").count(), 1, "{reports}");
}

#[test]
fn case_73_marks_of_another_object_take_nothing_from_a_service_that_is_served() {
    for list in ["10.1.0.0", "10.1.0.9", ""] {
        let (mut server, mut replica) = start(&[("default", v4("10.1.0.0/24"))]);
        server.put_service("web", one("IPv4"), json!({}));
        replica.settle(&mut server);
        // The group has another range by now, so what is given anew is another address.
        server.put_group("default", &v4("10.2.0.0/24"));
        replica.settle(&mut server);
        server.edit_service("web", "syncer", |object| {
            let annotations = object["metadata"]["annotations"].as_object_mut().unwrap();
            annotations.insert("purelb.io/allocated-addresses".to_owned(), json!(list));
            annotations.insert("purelb.io/allocated-to".to_owned(), json!("another"));
        });
        replica.settle(&mut server);
        assert_eq!(texts(&server, "web"), "10.1.0.0", "{list}");
        assert_eq!(server.annotation("web", "purelb.io/allocated-addresses").as_deref(), Some("10.1.0.0"), "{list}");
        assert_ne!(server.annotation("web", "purelb.io/allocated-to").as_deref(), Some("another"), "{list}");
    }
}
