//! What this node should do about an address: objects in, placement and reason out.
//!
//! One function, [`decide`], looks at one address at a time, so a change of one Service costs the
//! same whether there are ten or ten thousand.

mod policy;
mod reason;

use std::collections::BTreeSet;
use std::net::IpAddr;

use api_types::{AddressAttributes, Announce, Family};
use runtime::BootTime;
use serde::Serialize;

use self::policy::{TrafficPolicy, qualified};
pub use self::reason::Reason;

use crate::config::Mode;
use crate::endpoints::Endpoints;
use crate::groups::Groups;
use crate::interfaces::{Connected, Selection};
use crate::members::Members;
use crate::observed::{AddressKey, KernelAddress, MARK, Observed};
use crate::ownership::{self, Owner};
use crate::services::ServiceView;

/// How an address is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// On a network interface of this node alone.
    Local,
    /// On the dummy interface of every node.
    Remote,
}

/// Where an address goes and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// How it is announced.
    pub kind: Kind,
    /// Where.
    pub key: AddressKey,
    /// With which lifetimes and flags.
    pub attributes: AddressAttributes,
}

/// What to do about an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Where it goes; nothing if not here.
    pub placement: Option<Placement>,
    /// Why.
    pub reason: Reason,
    /// The Service prefers nodes none of which can answer.
    pub affinity_fallback: bool,
}

impl Decision {
    const fn new(placement: Option<Placement>, reason: Reason) -> Self {
        Self { placement, reason, affinity_fallback: false }
    }
}

/// Everything that a decision depends on.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The configuration of this node.
    pub mode: &'a Mode,
    /// The ServiceGroups.
    pub groups: &'a Groups,
    /// The interfaces for local addresses.
    pub selection: &'a Selection,
    /// The nodes that can answer.
    pub members: &'a Members,
    /// The endpoints of the Services that need them.
    pub endpoints: &'a Endpoints,
    /// What the kernel has.
    pub observed: &'a Observed,
    /// The networks that interfaces are part of by other people's addresses.
    pub connected: &'a Connected,
    /// Addresses of ours that carry no mark, on old kernels.
    pub recorded: &'a BTreeSet<AddressKey>,
    /// The node's own addresses (its `status.addresses`): never touched.
    pub node_addresses: &'a BTreeSet<IpAddr>,
    /// The index of the dummy interface, if it is there.
    pub dummy: Option<u32>,
    /// The time.
    pub now: BootTime,
}

impl Context<'_> {
    fn is_ours(&self, key: &AddressKey, found: &KernelAddress) -> bool {
        found.mark == Some(MARK) || self.recorded.contains(key)
    }

    /// Whether the kernel has just this address from us.
    fn has_ours(&self, key: &AddressKey) -> bool {
        self.observed.addresses.get(key).is_some_and(|found| self.is_ours(key, found))
    }
}

/// Decides about an address.
///
/// `users` are the Services with the address, `held` is where it was placed before.
#[must_use]
pub fn decide(context: &Context<'_>, address: IpAddr, users: &[&ServiceView], held: Option<&Placement>) -> Decision {
    let Some(config) = context.mode.config() else { return nothing(Reason::NoConfig(context.mode.state())) };
    if users.is_empty() {
        return nothing(Reason::NotWanted);
    }
    if context.node_addresses.contains(&address) {
        let text = "the address is this node's own: take it out of the ServiceGroup's pool";
        return nothing(Reason::Refused(text.to_owned()));
    }
    let pool = context.groups.find(address);
    let announce = pool.map(|(group, _)| group.announce).or_else(|| users.iter().find_map(|user| user.pool_type));
    let on_dummy = context.observed.of(address).map(|(key, _)| *key).find(|key| Some(key.index) == context.dummy);
    let known_subnet = context.members.know_subnet_of(address, context.now);
    let local = match announce {
        Some(Announce::Local) => true,
        Some(Announce::SubnetOrRouted) => known_subnet,
        // Allocated by a release that did not record the kind, from a group that is gone: as it is.
        None => known_subnet || on_dummy.is_none(),
    };
    if local {
        decide_local(context, address, users, held, config.local)
    } else {
        let found = on_dummy.map(|key| key.prefix_len);
        let prefix_len = pool.map(|(_, pool)| pool.prefix_len()).or(found).unwrap_or(Family::of(address).bits());
        decide_remote(context, address, users, prefix_len, config.remote)
    }
}

fn nothing(reason: Reason) -> Decision {
    Decision::new(None, reason)
}

fn decide_local(
    context: &Context<'_>,
    address: IpAddr,
    users: &[&ServiceView],
    held: Option<&Placement>,
    attributes: AddressAttributes,
) -> Decision {
    let Some((interface, network)) = context.selection.containing(address) else {
        return nothing(Reason::NoLocalInterface);
    };
    let key = AddressKey { ip: address, index: interface.index, prefix_len: network.prefix() };
    // A static address of the host that the pool covers: not ours, and not to be given a lifetime.
    if context.observed.addresses.get(&key).is_some_and(|found| found.valid.is_none() && !context.is_ours(&key, found))
    {
        let text = format!(
            "{} already has the address, and not from us: take it out of the ServiceGroup's pool",
            interface.name
        );
        return nothing(Reason::Refused(text));
    }
    let attributes = local_attributes(address, attributes);
    let here = Placement { kind: Kind::Local, key, attributes };
    let Some(qualified) = qualified(context.endpoints, users) else { return keep(held, here, context) };
    let decision = match ownership::decide(context.members, address, &qualified, context.now) {
        Owner::Me => Decision::new(Some(here), Reason::Owner),
        Owner::Other(node) => nothing(Reason::OtherOwner(node)),
        Owner::Nobody => nothing(Reason::NoEligibleNodes),
        Owner::Unknown => keep(held, here, context),
    };
    let affinity_fallback = ownership::falls_back(context.members, address, &qualified, context.now);
    Decision { affinity_fallback, ..decision }
}

/// What was here stays, what was not does not come.
fn keep(held: Option<&Placement>, here: Placement, context: &Context<'_>) -> Decision {
    if held.map_or_else(|| context.has_ours(&here.key), |held| held.kind == Kind::Local) {
        Decision::new(Some(here), Reason::Owner)
    } else {
        nothing(Reason::Undecided)
    }
}

/// IPv6 addresses on real interfaces are deprecated, so that they are never chosen as a source
/// (specification, announcing.md 7).
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
        return nothing(Reason::Refused("the dummy interface is missing and cannot be created".to_owned()));
    };
    let key = AddressKey { ip: address, index, prefix_len };
    match TrafficPolicy::of(context.endpoints, users) {
        TrafficPolicy::LocalUnknown if !context.observed.addresses.contains_key(&key) => {
            return nothing(Reason::Undecided);
        }
        TrafficPolicy::Local(nodes) if !nodes.contains(context.members.node()) => return nothing(Reason::NoEndpoints),
        _ => {}
    }
    if let Some((network, other)) = key.network().and_then(|network| context.connected.overlapping(network, index)) {
        let name = context.observed.name_of(other);
        let text = format!("{address}/{prefix_len} on the dummy interface would overlap network {network} of {name}");
        return nothing(Reason::Refused(text));
    }
    Decision::new(Some(Placement { kind: Kind::Remote, key, attributes }), Reason::Remote)
}

#[cfg(test)]
#[path = "desired_tests.rs"]
mod tests;
