//! Addresses that no Service may be given: those of nodes, gateways and subnets, and the external IPs of others.

use std::time::Duration;

use runtime::BootTime;
use serde_json::{Value, json};

use super::api_server::ApiServer;
use super::fixtures::{group, one, shared, start, texts};
use super::replica::{Replica, lease};
use crate::model::{ExternalIps, Node, Port, Protocol, ServiceName};

const SUBNET: &str = "192.168.50.0/24";

fn local(pool: &str) -> Value {
    json!({"local": {"v4pools": [{"pool": pool, "subnet": SUBNET}]}})
}

fn routed(pool: &str) -> Value {
    json!({"remote": {"v4pools": [{"pool": pool, "subnet": SUBNET}]}})
}

fn node(name: &str, addresses: &[&str]) -> Node {
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Node { name: name.to_owned(), addresses, pod_networks: Vec::new(), excluded: false }
}

fn pin(address: &str) -> Value {
    json!({"purelb.io/addresses": address})
}

fn condition(replica: &mut Replica, group: &str, kind: &str) -> Option<String> {
    let status = replica.group_status(group);
    let found = status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)?.clone();
    Some(found["message"].as_str()?.to_owned())
}

#[test]
fn case_01_a_nodes_own_address_is_never_given_and_the_group_says_whose_it_is() {
    let (mut server, mut replica) =
        start(&[("x", local("192.168.50.12/32")), ("y", local("192.168.50.13-192.168.50.16"))]);
    replica.put_member("node1", SUBNET, "192.168.50.11,10.0.0.7,192.168.50.13");
    replica.index.reset_nodes(vec![node("node1", &["192.168.50.11"]), node("node2", &["192.168.50.12"])]);
    server.put_service("a", one("IPv4"), group("x"));
    server.put_service("b", one("IPv4"), group("y"));
    server.put_service("c", one("IPv4"), pin("192.168.50.12"));
    replica.settle(&mut server);
    assert_eq!((texts(&server, "a"), texts(&server, "b")), (String::new(), "192.168.50.14".to_owned()));
    assert_eq!(texts(&server, "c"), "");
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains("192.168.50.12 is node2's own address"), "{reports}");
    assert!(reports.contains("(reserved: 1; the condition ReservedAddresses"), "{reports}");
    assert_eq!(
        condition(&mut replica, "x", "ReservedAddresses").unwrap(),
        "given to no Service: 192.168.50.12 (node2's own address)"
    );
    let status = replica.group_status("y");
    assert_eq!((&status["allocatedIPv4"], &status["availableIPv4"]), (&json!(1), &json!(2)));
    // The node is gone: whoever waits gets its address.
    replica.index.delete_node("node2");
    replica.settle(&mut server);
    assert_eq!(texts(&server, "a"), "192.168.50.12");
    assert_eq!(condition(&mut replica, "x", "ReservedAddresses"), None);
}

#[test]
fn a_lease_that_has_run_out_keeps_addresses_reserved_while_its_node_exists() {
    let (mut server, mut replica) = start(&[("default", local("192.168.50.11-192.168.50.12"))]);
    let mut gone = lease("node1", SUBNET, "192.168.50.11");
    gone.metadata
        .annotations
        .as_mut()
        .unwrap()
        .insert(api_types::lease::GATEWAYS.to_owned(), "192.168.50.12".to_owned());
    replica.index.reset_nodes(vec![node("node1", &[])]);
    replica.put_lease(&gone);
    replica.index.expire_leases(BootTime::now() + Duration::from_secs(3600));
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "");
    let message = condition(&mut replica, "default", "ReservedAddresses").unwrap();
    assert!(message.contains("192.168.50.12 (a gateway of node1)"), "{message}");
    replica.index.delete_node("node1");
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "192.168.50.11");
}

