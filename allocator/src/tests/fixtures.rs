//! Groups and Services that many tests use.

use serde_json::{Value, json};

use super::api_server::ApiServer;
use super::replica::Replica;

pub(super) fn v4(pool: &str) -> Value {
    json!({"local": {"v4pool": {"pool": pool, "subnet": "10.0.0.0/8"}}})
}

pub(super) fn dual(four: &str, six: &str) -> Value {
    json!({"remote": {"v4pool": {"pool": four, "subnet": "10.0.0.0/8"}, "v6pool": {"pool": six, "subnet": "2001:db8::/32"}}})
}

pub(super) fn one(family: &str) -> Value {
    json!({"ipFamilies": [family], "ipFamilyPolicy": "SingleStack", "ports": [{"port": 80}]})
}

pub(super) fn both(policy: &str) -> Value {
    json!({"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": policy, "ports": [{"port": 80}]})
}

pub(super) fn group(name: &str) -> Value {
    json!({"purelb.io/service-group": name})
}

/// A server with these groups, and a leader that has read it.
pub(super) fn start(groups: &[(&str, Value)]) -> (ApiServer, Replica) {
    let mut server = ApiServer::default();
    for (name, spec) in groups {
        server.put_group(name, spec);
    }
    let replica = Replica::leader(&mut server, true, "f1");
    (server, replica)
}

pub(super) fn texts(server: &ApiServer, name: &str) -> String {
    let addresses: Vec<String> = server.addresses(name).iter().map(ToString::to_string).collect();
    addresses.join(",")
}

/// A Service with this sharing key and port: specification and annotations.
pub(super) fn shared(key: &str, port: u16) -> (Value, Value) {
    let spec = json!({"ipFamilies": ["IPv4"], "ports": [{"port": port}]});
    (spec, json!({"purelb.io/allow-shared-ip": key}))
}
