//! The texts of Kubernetes events about the traffic policy `Local`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::cluster::service::ServiceName;
use crate::decide::traffic_policy::DarkPort;

/// How many Services, ports or nodes a text names.
const MAX_NAMES: usize = 5;

/// What was reported of an address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyReport {
    /// The Services that get nothing.
    pub dark: BTreeSet<ServiceName>,
    /// The Services whose endpoints name no node.
    pub nameless: BTreeSet<ServiceName>,
    /// What was reported of ports that get nothing.
    pub ports: BTreeMap<ServiceName, String>,
    /// Whether the address was here.
    pub here: bool,
}

/// For a Service that shares an address: what becomes of it, and which Services get nothing from the nodes that have it.
/// Only those of its own namespace are named.
#[must_use]
pub fn dark_text(ip: IpAddr, consequence: &str, reader: &ServiceName, dark: &BTreeSet<ServiceName>) -> String {
    let (near, far): (Vec<&ServiceName>, Vec<&ServiceName>) =
        dark.iter().partition(|name| name.namespace == reader.namespace);
    let mut names: Vec<String> = near.iter().take(MAX_NAMES).map(|name| name.name.to_string()).collect();
    let more = near.len().saturating_sub(MAX_NAMES);
    if more > 0 {
        names.push(format!("{more} more of this namespace"));
    }
    match far.len() {
        0 => {}
        1 => names.push("a Service of another namespace".to_owned()),
        count => names.push(format!("{count} Services of other namespaces")),
    }
    let without =
        if names.is_empty() { String::new() } else { format!(", without an endpoint of {}", names.join(", ")) };
    format!(
        "externalTrafficPolicy is Local, and no node has an endpoint of every Service that shares {ip}: {consequence}{without}"
    )
}

/// For a Service whose endpoints name no node.
#[must_use]
pub fn nameless_text(ip: IpAddr) -> String {
    format!(
        "externalTrafficPolicy is Local, but no endpoint of the Service says on which node it is: {ip} is announced as if there were endpoints on every node"
    )
}

/// For a Service of which some ports get nothing on nodes that announce its address.
#[must_use]
pub fn ports_text(ip: IpAddr, ports: &[DarkPort<'_>]) -> String {
    let port = |port: &DarkPort<'_>| {
        let (name, dark, served) = (port.name, some(port.dark.iter().copied()), some(port.served.iter().copied()));
        let name = if name.is_empty() { "the port without a name".to_owned() } else { format!("port {name}") };
        format!("{name} has no endpoint on {dark}, only on {served}")
    };
    let all: Vec<String> = ports.iter().take(MAX_NAMES).map(port).collect();
    format!(
        "externalTrafficPolicy is Local, and nodes that announce {ip} do not serve all ports, so connections to them fail there: {}. Let each pod serve all ports, or make a Service of each port",
        all.join("; ")
    )
}

fn some<'a>(nodes: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = nodes.len().saturating_sub(MAX_NAMES);
    let names: Vec<&str> = nodes.take(MAX_NAMES).collect();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_94_an_event_names_the_port_and_the_nodes() {
        let port = |name, dark: &[&'static str]| DarkPort { name, dark: dark.to_vec(), served: ["node2"].into() };
        let text = ports_text("192.0.2.1".parse().unwrap(), &[port("https", &["node1"])]);
        assert!(text.contains("there: port https has no endpoint on node1, only on node2. Let"), "{text}");
        let seven = ["a", "b", "c", "d", "e", "f", "g"];
        let text = ports_text("192.0.2.1".parse().unwrap(), &[port("", &seven), port("quic", &["b"])]);
        let expected =
            "the port without a name has no endpoint on a, b, c, d, e and 2 more, only on node2; port quic has";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn case_11_only_services_of_the_readers_namespace_are_named() {
        let name = ServiceName::new;
        let dark = [name("shop", "web"), name("bank", "vault"), name("shop", "mail")].into();
        let text =
            |reader: &ServiceName| dark_text("192.0.2.1".parse().unwrap(), "node n1 answers for it", reader, &dark);
        assert!(text(&name("shop", "web")).ends_with("an endpoint of mail, web, a Service of another namespace"));
        assert!(text(&name("bank", "till")).ends_with("an endpoint of vault, 2 Services of other namespaces"));
    }
}