#[test]
fn case_04_a_node_that_lists_what_we_announce_reserves_nothing() {
    let (mut server, mut replica) = start(&[("default", local("192.168.50.200-192.168.50.201"))]);
    let (spec, annotations) = shared("k", 80);
    server.put_service("web", spec, annotations);
    replica.settle(&mut server);
    replica.take_reports();
    replica.index.apply_node(node("node1", &["192.168.50.11", "192.168.50.200"]));
    let (spec, annotations) = shared("k", 443);
    server.put_service("more", spec, annotations);
    replica.settle(&mut server);
    assert_eq!(
        (texts(&server, "web"), texts(&server, "more")),
        ("192.168.50.200".to_owned(), "192.168.50.200".to_owned())
    );
    assert!(!replica.take_reports().join("\n").contains("ReservedAddress"));
    assert_eq!(condition(&mut replica, "default", "ReservedAddresses"), None);
    assert_eq!(server.writes["web"], 1);
}

#[test]
fn a_service_keeps_an_address_that_becomes_a_nodes_and_is_told_once() {
    let (mut server, mut replica) = start(&[("default", local("192.168.50.200-192.168.50.203"))]);
    server.put_service("web", one("IPv4"), json!({}));
    replica.settle(&mut server);
    replica.take_reports();
    let told = |replica: &mut Replica| {
        replica
            .take_reports()
            .iter()
            .filter(|text| text.starts_with("ReservedAddress 192.168.50.200 is also node3's"))
            .count()
    };
    replica.put_member("node3", SUBNET, "192.168.50.200");
    replica.put_member("node3", SUBNET, "192.168.50.200,192.168.50.13");
    replica.settle(&mut server);
    assert_eq!((texts(&server, "web"), told(&mut replica)), ("192.168.50.200".to_owned(), 1));
    // Judged as new, it keeps the address too: this is how a Service of another load balancer is taken over.
    for annotations in [
        json!({"purelb.io/re-evaluate": "true"}),
        json!({"purelb.io/re-evaluate": "true", "purelb.io/addresses": "192.168.50.200"}),
    ] {
        server.put_service("web", one("IPv4"), annotations);
        replica.settle(&mut server);
        assert_eq!((texts(&server, "web"), told(&mut replica)), ("192.168.50.200".to_owned(), 0));
    }
    // Others may not join.
    let (spec, mut annotations) = shared("k", 443);
    annotations["purelb.io/addresses"] = json!("192.168.50.200");
    server.put_service("more", spec, annotations);
    replica.settle(&mut server);
    assert_eq!(texts(&server, "more"), "");
    // A new leader tells it again.
    let mut next = Replica::leader(&mut server, true, "f2");
    next.put_member("node3", SUBNET, "192.168.50.200");
    next.settle(&mut server);
    assert_eq!((texts(&server, "web"), told(&mut next)), ("192.168.50.200".to_owned(), 1));
    // Moved by pin, it leaves the address to the node.
    server.put_service(
        "web",
        one("IPv4"),
        json!({"purelb.io/re-evaluate": "true", "purelb.io/addresses": "192.168.50.201"}),
    );
    next.settle(&mut server);
    assert_eq!(texts(&server, "web"), "192.168.50.201");
}

#[test]
fn case_06_a_local_group_never_gives_network_and_broadcast_addresses_but_others_do() {
    let v1 = json!({"local": {"pool": "192.168.51.255/32", "subnet": "192.168.51.0/24", "aggregation": "default", "announce": "SubnetOrRouted"}});
    let (mut server, mut replica) = start(&[
        ("x", local("192.168.50.254/31")),
        ("old", v1),
        ("r", json!({"remote": {"v4pools": [{"pool": "172.30.0.0/32", "subnet": "172.30.0.0/24"}]}})),
    ]);
    for (name, from) in [("a", "x"), ("b", "x"), ("c", "old"), ("d", "r")] {
        server.put_service(name, one("IPv4"), group(from));
    }
    replica.settle(&mut server);
    let all: Vec<String> = ["a", "b", "c", "d"].iter().map(|name| texts(&server, name)).collect();
    assert_eq!(all, ["192.168.50.254", "", "192.168.51.255", "172.30.0.0"]);
    let message = condition(&mut replica, "x", "ReservedAddresses").unwrap();
    assert_eq!(message, "given to no Service: 192.168.50.255 (the broadcast address of 192.168.50.0/24)");
    assert_eq!(condition(&mut replica, "old", "ReservedAddresses"), None);
}

