use serde_json::json;

use super::*;

fn watched(value: Value) -> WatchedService {
    serde_json::from_value(value).unwrap()
}

#[test]
fn keeps_what_is_used() {
    let watched = watched(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [{"manager": "x", "fieldsV1": {"f:spec": {}}}],
            "annotations": {
                "purelb.io/service-group": "a,b", "purelb.io/allow-shared-ip": "k", "purelb.io/allocated-by": "PureLB",
                "purelb.io/pool-type": "local", "kubectl.kubernetes.io/last-applied-configuration": "{}"
            }
        },
        "spec": {
            "type": "LoadBalancer", "clusterIP": "10.96.0.1", "ipFamilies": ["IPv6", "IPv4"],
            "ipFamilyPolicy": "PreferDualStack", "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]
        },
        "status": {"loadBalancer": {"ingress": [{"hostname": "x"}, {"ip": "192.0.2.1"}, {"ip": "192.0.2.1"}]}}
    }));
    let service = watched.keep(true).unwrap();
    assert_eq!(service.name.to_string(), "shop/web");
    assert_eq!(service.families, [Family::V6, Family::V4]);
    assert_eq!(service.policy, FamilyPolicy::Prefer);
    assert_eq!(service.addresses, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    assert_eq!(service.other_ingress, [json!({"hostname": "x"})]);
    assert!(service.detailed_ingress.is_empty());
    assert_eq!(service.sharing.ports.len(), 2);
    assert!(service.written.by_us && service.written.any && service.written.groups.is_none());
    assert_eq!(service.written.pool_type, Some(Announce::Local));
    assert_eq!(service.requested.groups.as_deref(), Some("a,b"));
    assert_eq!(service.scope, Scope::Ours);
    assert_eq!(watched.metadata.object.annotations.unwrap().len(), 4);
    assert!(!service.deleting && service.provenance.list.is_none());
    assert_eq!(service.writers.other.as_deref(), Some("x"));
}

#[test]
fn our_list_and_the_form_of_the_entries() {
    let value = json!({
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"purelb.io/allocated-addresses": "192.0.2.1,192.0.2.2", "purelb.io/allocated-to": "u"}
        },
        "spec": {"type": "LoadBalancer"},
        "status": {"loadBalancer": {"ingress": [
            {"ip": "192.0.2.1", "ipMode": "VIP", "ports": [{"port": 80, "protocol": "TCP"}]}, {"ip": "192.0.2.2", "ipMode": "Proxy"}
        ]}}
    });
    let mut service = watched(value).keep(true).unwrap();
    let [one, two]: [IpAddr; 2] = service.addresses.clone().try_into().unwrap();
    assert!(service.deleting && service.shows(one) && !service.shows(two));
    assert_eq!(service.detailed_ingress.len(), 2);
    assert_eq!(service.claimed(), [one, two]);
    service.addresses = vec!["192.0.2.9".parse().unwrap()];
    assert_eq!(service.claimed(), [one, two]);
    service.writers.status_by_us = true;
    assert_eq!(service.claimed(), service.addresses);
}

#[test]
fn what_agents_say_they_announce() {
    let value = json!({
        "metadata": {"annotations": {"purelb.io/announcing-IPv4": "n1,eth0,192.0.2.1 n2,eth,0,192.0.2.2 nonsense"}},
        "spec": {"type": "LoadBalancer"}
    });
    let announced = watched(value).keep(true).unwrap().announced;
    let nodes: Vec<&str> = announced.iter().map(|(_, node)| &**node).collect();
    assert_eq!(nodes, ["n1", "n2"]);
}

#[test]
fn scope_by_class() {
    let scope = |class: Option<&str>, name: &str, default| {
        let value = json!({
            "metadata": {"name": name, "namespace": "default"}, "spec": {"type": "LoadBalancer", "loadBalancerClass": class}
        });
        watched(value).keep(default).unwrap().scope
    };
    assert_eq!(scope(Some("purelb.io/purelb"), "x", false), Scope::Ours);
    assert_eq!(scope(Some("purelb.io/purelbv2"), "x", false), Scope::Ours);
    assert_eq!(scope(Some("example.com/x"), "x", true), Scope::OtherClass);
    assert_eq!(scope(None, "x", true), Scope::Ours);
    assert_eq!(scope(None, "x", false), Scope::NoClass);
    assert_eq!(scope(None, "kubernetes", true), Scope::Ignored);
}
