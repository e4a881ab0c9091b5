//! What this node should do about an address: objects in, placement and reason out.
//!
//! One function, [`decide`], looks at one address at a time, so a change of one Service costs the
//! same whether there are ten or ten thousand. For a local address the outcome is whether this node
//! takes part ([`Candidacy`]); which node then has it, the protocol between the agents says
//! ([`crate::local`]).

mod policy;
mod reason;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::range::{from_bits, to_bits};
use api_types::{AddressAttributes, Announce, Family, Pool};
use ownership::{AddressSpec, LinkId, Qualified};
use runtime::BootTime;
use serde::Serialize;

use self::policy::{TrafficPolicy, qualified};
pub use self::reason::Reason;

use crate::config::Mode;
use crate::endpoints::Endpoints;
use crate::groups::Groups;
use crate::interfaces::{Connected, Selection};
use crate::local::Wanted;
use crate::members::Members;
use crate::netlink::marks_addresses;
use crate::observed::{AddressKey, KernelAddress, MARK, Observed};
use crate::services::{ServiceView, Services};

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
    /// Where it is, if local, or goes, if remote; nothing if not here.
    pub placement: Option<Placement>,
    /// Why.
    pub reason: Reason,
}

impl Decision {
    const fn new(placement: Option<Placement>, reason: Reason) -> Self {
        Self { placement, reason }
    }
}

/// Whether this node takes part in answering for a local address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidacy {
    /// No, or the address is not local.
    No,
    /// Not known now: as before.
    AsBefore,
    /// Yes, and so.
    Yes(Box<Wanted>),
}

/// Whether a node is excluded from load balancers, which counts only as long as not every node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclusion {
    /// No.
    No,
    /// Yes.
    Yes,
    /// It carries the label, and whether all others do too is not known yet.
    Unknown,
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
    /// The Services.
    pub services: &'a Services,
    /// The nodes with subnets.
    pub members: &'a Members,
    /// The local addresses that this node answers for.
    pub held: &'a BTreeMap<IpAddr, Placement>,
    /// Where those go that it takes part in.
    pub places: &'a BTreeMap<IpAddr, Wanted>,
    /// Where remote addresses were to be until now.
    pub remote: &'a BTreeMap<IpAddr, Placement>,
    /// Whether the node is excluded from load balancers.
    pub exclusion: Exclusion,
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
        // Where the kernel cannot mark an address, it is ours from the moment on in which the protocol may put it there.
        let placed =
            || !marks_addresses() && self.places.get(&key.ip).is_some_and(|wanted| wanted.placement.key == *key);
        found.mark == Some(MARK) || self.recorded.contains(key) || placed()
    }

    /// Whether an interface has the address from somebody else: an administrator, DHCP, another address manager. IPv6
    /// knows it once per interface whatever its prefix length, so adding ours would change theirs. What the protocol
    /// holds is ours even if somebody has just written over it; and where the kernel cannot mark addresses, one with a
    /// lifetime may be ours from a run that ended before it was recorded.
    fn is_taken(&self, address: IpAddr, index: u32) -> bool {
        let foreign = |key: &AddressKey, found: &KernelAddress| {
            key.index == index && !self.is_ours(key, found) && (found.valid.is_none() || marks_addresses())
        };
        !self.held.contains_key(&address) && self.observed.of(address).any(|(key, found)| foreign(key, found))
    }
}

/// Decides about an address; `users` are the Services with it.
#[must_use]
pub fn decide(context: &Context<'_>, address: IpAddr, users: &[&ServiceView]) -> (Decision, Candidacy) {
    let Some(config) = context.mode.config() else { return nothing(Reason::NoConfig(context.mode.state())) };
    if users.is_empty() {
        return nothing(Reason::NotWanted);
    }
    if context.node_addresses.contains(&address) {
        let text = format!("{address} is this node's own address: take it out of the ServiceGroup's pool");
        return nothing(Reason::Refused(text));
    }
    let pool = context.groups.find(address);
    let announce = pool.map(|(group, _)| group.announce).or_else(|| users.iter().find_map(|user| user.pool_type));
    // As the kernel has it, or had it until somebody took it away.
    let on_dummy = context.observed.of(address).map(|(key, _)| *key).find(|key| Some(key.index) == context.dummy);
    let on_dummy = on_dummy.or_else(|| context.remote.get(&address).map(|placement| placement.key));
    let known_subnet = context.members.know_subnet_of(address, context.now);
    let local = match announce {
        Some(Announce::Local) => true,
        Some(Announce::SubnetOrRouted) => known_subnet,
        // Allocated by a release that did not record the kind, from a group that is gone: as it is.
        None => known_subnet || on_dummy.is_none(),
    };
    let pool = pool.map(|(_, pool)| pool);
    if local {
        decide_local(context, address, users, pool, config.local)
    } else {
        let found = on_dummy.map(|key| key.prefix_len);
        let prefix_len = pool.map(Pool::prefix_len).or(found).unwrap_or(Family::of(address).bits());
        (decide_remote(context, address, users, prefix_len, config.remote), Candidacy::No)
    }
}

const fn nothing(reason: Reason) -> (Decision, Candidacy) {
    (Decision::new(None, reason), Candidacy::No)
}

fn decide_local(
    context: &Context<'_>,
    address: IpAddr,
    users: &[&ServiceView],
    pool: Option<&Pool>,
    attributes: AddressAttributes,
) -> (Decision, Candidacy) {
    let Some((interface, network)) = context.selection.containing(address) else {
        return nothing(Reason::NoLocalInterface);
    };
    let key = AddressKey { ip: address, index: interface.index, prefix_len: network.prefix() };
    if context.is_taken(address, interface.index) {
        let text = format!(
            "{} already has {address}, and not from us: take it away there, or out of the ServiceGroup's pool",
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
    let Some(qualified) = qualified else { return (decision, Candidacy::AsBefore) };
    let want = AddressSpec {
        address,
        link: LinkId(interface.index),
        qualified,
        // Whether a request is a new one, whoever knows the former ones says.
        rebalance: 0,
        free: pool.and_then(|pool| free_address(context, address, pool)),
        skip_probe: users.iter().any(|user| user.skip_dad),
    };
    let placement = Placement { kind: Kind::Local, key, attributes };
    let requests = users.iter().map(|user| user.rebalance).filter(|request| *request != 0).collect();
    (decision, Candidacy::Yes(Box::new(Wanted { want, placement, requests })))
}

/// How many addresses of a pool are looked at for a free one.
const FREE: u128 = 64;

/// An address of the pool that no Service has, from the pool's end: whoever answers for it answers
/// for everything.
fn free_address(context: &Context<'_>, address: IpAddr, pool: &Pool) -> Option<IpAddr> {
    let (first, last) = (to_bits(pool.range.first()), to_bits(pool.range.last()));
    let unused = |candidate: &IpAddr| *candidate != address && context.services.of(*candidate).next().is_none();
    let mut candidates = (first..=last).rev().take(usize::try_from(FREE).unwrap_or(64));
    candidates.find_map(|bits| from_bits(Family::of(address), bits).filter(unused))
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
#[path = "desired_tests.rs"]
mod tests;
