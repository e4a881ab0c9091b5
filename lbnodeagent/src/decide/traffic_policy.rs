//! What traffic policies and affinities require of the node that announces an address.
//!
//! Endpoints count for the family of the address only. Services that share an address under the policy `Local` are best
//! served by a node with endpoints of each of them; where there is none, by one with endpoints of as many as possible. So
//! are the ports of one Service, whose pods may serve different ones.
//!
//! A node counts while it has an endpoint that is ready, or that ends and still serves: connections live as long as their
//! pod. A new owner is chosen among nodes with ready endpoints first. Agents of an earlier release leave a node when no
//! endpoint of it is ready, so beside one with a ready endpoint that is the rule for all (specification, announcing.md 6).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::Family;
use ownership::{NodeId, Qualified};

use crate::cluster::endpoints::{Endpoints, Nodes, Places};
use crate::cluster::members::Members;
use crate::cluster::service::ServiceView;

/// What the choice depends on besides the endpoints.
#[derive(Clone, Copy)]
pub(super) struct Present<'a> {
    /// The owner of the address, if there is one.
    pub(super) owner: Option<&'a str>,
    /// The members.
    pub(super) members: &'a Members,
}

impl Present<'_> {
    /// Whether an agent of an earlier release goes by one of these endpoints.
    fn is_old_rule(&self, ready: &BTreeSet<&str>) -> bool {
        ready.iter().any(|node| self.members.runs_earlier_release(node))
    }
}

/// Which nodes may own the address; nothing as long as the endpoints are not known.
///
/// If no node has an endpoint of any of the Services, no node qualifies and the present owner keeps the address.
pub(super) fn qualified(
    endpoints: &Endpoints,
    address: IpAddr,
    users: &[&ServiceView],
    present: Present<'_>,
) -> Option<Qualified> {
    let family = Family::of(address);
    if users.iter().any(|user| user.traffic_local) {
        let local = named(endpoints, family, users)?;
        return Some(if local.is_empty() { Qualified::All } else { Qualified::Tiers(tiers(&local, present)) });
    }
    match users {
        [user] if user.node_affinity => Some(match endpoints.places(&user.name, family)? {
            Places::Everywhere => Qualified::All,
            Places::Nodes { ready, either } => Qualified::Preferred(ids(if ready.is_empty() { either } else { ready })),
        }),
        _ => Some(Qualified::All),
    }
}

/// The nodes of each port of the Services with the policy `Local`, without those whose endpoints name no node. A Service
/// without endpoints counts as one port. Nothing as long as they are not known.
fn named<'a>(endpoints: &'a Endpoints, family: Family, users: &[&ServiceView]) -> Option<Vec<Nodes<'a>>> {
    let mut named = Vec::new();
    for user in users.iter().filter(|user| user.traffic_local) {
        if let Places::Nodes { ready, either } = endpoints.places(&user.name, family)? {
            // A port without endpoints anywhere says nothing about nodes.
            let ports = endpoints.ports(&user.name, family);
            let none = ports.is_empty().then_some([ready, either]);
            named.extend(ports.into_values().chain(none));
        }
    }
    Some(named)
}

