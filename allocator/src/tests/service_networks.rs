//! Groups that overlap networks of cluster IPs or of pods.

use k8s_openapi::api::networking::v1::ServiceCIDR;
use serde_json::json;

use super::fixtures::{one, start, texts, v4};
use super::replica::Replica;
use crate::model::Node;

fn service_cidr(name: &str, cidrs: &[&str]) -> ServiceCIDR {
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"cidrs": cidrs}})).unwrap()
}

#[test]
fn a_group_that_overlaps_a_service_cidr_is_refused_by_its_name() {
    let (mut server, mut replica) = start(&[("default", v4("10.96.1.0/24"))]);
    replica.index.reset_service_cidrs(vec![service_cidr("kubernetes", &["10.96.0.0/16", "fd00::/108"])]);
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "");
    let ready = replica.group_status("default")["conditions"][0].clone();
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("OverlapsServiceCIDR")));
    let message = ready["message"].as_str().unwrap();
    assert!(message.contains("10.96.0.0/16 of the ServiceCIDR \"kubernetes\""), "{message}");
    // The ServiceCIDR is gone.
    replica.index.delete_service_cidr(&service_cidr("kubernetes", &[]));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.96.1.0");
}

#[test]
fn a_group_in_use_stays_in_force_when_a_service_cidr_appears_also_for_the_next_leader() {
    let (mut server, mut replica) = start(&[("default", v4("10.96.1.0/24"))]);
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    replica.index.apply_service_cidr(&service_cidr("more", &["10.96.0.0/16"]));
    server.put_service("next", one("IPv4"), json!({}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "next"), "10.96.1.1");
    let conditions = replica.group_status("default")["conditions"].clone();
    assert_eq!((&conditions[0]["status"], &conditions[1]["type"]), (&json!("True"), &json!("OverlapsServiceCIDR")));
    let mut next = Replica::leader(&mut server, true, "f2");
    next.index.reset_service_cidrs(vec![service_cidr("more", &["10.96.0.0/16"])]);
    next.settle(&mut server);
    assert_eq!(next.group_status("default")["conditions"][0]["status"], "True");
    assert_eq!((texts(&server, "web"), server.writes["web"]), ("10.96.1.0".to_owned(), 1));
}

#[test]
fn groups_may_be_read_before_the_services_that_use_them() {
    let (mut server, mut replica) = start(&[("default", v4("10.96.1.0/24"))]);
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    let services = server.services.values().filter_map(|object| super::replica::kept(object, true)).collect();
    let metrics = crate::metrics::Metrics::new(&prometheus::Registry::new()).unwrap();
    let mut index = crate::state::Index::new("purelb", metrics);
    index.reset_service_cidrs(vec![service_cidr("kubernetes", &["10.96.0.0/16"])]);
    let spec = v4("10.96.1.0/24");
    index.reset_groups(vec![crate::model::tests::object("purelb", "default", spec)]);
    assert!(index.group_table().get("default").is_none());
    index.reset_services(services);
    assert!(index.group_table().get("default").is_some());
}

#[test]
fn an_overlap_with_a_pod_network_is_a_warning() {
    let (mut server, mut replica) = start(&[("default", v4("10.244.1.0/28"))]);
    let node = |name: &str, network: &str| Node {
        name: name.to_owned(),
        addresses: Vec::new(),
        pod_networks: vec![network.parse().unwrap()],
        excluded: false,
    };
    replica.index.reset_nodes(vec![node("node1", "10.244.1.0/24"), node("node2", "10.244.2.0/24")]);
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.244.1.0");
    let conditions = replica.group_status("default")["conditions"].clone();
    let found = conditions.as_array().unwrap().iter().find(|condition| condition["type"] == "OverlapsPodCIDR").unwrap();
    let message = found["message"].as_str().unwrap();
    assert!(message.contains("10.244.1.0/28 with 10.244.1.0/24 of node1") && !message.contains("node2"), "{message}");
}
