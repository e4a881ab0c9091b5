//! What this node announces to routers on behalf of other nodes.
//!
//! With Calico's mesh on, a node learns the routes of all others and passes them on to routers of another AS, with itself
//! as the next hop. Routers then send traffic to nodes without endpoints, and go on doing so when BFD has shown them that
//! the node with the address is dead. Only a `BGPFilter`, or the mesh switched off, prevents that; the agent changes
//! neither.

use std::collections::BTreeSet;

use calico::{Labels, Router};
use ipnetwork::IpNetwork;

use super::routers::Routers;

/// How many routers or networks a text names.
const MAX_NAMES: usize = 5;

/// A route of addresses of Services, and the network that a filter would name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Routed {
    /// As other nodes announce it.
    pub route: IpNetwork,
    /// The subnet of the pool.
    pub subnet: IpNetwork,
}

/// What is wrong and what mends it; nothing if nothing is, or if Calico's objects are not known.
#[must_use]
pub fn problem(
    routers: &Routers,
    node: &str,
    labels: &Labels,
    annotations: &Labels,
    routed: &[Routed],
) -> Option<String> {
    let configuration = routers.configuration()?;
    let own = calico::node::as_number(annotations).unwrap_or(configuration.as_number);
    if !configuration.mesh {
        return None;
    }
    let mut named = BTreeSet::new();
    let mut networks = BTreeSet::new();
    for (name, router) in routers.of(node, labels)? {
        if router.as_number.is_none_or(|number| number == own) {
            continue;
        }
        for routed in routed.iter().filter(|routed| routed.route.is_ipv4() == router.address.is_ipv4()) {
            if passes_on(routers, router, routed.route)? {
                named.insert(format!("{} (BGPPeer {name})", router.address));
                networks.insert(routed.subnet);
            }
        }
    }
    (!named.is_empty()).then(|| text(&named, &networks))
}

/// Whether a route of another node is announced to the router; nothing if its filters are not known.
fn passes_on(routers: &Routers, router: &Router, route: IpNetwork) -> Option<bool> {
    for name in &router.filters {
        let filter = routers.filter(name)?;
        if let Some(passes) = filter.and_then(|filter| filter.passes_on(route)) {
            return Some(passes);
        }
    }
    Some(true)
}

fn text(named: &BTreeSet<String>, networks: &BTreeSet<IpNetwork>) -> String {
    let some = |all: Vec<String>| {
        let more = all.len().saturating_sub(MAX_NAMES);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{rest}", all.iter().take(MAX_NAMES).cloned().collect::<Vec<_>>().join(", "))
    };
    let routers = some(named.iter().cloned().collect());
    let rule = |network: &IpNetwork| {
        let list = if network.is_ipv4() { "exportV4" } else { "exportV6" };
        format!("{list}: {{cidr: {network}, matchOperator: In, source: RemotePeers, action: Reject}}")
    };
    let rules = some(networks.iter().map(rule).collect());
    format!(
        "Calico's node-to-node mesh is on, and this node passes the addresses of other nodes on as its own to {routers}: a router sends traffic to nodes without endpoints, and to the address of a node that has died. Give these BGPPeers a BGPFilter with {rules}, or switch the mesh off (nodeToNodeMeshEnabled: false) if no node needs it"
    )
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;
    use serde_json::{Value, json};

    use super::super::routers::{Object, What};
    use super::*;

    fn list(routers: &mut Routers, what: What, objects: &[(&str, Value)]) {
        routers.apply(what, 0, Event::Init);
        for (name, spec) in objects {
            let object = Object { name: (*name).to_owned(), spec: spec.clone() };
            routers.apply(what, 0, Event::InitApply(object));
        }
        routers.apply(what, 0, Event::InitDone);
    }

    fn found(routers: &Routers, as_number: Option<&str>) -> Option<String> {
        let routed = [("172.30.200.155/32", "172.30.200.0/24"), ("2001:db8::1/128", "2001:db8::/64")];
        let routed =
            routed.map(|(route, subnet)| Routed { route: route.parse().unwrap(), subnet: subnet.parse().unwrap() });
        let annotation = |number: &str| ("projectcalico.org/ASNumber".to_owned(), number.to_owned());
        problem(routers, "n1", &Labels::new(), &as_number.map(annotation).into_iter().collect(), &routed)
    }

    #[test]
    fn case_82_a_mesh_that_is_passed_on_to_a_router_is_named_with_its_cure() {
        let mut routers = Routers::default();
        for what in [What::Configurations, What::Filters] {
            routers.absent(what, 1);
        }
        list(
            &mut routers,
            What::Peers,
            &[("tor", json!({"peerIP": "192.0.2.1", "asNumber": 65001, "filters": ["f"]}))],
        );
        assert_eq!(found(&routers, None), None, "the configuration is not known");
        list(&mut routers, What::Configurations, &[]);
        assert_eq!(found(&routers, None), None, "the filter is not known");
        list(&mut routers, What::Filters, &[]);
        let text = found(&routers, None).unwrap();
        for part in
            ["192.0.2.1 (BGPPeer tor)", "exportV4: {cidr: 172.30.200.0/24, matchOperator: In, source: RemotePeers"]
        {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("exportV6"), "an IPv4 router");
        // Of its own AS.
        assert_eq!(found(&routers, Some("65001")), None);
        // The cure, and the other one.
        let rule =
            json!({"cidr": "172.30.200.0/24", "matchOperator": "In", "source": "RemotePeers", "action": "Reject"});
        list(&mut routers, What::Filters, &[("f", json!({"exportV4": [rule]}))]);
        assert_eq!(found(&routers, None), None);
        list(&mut routers, What::Filters, &[("f", json!({}))]);
        assert!(found(&routers, None).is_some());
        list(&mut routers, What::Configurations, &[("default", json!({"nodeToNodeMeshEnabled": false}))]);
        assert_eq!(found(&routers, None), None);
    }
}