/// The nodes that serve all ports, ready ones before those whose endpoints end; then those that serve all but one, and
/// so on. The owner is in the first tier while it serves as many.
fn tiers(ports: &[Nodes<'_>], present: Present<'_>) -> Vec<BTreeSet<NodeId>> {
    let [ready, either] = [0, 1].map(|which| counts(ports.iter().filter_map(|nodes| nodes.get(which))));
    let mut tiers: Vec<BTreeSet<NodeId>> = Vec::new();
    let old_rule = ports.iter().any(|[ready, _]| present.is_old_rule(ready));
    let owner = present.owner.filter(|_| !old_rule);
    for least in (1..=ports.len()).rev() {
        let owner = owner.filter(|owner| either.get(owner).is_some_and(|count| *count >= least));
        for counts in [&ready, &either] {
            let mut tier = ids(counts.iter().filter(|(_, count)| **count >= least).map(|(node, _)| *node));
            if !tier.is_empty() {
                tier.extend(owner.and_then(NodeId::new));
            }
            // The first two say whether any node serves all, even if they are empty.
            if least == ports.len() || !tier.is_empty() && !tiers.contains(&tier) {
                tiers.push(tier);
            }
        }
    }
    tiers
}

/// How many of the sets have each node.
fn counts<'a, 'b>(sets: impl Iterator<Item = &'b BTreeSet<&'a str>>) -> BTreeMap<&'a str, usize>
where
    'a: 'b,
{
    let mut counts = BTreeMap::new();
    for node in sets.flatten() {
        *counts.entry(*node).or_default() += 1;
    }
    counts
}

fn ids<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<NodeId> {
    names.into_iter().filter_map(NodeId::new).collect()
}

/// What the traffic policies of a remote address's Services require together.
pub(super) enum TrafficPolicy<'a> {
    /// No policy is `Local`, or the endpoints name no nodes.
    Cluster,
    /// Some policies are `Local`: the nodes with endpoints of each port of these Services, or of as many as possible if
    /// no node has endpoints of all.
    Local(BTreeSet<&'a str>),
    /// Some policies are `Local`, and the endpoints are not known yet.
    LocalUnknown,
}

impl<'a> TrafficPolicy<'a> {
    /// Combines the policies of these Services.
    pub(super) fn of(endpoints: &'a Endpoints, address: IpAddr, users: &[&ServiceView], present: Present<'_>) -> Self {
        if !users.iter().any(|user| user.traffic_local) {
            return Self::Cluster;
        }
        let Some(local) = named(endpoints, Family::of(address), users) else { return Self::LocalUnknown };
        if local.is_empty() {
            return Self::Cluster;
        }
        let best = local.iter().map(|[ready, either]| if present.is_old_rule(ready) { ready } else { either });
        let counts = counts(best);
        let most = counts.values().copied().max().unwrap_or(0);
        Self::Local(counts.into_iter().filter(|(_, count)| *count == most).map(|(node, _)| node).collect())
    }
}

/// The nodes that announce a remote address, by the policies `Local` of its Services; none if these do not decide.
#[must_use]
pub fn announcers<'a>(
    endpoints: &'a Endpoints,
    address: IpAddr,
    users: &[&ServiceView],
    members: &Members,
) -> BTreeSet<&'a str> {
    match TrafficPolicy::of(endpoints, address, users, Present { owner: None, members }) {
        TrafficPolicy::Local(nodes) => nodes,
        TrafficPolicy::Cluster | TrafficPolicy::LocalUnknown => BTreeSet::new(),
    }
}

/// A port that gets nothing on nodes that announce the address of its Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DarkPort<'a> {
    /// Its name.
    pub name: &'a str,
    /// The nodes that have endpoints of the Service and none of the port.
    pub dark: Vec<&'a str>,
    /// The nodes with endpoints of the port.
    pub served: BTreeSet<&'a str>,
}

/// The ports of a Service with the policy `Local` that get nothing on some of the nodes that announce its address.
#[must_use]
pub fn dark_ports<'a>(
    endpoints: &'a Endpoints,
    address: IpAddr,
    user: &ServiceView,
    announcers: &BTreeSet<&'a str>,
) -> Vec<DarkPort<'a>> {
    let ports = endpoints.ports(&user.name, Family::of(address));
    let any: BTreeSet<&str> = ports.values().flat_map(|[_, either]| either).copied().collect();
    let dark = |(name, [_, served]): (&'a str, Nodes<'a>)| {
        let dark: Vec<&str> = announcers.intersection(&any).filter(|node| !served.contains(*node)).copied().collect();
        (!dark.is_empty()).then_some(DarkPort { name, dark, served })
    };
    ports.into_iter().filter(|_| user.traffic_local).filter_map(dark).collect()
}

/// The Services among `users` with the policy `Local` that get nothing from a node: it has no endpoint of theirs.
#[must_use]
pub fn dark<'a>(endpoints: &Endpoints, address: IpAddr, users: &[&'a ServiceView], node: &str) -> Vec<&'a ServiceView> {
    let served = |user: &ServiceView| match endpoints.places(&user.name, Family::of(address)) {
        Some(Places::Nodes { either, .. }) => either.contains(node),
        Some(Places::Everywhere) | None => true,
    };
    users.iter().copied().filter(|user| user.traffic_local && !served(user)).collect()
}

