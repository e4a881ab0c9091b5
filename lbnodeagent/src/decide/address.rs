//! The decision about one address.
//!
//! The cost of a change of one Service is the same whether there are ten Services or ten thousand, because
//! [`decide`] looks at one address at a time. For a local address it decides whether this node is a candidate
//! ([`Participation`]). Which candidate owns the address is decided by the protocol between the agents.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api_types::{AddressAttributes, Announce, Family, Pool};
use ownership::{AddressSpec, LinkId, NodeId, Qualified};

use crate::cluster::announcer::announcer;
use crate::cluster::service::ServiceView;
use crate::decide::context::Context;
use crate::decide::decision::{Decision, Exclusion, Participation};
use crate::decide::failed_proxy::demote;
use crate::decide::reason::Reason;
use crate::decide::reserved::holder;
use crate::decide::traffic_policy::{Present, TrafficPolicy, qualified};
use crate::decide::unused::unused;
use crate::model::address::AddressKey;
use crate::model::candidacy::Candidacy;
use crate::model::placement::{Kind, Placement};

/// Decides about an address. `users` are the Services that have it.
#[must_use]
pub fn decide(context: &Context<'_>, address: IpAddr, users: &[&ServiceView]) -> (Decision, Participation) {
    let Some(config) = context.mode.config() else { return nothing(Reason::NoConfig(context.mode.state())) };
    if users.is_empty() {
        return nothing(Reason::NotWanted);
    }
    // What is announced goes on: that an address is somebody else's only keeps it from being started.
    if !context.is_from_us(address)
        && let Some(text) = holder(context, address)
    {
        return nothing(Reason::Refused(text));
    }
    let pool = context.groups.find(address);
    let announce = kind(pool.map(|(group, _)| group.announce), address, users);
    // As the kernel has it, or had it until somebody removed it.
    let on_dummy = context.observed.of(address).map(|(key, _)| *key).find(|key| Some(key.index) == context.dummy);
    let on_dummy = on_dummy.or_else(|| context.remote.get(&address).map(|placement| placement.key));
    let in_subnet = context.selection.containing(address).is_some();
    let local = match announce {
        Some(Announce::Local) => true,
        // Each node decides for itself: one in the subnet takes part in answering there, and routers get the address
        // from all others.
        Some(Announce::SubnetOrRouted) => in_subnet,
        // The address comes from a release that did not record the kind and from a group that is gone: it
        // stays what it is.
        None => in_subnet || on_dummy.is_none(),
    };
    let pool = pool.map(|(_, pool)| pool);
    if local {
        decide_local(context, address, users, pool, config.local)
    } else {
        let before = context.remote.get(&address).and_then(|placement| placement.aggregate);
        let found = before.or(on_dummy.map(|key| key.prefix_len));
        let prefix_len = pool.map(Pool::prefix_len).or(found).unwrap_or(Family::of(address).bits());
        (decide_remote(context, address, users, prefix_len, config.remote), Participation::No)
    }
}

/// An address in use keeps its kind, whatever becomes of its group (design, section 1). Of Services that share it and
/// disagree, the one that agrees with the group counts: an annotation of one tenant moves no address of another.
fn kind(of_group: Option<Announce>, address: IpAddr, users: &[&ServiceView]) -> Option<Announce> {
    let mut given = users.iter().filter_map(|user| user.kind_of(address));
    if of_group.is_some() && given.clone().any(|kind| Some(kind) == of_group) {
        return of_group;
    }
    given.next().or(of_group)
}

const fn nothing(reason: Reason) -> (Decision, Participation) {
    (Decision::new(None, reason), Participation::No)
}

fn decide_local(
    context: &Context<'_>,
    address: IpAddr,
    users: &[&ServiceView],
    pool: Option<&Pool>,
    attributes: AddressAttributes,
) -> (Decision, Participation) {
    let Some((interface, prefix_len)) = context.selection.containing(address) else {
        return nothing(Reason::NoLocalInterface);
    };
    let key = AddressKey { ip: address, index: interface.index, prefix_len };
    let attributes = local_attributes(address, attributes);
    let announced_by = announcer(users, address);
    let owner = if context.held.contains_key(&address) {
        Some(context.members.node())
    } else {
        announced_by.as_ref().map(NodeId::as_str)
    };
    let present = Present { owner, members: context.members };
    let qualified = qualified(context.endpoints, address, users, present);
    let nobody = matches!(&qualified, Some(Qualified::Tiers(tiers)) if tiers.iter().all(BTreeSet::is_empty));
    let decision = match context.held.get(&address) {
        Some(held) => Decision::new(Some(*held), Reason::Owner),
        None if nobody => Decision::new(None, Reason::NoEligibleNodes),
        None => Decision::new(None, Reason::NotOwner),
    };
    let Some(qualified) = qualified else { return (decision, Participation::Unchanged) };
    let qualified = without_failed_proxies(context, qualified);
    let want = AddressSpec {
        address,
        link: LinkId(interface.index),
        qualified,
        // Whoever knows the former requests sets it.
        rebalance: 0,
        free: interface.network_of(address).and_then(|network| unused(context, address, pool, network)),
        skip_probe: users.iter().any(|user| user.skip_dad),
        announced_by,
    };
    let placement = Placement { kind: Kind::Local, key, aggregate: None, attributes };
    let requests = users.iter().map(|user| user.rebalance).filter(|request| *request != 0).collect();
    (decision, Participation::Yes(Box::new(Candidacy { want, placement, requests })))
}

