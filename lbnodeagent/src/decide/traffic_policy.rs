//! What traffic policies and affinities require of the node that announces an address.

use std::collections::BTreeSet;

use ownership::{NodeId, Qualified};

use crate::cluster::endpoints::Endpoints;
use crate::cluster::service::ServiceView;

/// Which nodes may own the address; nothing as long as the endpoints are not known.
///
/// Services that share an address under the policy `Local` need a node with endpoints of each of them. If there is
/// none, no node qualifies and the present owner keeps the address.
pub(super) fn qualified(endpoints: &Endpoints, users: &[&ServiceView]) -> Option<Qualified> {
    let local: Vec<_> = users.iter().filter(|user| user.traffic_local).collect();
    if !local.is_empty() {
        let tiers: Vec<[BTreeSet<&str>; 2]> =
            local.iter().map(|user| endpoints.tiers(&user.name)).collect::<Option<_>>()?;
        let [ready, serving] = tiers
            .into_iter()
            .reduce(|[ready, serving], [more_ready, more_serving]| [&ready & &more_ready, &serving & &more_serving])?;
        return Some(Qualified::Tiers(vec![nodes(&ready), nodes(&serving)]));
    }
    match users {
        [user] if user.node_affinity => {
            let [ready, serving] = endpoints.tiers(&user.name)?;
            Some(Qualified::Preferred(nodes(if ready.is_empty() { &serving } else { &ready })))
        }
        _ => Some(Qualified::All),
    }
}

fn nodes(names: &BTreeSet<&str>) -> BTreeSet<NodeId> {
    names.iter().filter_map(|name| NodeId::new(name)).collect()
}

/// What the traffic policies of a remote address's Services require together.
pub(super) enum TrafficPolicy<'a> {
    /// No policy is `Local`.
    Cluster,
    /// Some policies are `Local`: the nodes with endpoints of each of these Services, or of any of them if no
    /// node has endpoints of all.
    Local(BTreeSet<&'a str>),
    /// Some policies are `Local`, and the endpoints are not known yet.
    LocalUnknown,
}

impl<'a> TrafficPolicy<'a> {
    /// Combines the policies of these Services.
    pub(super) fn of(endpoints: &'a Endpoints, users: &[&'a ServiceView]) -> Self {
        let local: Vec<_> = users.iter().filter(|user| user.traffic_local).collect();
        if local.is_empty() {
            return Self::Cluster;
        }
        let sets: Option<Vec<BTreeSet<&str>>> = local.iter().map(|user| endpoints.nodes(&user.name)).collect();
        let Some(sets) = sets else { return Self::LocalUnknown };
        let any: BTreeSet<&str> = sets.iter().flatten().copied().collect();
        let every: BTreeSet<&str> =
            any.iter().copied().filter(|node| sets.iter().all(|set| set.contains(node))).collect();
        Self::Local(if every.is_empty() { any } else { every })
    }
}