/// The Services among `users` with the policy `Local` whose endpoints name no node.
#[must_use]
pub fn nameless<'a>(endpoints: &Endpoints, address: IpAddr, users: &[&'a ServiceView]) -> Vec<&'a ServiceView> {
    let everywhere = |user: &ServiceView| endpoints.places(&user.name, Family::of(address)) == Some(Places::Everywhere);
    users.iter().copied().filter(|user| user.traffic_local && everywhere(user)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::endpoints::SliceView;
    use crate::cluster::endpoints::testing::slice;
    use crate::cluster::service::testing::view;

    const ADDRESS: &str = "192.0.2.1";

    /// Two `EndpointSlices`, as when the pods of a Service serve different ports.
    fn endpoints_by_port(of_ports: &[(&[&str], &[&str])]) -> Endpoints {
        let mut endpoints = Endpoints::default();
        endpoints.set_complete();
        for (nth, (ports, nodes)) in of_ports.iter().enumerate() {
            let ports = ports.iter().map(|port| Box::from(*port)).collect();
            endpoints.apply(SliceView { ports, ..slice("web", &nth.to_string(), nodes, &[]) });
        }
        endpoints
    }

    #[test]
    fn case_94_nodes_that_serve_all_ports_come_first() {
        let endpoints = endpoints_by_port(&[(&["http"], &["a", "b"]), (&["https", "http"], &["c"])]);
        assert_eq!(first_tier(&endpoints, None), ["c"]);
        assert_eq!(first_tier(&endpoints, Some("a")), ["c"], "the owner hands it over");
        // No node serves all: any that serves most.
        let endpoints = endpoints_by_port(&[(&["http"], &["a"]), (&["https", "quic"], &["b"])]);
        assert_eq!(first_tier(&endpoints, Some("a")), ["b"]);
        // All pods serve all ports.
        let endpoints = endpoints_by_port(&[(&["http", "https"], &["a", "b"])]);
        assert_eq!(first_tier(&endpoints, Some("a")), ["a", "b"]);
    }

    #[test]
    fn case_94_routed_addresses_are_where_all_ports_are_served_or_else_most() {
        let address = ADDRESS.parse().unwrap();
        let (members, user) = (Members::new("me"), local());
        let endpoints = endpoints_by_port(&[(&["http"], &["a"]), (&["https", "http"], &["b"])]);
        assert_eq!(announcers(&endpoints, address, &[&user], &members), ["b"].into());
        let endpoints = endpoints_by_port(&[(&["http"], &["a"]), (&["https"], &["b"])]);
        let both = announcers(&endpoints, address, &[&user], &members);
        assert_eq!(both, ["a", "b"].into());
        let dark = dark_ports(&endpoints, address, &user, &both);
        let http = DarkPort { name: "http", dark: vec!["b"], served: ["a"].into() };
        let https = DarkPort { name: "https", dark: vec!["a"], served: ["b"].into() };
        assert_eq!(dark, [http, https]);
        assert!(dark_ports(&endpoints, address, &view("web", &[ADDRESS], None), &both).is_empty(), "not Local");
    }

    fn endpoints(ready: &[&str], serving: &[&str]) -> Endpoints {
        let mut endpoints = Endpoints::default();
        endpoints.set_complete();
        endpoints.apply(slice("web", "1", ready, serving));
        endpoints
    }

    fn local() -> ServiceView {
        ServiceView { traffic_local: true, ..view("web", &[ADDRESS], None) }
    }

    fn first_tier(endpoints: &Endpoints, owner: Option<&str>) -> Vec<String> {
        let members = Members::new("me");
        let present = Present { owner, members: &members };
        let qualified = qualified(endpoints, ADDRESS.parse().unwrap(), &[&local()], present).unwrap();
        let Qualified::Tiers(tiers) = qualified else { panic!("{qualified:?}") };
        tiers.into_iter().find(|tier| !tier.is_empty()).into_iter().flatten().map(|node| node.to_string()).collect()
    }

    #[test]
    fn case_85_an_owner_stays_while_it_serves_and_a_new_one_is_chosen_among_the_ready() {
        let endpoints = endpoints(&["ready"], &["ending", "other"]);
        assert_eq!(first_tier(&endpoints, Some("ending")), ["ending", "ready"]);
        assert_eq!(first_tier(&endpoints, None), ["ready"]);
        assert_eq!(first_tier(&endpoints, Some("elsewhere")), ["ready"]);
    }

    #[test]
    fn case_85_a_node_announces_a_routed_address_while_it_serves() {
        let endpoints = endpoints(&["ready"], &["ending"]);
        let (members, users) = (Members::new("ending"), [&local()]);
        let present = Present { owner: None, members: &members };
        let policy = TrafficPolicy::of(&endpoints, ADDRESS.parse().unwrap(), &users, present);
        assert!(matches!(policy, TrafficPolicy::Local(nodes) if nodes == BTreeSet::from(["ending", "ready"])));
    }
}