/// Nodes that kube-proxy does not serve come last.
fn without_failed_proxies(context: &Context<'_>, qualified: Qualified) -> Qualified {
    let failed = context.members.failed_proxies();
    if failed.is_empty() {
        return qualified;
    }
    let all = context.members.names().chain([context.members.node()]).filter_map(NodeId::new).collect();
    demote(qualified, &all, &failed.iter().filter_map(|node| NodeId::new(node)).collect())
}

/// The attributes of a local address. IPv6 addresses on real interfaces are deprecated, so that they are never
/// chosen as a source (specification, announcing.md 7).
fn local_attributes(address: IpAddr, attributes: AddressAttributes) -> AddressAttributes {
    match (address, attributes.valid_lifetime) {
        (IpAddr::V6(_), Some(_)) => AddressAttributes { preferred_lifetime: Some(0), ..attributes },
        _ => attributes,
    }
}

/// The attributes of a remote address. An IPv6 address is deprecated, so that it is never chosen as a source, not even on
/// a node that has no other global address on its interfaces.
const fn remote_attributes(address: IpAddr, attributes: AddressAttributes) -> AddressAttributes {
    match address {
        IpAddr::V4(_) => attributes,
        IpAddr::V6(_) => AddressAttributes { preferred_lifetime: Some(0), ..attributes },
    }
}

fn decide_remote(
    context: &Context<'_>,
    address: IpAddr,
    users: &[&ServiceView],
    prefix_len: u8,
    attributes: AddressAttributes,
) -> Decision {
    let Some(index) = context.dummy else {
        let text = format!("{address} needs the dummy interface, which is missing and cannot be created");
        return Decision::new(None, Reason::Refused(text));
    };
    // Whatever its prefix length, which may have changed.
    let is_here = context.observed.of(address).any(|(key, _)| key.index == index);
    match context.exclusion {
        Exclusion::Yes => return Decision::new(None, Reason::Excluded),
        Exclusion::Unknown if !is_here => return Decision::new(None, Reason::Undecided),
        _ => {}
    }
    let own = context.members.node();
    let failed = context.members.failed_proxies().contains(own);
    let serves = |node: &str| node != own && context.members.serving().contains(node);
    let waits = context.waits_for_proxy && !is_here;
    match TrafficPolicy::of(context.endpoints, address, users, Present { owner: None, members: context.members }) {
        TrafficPolicy::LocalUnknown if !is_here => return Decision::new(None, Reason::Undecided),
        TrafficPolicy::Local(nodes) if !nodes.contains(context.members.node()) => {
            return Decision::new(None, Reason::NoEndpoints);
        }
        TrafficPolicy::Local(nodes) if waits && nodes.iter().any(|node| serves(node)) => {
            return Decision::new(None, Reason::Undecided);
        }
        TrafficPolicy::Cluster if waits && context.members.serving().iter().any(|node| serves(node)) => {
            return Decision::new(None, Reason::Undecided);
        }
        // As long as another node takes it.
        TrafficPolicy::Local(nodes) if failed && nodes.iter().any(|node| serves(node)) => {
            return Decision::new(None, Reason::ProxyFailed);
        }
        TrafficPolicy::Cluster if failed && context.members.serving().iter().any(|node| serves(node)) => {
            return Decision::new(None, Reason::ProxyFailed);
        }
        _ => {}
    }
    let bits = Family::of(address).bits();
    let aggregate = users.iter().any(|user| user.traffic_local).then_some(prefix_len).filter(|length| *length < bits);
    let announced = AddressKey { ip: address, index, prefix_len };
    let key = AddressKey { prefix_len: if aggregate.is_some() { bits } else { prefix_len }, ..announced };
    let attributes = remote_attributes(address, attributes);
    let placement = Placement { kind: Kind::Remote, key, aggregate, attributes };
    let overlap = announced.network().and_then(|network| context.connected.overlapping(network, index));
    let Some((network, other)) = overlap else {
        // A node whose own address has the full prefix length is in no network, and reaches its gateway all the same.
        let network = announced.network().filter(|_| prefix_len < bits);
        let hidden = network.and_then(|network| context.gateways.iter().find(|gateway| network.contains(**gateway)));
        let Some(gateway) = hidden else { return Decision::new(Some(placement), Reason::Remote) };
        let text = format!(
            "{address}/{prefix_len} on the dummy interface would overlap the network of this node's gateway {gateway}. Set aggregation to /{bits}, or use addresses outside of that network"
        );
        return Decision::new(None, Reason::Refused(text));
    };
    let name = context.observed.name_of(other);
    if prefix_len < bits {
        let text = format!("{address}/{prefix_len} on the dummy interface would overlap network {network} of {name}");
        return Decision::new(None, Reason::Refused(text));
    }
    // A host route hides no other host.
    let text = format!(
        "{address} is announced by routing although it lies in network {network} of interface {name}: hosts of that network may look for it on their link, where nobody answers. Use a local group, or addresses outside of that network"
    );
    Decision::new(Some(placement), Reason::RemoteInside(text))
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