#[test]
fn case_08_a_group_that_no_node_can_announce_says_so() {
    let (mut server, mut replica) = start(&[
        ("far", json!({"local": {"v4pools": [{"pool": "192.168.77.0/28", "subnet": "192.168.77.0/24"}]}})),
        ("near", local("192.168.50.200/29")),
        ("r", routed("192.168.50.100/30")),
    ]);
    // Leases that were never read say nothing.
    assert_eq!(condition(&mut replica, "far", "NoNodeInSubnet"), None);
    replica.index.reset_leases(&[], BootTime::now(), k8s_openapi::jiff::Timestamp::UNIX_EPOCH);
    assert!(condition(&mut replica, "far", "NoNodeInSubnet").unwrap().contains("no agent runs"));
    replica.put_member("node1", SUBNET, "");
    server.put_service("web", one("IPv4"), group("far"));
    replica.settle(&mut server);
    let message = condition(&mut replica, "far", "NoNodeInSubnet").unwrap();
    assert!(message.starts_with("no node can announce 192.168.77.0/28: ") && message.contains(SUBNET), "{message}");
    assert_eq!(condition(&mut replica, "near", "NoNodeInSubnet"), None);
    assert_eq!(condition(&mut replica, "r", "NoNodeInSubnet"), None);
}

#[test]
fn case_48_ranges_that_no_host_can_have_are_refused() {
    let (mut server, mut replica) =
        start(&[("x", json!({"remote": {"v4pools": [{"pool": "169.254.100.0/28", "subnet": "169.254.100.0/24"}]}}))]);
    server.put_service("web", one("IPv4"), group("x"));
    replica.settle(&mut server);
    let status = replica.group_status("x");
    assert_eq!(
        (&status["conditions"][0]["status"], &status["conditions"][0]["reason"]),
        (&json!("False"), &json!("InvalidRange"))
    );
    assert!(status["conditions"][0]["message"].as_str().unwrap().contains("link-local"), "{status}");
}

#[test]
fn case_55_external_ips_are_given_last_and_pinned_in_their_namespace_only() {
    let (mut server, mut replica) = start(&[("default", local("192.168.50.210-192.168.50.212"))]);
    replica.index.reset_external_ips(vec![
        (ServiceName::new("shop", "cluster"), external_ips("192.168.50.210", &[8443])),
        (ServiceName::new("other", "theirs"), external_ips("192.168.50.211", &[22])),
    ]);
    server.put_service("a", one("IPv4"), json!({}));
    server.put_service("no", one("IPv4"), pin("192.168.50.211"));
    replica.settle(&mut server);
    assert_eq!((texts(&server, "a"), texts(&server, "no")), ("192.168.50.212".to_owned(), String::new()));
    let reports = replica.take_reports().join("\n");
    assert!(reports.contains("192.168.50.211 is an external IP of a Service of another namespace"), "{reports}");
    assert_eq!(
        condition(&mut replica, "default", "ReservedAddresses").unwrap(),
        "given when no other address is free: 192.168.50.210 (an external IP of shop/cluster), 192.168.50.211 (an external IP of other/theirs)"
    );
    assert_eq!(replica.group_status("default")["availableIPv4"], 2);
    server.put_service("pinned", one("IPv4"), pin("192.168.50.210"));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "pinned"), "192.168.50.210");
    assert!(!replica.take_reports().join("\n").contains("ReservedAddress"));
    assert_eq!(vip_ports(&server, "pinned"), json!("192.168.50.210,tcp,8443"));
    // Rather than leave a Service without an address.
    server.put_service("last", one("IPv4"), json!({}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "last"), "192.168.50.211");
    let reports = replica.take_reports().join("\n");
    assert!(
        reports.contains("ReservedAddress 192.168.50.211 is also an external IP of a Service of another"),
        "{reports}"
    );
    assert!(reports.contains("whose ports are closed on it"), "{reports}");
    assert_eq!(vip_ports(&server, "last"), json!(null));
}

