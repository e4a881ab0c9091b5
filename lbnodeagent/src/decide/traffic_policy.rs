//! What traffic policies and affinities require of the node that announces an address.
//!
//! Endpoints count for the family of the address only. Services that share an address under the policy `Local` are best
//! served by a node with endpoints of each of them; where there is none, by one with endpoints of as many as possible.
//!
//! A node counts while it has an endpoint that is ready, or that ends and still serves: connections live as long as their
//! pod. A new owner is chosen among nodes with ready endpoints first. Agents of an earlier release leave a node when no
//! endpoint of it is ready, so beside one with a ready endpoint that is the rule for all (specification, announcing.md 6).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::Family;
use ownership::{NodeId, Qualified};

use crate::cluster::endpoints::{Endpoints, Places};
use crate::cluster::members::Members;
use crate::cluster::service::ServiceView;

/// The nodes with a ready endpoint of a Service, and those with one that is ready or serves.
type Nodes<'a> = [BTreeSet<&'a str>; 2];

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

/// The nodes of each Service with the policy `Local`, without those whose endpoints name no node. Nothing as long as they
/// are not known.
fn named<'a>(endpoints: &'a Endpoints, family: Family, users: &[&ServiceView]) -> Option<Vec<Nodes<'a>>> {
    let places = users.iter().filter(|user| user.traffic_local).map(|user| endpoints.places(&user.name, family));
    let places: Vec<Places<'a>> = places.collect::<Option<_>>()?;
    let nodes = places.into_iter().filter_map(|places| match places {
        Places::Everywhere => None,
        Places::Nodes { ready, either } => Some([ready, either]),
    });
    Some(nodes.collect())
}

/// The nodes that serve all Services, ready ones before those whose endpoints end; then those that serve all but one, and
/// so on. The owner is in the first tier while it serves as many.
fn tiers(services: &[Nodes<'_>], present: Present<'_>) -> Vec<BTreeSet<NodeId>> {
    let [ready, either] = [0, 1].map(|which| counts(services.iter().filter_map(|nodes| nodes.get(which))));
    let mut tiers: Vec<BTreeSet<NodeId>> = Vec::new();
    let old_rule = services.iter().any(|[ready, _]| present.is_old_rule(ready));
    let owner = present.owner.filter(|_| !old_rule);
    for least in (1..=services.len()).rev() {
        let owner = owner.filter(|owner| either.get(owner).is_some_and(|count| *count >= least));
        for counts in [&ready, &either] {
            let mut tier = ids(counts.iter().filter(|(_, count)| **count >= least).map(|(node, _)| *node));
            if !tier.is_empty() {
                tier.extend(owner.and_then(NodeId::new));
            }
            // The first two say whether any node serves all, even if they are empty.
            if least == services.len() || !tier.is_empty() && tiers.last() != Some(&tier) {
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
    /// Some policies are `Local`: the nodes with endpoints of each of these Services, or of as many as possible if no
    /// node has endpoints of all.
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
    use crate::cluster::endpoints::testing::slice;
    use crate::cluster::service::testing::view;

    const ADDRESS: &str = "192.0.2.1";

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
