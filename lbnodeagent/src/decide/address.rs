//! The decision about one address.
//!
//! The cost of a change of one Service is the same whether there are ten Services or ten thousand, because
//! [`decide`] looks at one address at a time. For a local address it decides whether this node is a candidate
//! ([`Participation`]). Which candidate owns the address is decided by the protocol between the agents.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api_types::range::{from_bits, to_bits};
use api_types::{AddressAttributes, Announce, Family, Pool};
use ownership::{AddressSpec, LinkId, Qualified};

use crate::cluster::service::ServiceView;
use crate::decide::context::Context;
use crate::decide::decision::{Decision, Exclusion, Participation};
use crate::decide::reason::Reason;
use crate::decide::traffic_policy::{TrafficPolicy, qualified};
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
    if context.node_addresses.contains(&address) {
        let text = format!("{address} is this node's own address: remove it from the ServiceGroup's pool");
        return nothing(Reason::Refused(text));
    }
    let pool = context.groups.find(address);
    let announce = pool.map(|(group, _)| group.announce).or_else(|| users.iter().find_map(|user| user.pool_type));
    // As the kernel has it, or had it until somebody removed it.
    let on_dummy = context.observed.of(address).map(|(key, _)| *key).find(|key| Some(key.index) == context.dummy);
    let on_dummy = on_dummy.or_else(|| context.remote.get(&address).map(|placement| placement.key));
    let known_subnet = context.members.know_subnet_of(address, context.now);
    let local = match announce {
        Some(Announce::Local) => true,
        Some(Announce::SubnetOrRouted) => known_subnet,
        // The address comes from a release that did not record the kind and from a group that is gone: it
        // stays what it is.
        None => known_subnet || on_dummy.is_none(),
    };
    let pool = pool.map(|(_, pool)| pool);
    if local {
        decide_local(context, address, users, pool, config.local)
    } else {
        let found = on_dummy.map(|key| key.prefix_len);
        let prefix_len = pool.map(Pool::prefix_len).or(found).unwrap_or(Family::of(address).bits());
        (decide_remote(context, address, users, prefix_len, config.remote), Participation::No)
    }
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
    let Some((interface, network)) = context.selection.containing(address) else {
        return nothing(Reason::NoLocalInterface);
    };
    let key = AddressKey { ip: address, index: interface.index, prefix_len: network.prefix() };
    if context.is_taken(address, interface.index) {
        let text = format!(
            "interface {} already has {address} from somebody else: remove it there, or from the ServiceGroup's pool",
            interface.name
        );
        return nothing(Reason::Refused(text));
    }
    let attributes = local_attributes(address, attributes);
    let qualified = qualified(context.endpoints, users);
    let nobody = matches!(&qualified, Some(Qualified::Tiers(tiers)) if tiers.iter().all(BTreeSet::is_empty));
    let decision = match context.held.get(&address) {
        Some(held) => Decision::new(Some(*held), Reason::Owner),
        None if nobody => Decision::new(None, Reason::NoEligibleNodes),
        None => Decision::new(None, Reason::NotOwner),
    };
    let Some(qualified) = qualified else { return (decision, Participation::Unchanged) };
    let want = AddressSpec {
        address,
        link: LinkId(interface.index),
        qualified,
        // Whoever knows the former requests sets it.
        rebalance: 0,
        free: pool.and_then(|pool| free_address(context, address, pool)),
        skip_probe: users.iter().any(|user| user.skip_dad),
    };
    let placement = Placement { kind: Kind::Local, key, attributes };
    let requests = users.iter().map(|user| user.rebalance).filter(|request| *request != 0).collect();
    (decision, Participation::Yes(Box::new(Candidacy { want, placement, requests })))
}

/// How many addresses of a pool are tried to find a free one.
const FREE: u128 = 64;

/// An address of the pool that no Service has, searched from the pool's end. A host that answers for it answers for
/// every address.
fn free_address(context: &Context<'_>, address: IpAddr, pool: &Pool) -> Option<IpAddr> {
    let (first, last) = (to_bits(pool.range.first()), to_bits(pool.range.last()));
    let unused = |candidate: &IpAddr| *candidate != address && context.services.of(*candidate).next().is_none();
    let mut candidates = (first..=last).rev().take(usize::try_from(FREE).unwrap_or(64));
    candidates.find_map(|bits| from_bits(Family::of(address), bits).filter(unused))
}

/// The attributes of a local address. IPv6 addresses on real interfaces are deprecated, so that they are never
/// chosen as a source (specification, announcing.md 7).
fn local_attributes(address: IpAddr, attributes: AddressAttributes) -> AddressAttributes {
    match (address, attributes.valid_lifetime) {
        (IpAddr::V6(_), Some(_)) => AddressAttributes { preferred_lifetime: Some(0), ..attributes },
        _ => attributes,
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
    let key = AddressKey { ip: address, index, prefix_len };
    match context.exclusion {
        Exclusion::Yes => return Decision::new(None, Reason::Excluded),
        Exclusion::Unknown if !context.observed.addresses.contains_key(&key) => {
            return Decision::new(None, Reason::Undecided);
        }
        _ => {}
    }
    match TrafficPolicy::of(context.endpoints, users) {
        TrafficPolicy::LocalUnknown if !context.observed.addresses.contains_key(&key) => {
            return Decision::new(None, Reason::Undecided);
        }
        TrafficPolicy::Local(nodes) if !nodes.contains(context.members.node()) => {
            return Decision::new(None, Reason::NoEndpoints);
        }
        _ => {}
    }
    if let Some((network, other)) = key.network().and_then(|network| context.connected.overlapping(network, index)) {
        let name = context.observed.name_of(other);
        let text = format!("{address}/{prefix_len} on the dummy interface would overlap network {network} of {name}");
        return Decision::new(None, Reason::Refused(text));
    }
    Decision::new(Some(Placement { kind: Kind::Remote, key, attributes }), Reason::Remote)
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