fn external_ips(address: &str, ports: &[u16]) -> ExternalIps {
    let ports = ports.iter().map(|number| Port { protocol: Protocol::Tcp, number: *number });
    ExternalIps { addresses: vec![address.parse().unwrap()], ports: ports.collect() }
}

fn vip_ports(server: &ApiServer, name: &str) -> Value {
    server.services[name]["metadata"]["annotations"]["purelb.io/vip-ports"].clone()
}

#[test]
fn case_55_ports_of_external_ips_are_written_where_the_address_is() {
    let (mut server, mut replica) = start(&[("default", local("192.168.50.210-192.168.50.212"))]);
    server.put_service("web", one("IPv4"), pin("192.168.50.210"));
    replica.settle(&mut server);
    assert_eq!(vip_ports(&server, "web"), json!(null));
    let other = ServiceName::new("shop", "cluster");
    let mut written = |ips: ExternalIps, expected: &Value| {
        replica.index.set_external_ips(&other, ips);
        replica.settle(&mut server);
        assert_eq!(&vip_ports(&server, "web"), expected);
        let before = server.services["web"]["metadata"]["resourceVersion"].clone();
        replica.settle(&mut server);
        assert_eq!(server.services["web"]["metadata"]["resourceVersion"], before, "at rest");
    };
    written(external_ips("192.168.50.210", &[8443]), &json!("192.168.50.210,tcp,8443"));
    written(external_ips("192.168.50.210", &[22, 8443]), &json!("192.168.50.210,tcp,22 192.168.50.210,tcp,8443"));
    let many: Vec<u16> = (1..40).collect();
    let first: Vec<String> = (1..17).map(|port| format!("192.168.50.210,tcp,{port}")).collect();
    written(external_ips("192.168.50.210", &many), &json!(first.join(" ")));
    written(external_ips("192.168.50.211", &[22]), &json!(null));
}

#[test]
fn case_55_external_ips_of_a_load_balancer_announce_nothing() {
    let (mut server, mut replica) = start(&[("default", local("192.168.50.215-192.168.50.216"))]);
    let mut spec = one("IPv4");
    spec["externalIPs"] = json!(["192.168.50.215", "203.0.113.1"]);
    server.put_service("web", spec, json!({}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "192.168.50.216");
    let reports = replica.take_reports();
    let told: Vec<_> =
        reports.iter().filter(|text| text.starts_with("ConfigurationWarning spec.externalIPs")).collect();
    assert_eq!(told.len(), 1, "{reports:?}");
    assert!(told[0].contains("192.168.50.215") && told[0].contains("purelb.io/addresses"), "{told:?}");
    // Without the field, the address is free.
    server.put_service("web", one("IPv4"), json!({}));
    server.put_service("next", one("IPv4"), json!({}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "next"), "192.168.50.215");
}

#[test]
fn a_port_in_use_names_the_holder_in_the_same_namespace_only() {
    let (mut server, mut replica) = start(&[("default", local("192.168.50.200-192.168.50.203"))]);
    for name in ["a", "b"] {
        let (spec, annotations) = shared("k", 80);
        server.put_service(name, spec, annotations);
        if name == "b" {
            server.services.get_mut("b").unwrap()["metadata"]["namespace"] = json!("other");
            let object = server.services["b"].clone();
            server.deliveries.pop_back();
            server.deliveries.push_back(super::api_server::Delivery::Service(object));
        }
        replica.settle(&mut server);
    }
    let reports = replica.take_reports().join("\n");
    assert!(
        reports.contains("port TCP/80 is already in use by a Service of another namespace on 192.168.50.200"),
        "{reports}"
    );
    assert!(reports.contains("another value of the annotation purelb.io/allow-shared-ip"), "{reports}");
    assert!(!reports.contains("use by shop/a"), "{reports}");
}
