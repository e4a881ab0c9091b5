//! What traffic policies and affinities demand of the node that announces an address.

use std::collections::BTreeSet;

use crate::endpoints::Endpoints;
use crate::ownership::Qualified;
use crate::services::ServiceView;

/// Who may own the address; nothing while the endpoints are not known.
pub(super) fn qualified<'a>(endpoints: &'a Endpoints, users: &[&'a ServiceView]) -> Option<Qualified<'a>> {
    match TrafficPolicy::of(endpoints, users) {
        TrafficPolicy::Local(nodes) => Some(Qualified::Only(nodes)),
        TrafficPolicy::LocalUnknown => None,
        TrafficPolicy::Cluster => match users {
            [user] if user.node_affinity => Some(Qualified::Preferred(endpoints.nodes(&user.name)?)),
            _ => Some(Qualified::All),
        },
    }
}

/// What the traffic policies of an address's Services demand together.
pub(super) enum TrafficPolicy<'a> {
    /// None is `Local`.
    Cluster,
    /// Some are: these nodes have endpoints of every one of those, or of any if no node has all.
    Local(BTreeSet<&'a str>),
    /// Some are, and their endpoints are not known yet.
    LocalUnknown,
}

impl<'a> TrafficPolicy<'a> {
    /// Looks at all of them.
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
