//! One address from each range, and balanced ranges (specification, allocation.md 5 and 6).

use serde_json::json;

use super::fixtures::{one, start, texts};

#[test]
fn multi_pool_takes_one_of_each_range_with_a_node() {
    let spec = json!({"local": {"multiPool": true, "v4pools": [
        {"pool": "10.1.0.0/24", "subnet": "10.1.0.0/24"}, {"pool": "10.2.0.0/24", "subnet": "10.2.0.7/24"}, {"pool": "10.3.0.0/24", "subnet": "10.3.0.0/24"}]}});
    let (mut server, mut replica) = start(&[("default", spec)]);
    let subnets = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
    replica.index.set_node_subnets(subnets(&["10.1.0.0/24", "10.2.0.0/24"]));
    server.put_service("web", one("IPv4"), json!({}));
    server.put_service("off", one("IPv4"), json!({"purelb.io/multi-pool": "false"}));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.0,10.2.0.0");
    assert_eq!(texts(&server, "off"), "10.1.0.1");
    // A node joins the third subnet; one leaves the first.
    replica.index.set_node_subnets(subnets(&["10.2.0.0/24", "10.3.0.0/24"]));
    replica.settle(&mut server);
    assert_eq!(texts(&server, "web"), "10.1.0.0,10.2.0.0,10.3.0.0");
    server.put_service("none", one("IPv4"), json!({"purelb.io/allow-shared-ip": "k"}));
    replica.settle(&mut server);
    assert!(replica.take_reports().join("\n").contains("purelb.io/allow-shared-ip"));
}

#[test]
fn balanced_pools_take_from_the_least_used_range() {
    let spec = json!({"remote": {"balancePools": true, "v4pools": [
        {"pool": "10.1.0.0/24", "subnet": "10.0.0.0/8"}, {"pool": "10.2.0.0/24", "subnet": "10.0.0.0/8"}]}});
    let (mut server, mut replica) = start(&[("default", spec)]);
    for name in ["a", "b", "c", "d"] {
        server.put_service(name, one("IPv4"), json!({}));
        replica.settle(&mut server);
    }
    let all: Vec<String> = ["a", "b", "c", "d"].iter().map(|name| texts(&server, name)).collect();
    assert_eq!(all, ["10.1.0.0", "10.2.0.0", "10.1.0.1", "10.2.0.1"]);
    server.put_service("e", one("IPv4"), json!({"purelb.io/multi-pool": "true"}));
    replica.settle(&mut server);
    assert!(replica.take_reports().join("\n").contains("mutually exclusive"));
}
