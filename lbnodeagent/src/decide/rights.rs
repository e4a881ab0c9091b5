//! Which Services let this node announce an address, by [`Right`].
//!
//! *Keep* is meant of the cluster: what any member announces goes on here as on every other node, so failover, planned
//! moves and restarts are what they are for any address. It takes a witness that somebody announces it: the Service's own
//! annotation, an agent's report, or what this node itself did until now. Without a witness nobody begins.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api_types::{Evidence, Right};

use crate::cluster::service::ServiceView;
use crate::decide::context::Context;
use crate::model::uids::Uids;

/// The Services among `users` on whose behalf this node takes part in the address.
#[must_use]
pub fn serving<'a>(context: &Context<'_>, address: IpAddr, users: &[&'a ServiceView]) -> Vec<&'a ServiceView> {
    users.iter().copied().filter(|user| is_served(context, address, user)).collect()
}

/// The Services among `users` for which the agent's report has to say that the address is held: nothing on them does, so
/// the other agents and the allocator could not know.
#[must_use]
pub fn unmarked<'a>(context: &Context<'_>, address: IpAddr, users: &[&'a ServiceView]) -> Vec<&'a ServiceView> {
    let unmarked = |user: &ServiceView| {
        let without = Evidence { held: false, ..evidence(context, address, user) };
        right(context, address, user, without) != Right::Start && !has_announcer(context, address, user)
    };
    users.iter().copied().filter(|user| unmarked(user)).collect()
}

/// Whether the Service says itself that it was given the address, so that its announcing annotation names who announces
/// it. Anybody may copy an address of one Service into the status of another.
///
/// Without a list it is what this node takes part in for the Service, and so is what an allocator gave that does not know
/// the list.
#[must_use]
pub fn is_given(served: &BTreeMap<IpAddr, Uids>, old_leader: bool, address: IpAddr, user: &ServiceView) -> bool {
    match user.provenance.lists(address) {
        Some(true) => true,
        Some(false) if !(user.provenance.by_us && old_leader) => false,
        _ => served.get(&address).is_some_and(|uids| uids.contains(&user.uid)),
    }
}

fn is_served(context: &Context<'_>, address: IpAddr, user: &ServiceView) -> bool {
    let evidence = evidence(context, address, user);
    match right(context, address, user, evidence) {
        Right::Start => true,
        Right::Keep => evidence.held || goes_on(context, address, user),
        Right::Withdraw => false,
    }
}

fn right(context: &Context<'_>, address: IpAddr, user: &ServiceView, evidence: Evidence) -> Right {
    let listed = user.provenance.lists(address);
    if !user.our_class && listed != Some(true) && !user.provenance.counts_as_given(evidence) {
        return Right::Withdraw;
    }
    user.provenance.right(listed, user.status_has(address), evidence, context.witnesses.old_leader)
}

fn evidence(context: &Context<'_>, address: IpAddr, user: &ServiceView) -> Evidence {
    let recorded = context.witnesses.holders.get(&address).is_some_and(|uids| uids.contains(&user.uid));
    Evidence {
        in_pool: context.groups.find(address).is_some(),
        external: user.groups().any(|group| context.groups.is_external(group)),
        held: recorded || context.witnesses.reports.hold(address, &user.uid) || has_announcer(context, address, user),
    }
}

/// Whether the announcing annotation names a member of this cluster for the address.
fn has_announcer(context: &Context<'_>, address: IpAddr, user: &ServiceView) -> bool {
    user.announcer(address).is_some_and(|node| context.members.has(node))
}

/// Whether this node took part in the address for this Service until now, or an earlier run left it in the kernel without
/// a note for whom.
fn goes_on(context: &Context<'_>, address: IpAddr, user: &ServiceView) -> bool {
    if let Some(uids) = context.witnesses.served.get(&address) {
        return uids.contains(&user.uid);
    }
    !context.witnesses.holders.contains_key(&address)
        && context.observed.of(address).any(|(key, found)| context.ours.includes(key, found))
}

#[cfg(test)]
#[path = "rights_tests.rs"]
mod tests;
