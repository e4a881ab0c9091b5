//! All objects of the cluster that matter here: inputs in, addresses to decide about again out.
//!
//! The store is synchronous and has no access to the outside. It applies inputs and notes what they may concern
//! ([`Store::take_dirty`]).

mod listing;
mod objects;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ::ownership::Keys;
use api_types::lease::MARKS_WITH_ADDRESSES;
use api_types::names::GOSSIP_SECRET;
use api_types::{LBNodeAgent, Unreadable};
use jiff::Timestamp;
use runtime::BootTime;

use self::listing::Listings;
use crate::cluster::agent_object::AgentObject;
use crate::cluster::configuration;
use crate::cluster::configuration::{Mode, Notice};
use crate::cluster::endpoints::Endpoints;
use crate::cluster::gone_node::GoneNode;
use crate::cluster::groups::Groups;
use crate::cluster::input::{Input, REQUIRED};
use crate::cluster::members::Members;
use crate::cluster::node::NodeView;
use crate::cluster::reports::Reports;
use crate::cluster::selector::Labels;
use crate::cluster::services::Services;

/// What must be decided about again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dirty {
    /// Everything.
    pub all: bool,
    /// These addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// The configuration of this node.
    pub config: bool,
    /// What the protocol for local addresses is sent of this node: its addresses, its exclusion, and whether
    /// the watches are current.
    pub protocol: bool,
}

/// All objects of the cluster that matter here.
#[derive(Debug)]
pub struct Store {
    /// The Services with addresses.
    pub services: Services,
    /// The usable ServiceGroups.
    pub groups: Groups,
    /// The members.
    pub members: Members,
    /// What agents report of addresses in their kernels.
    pub reports: Reports,
    /// The endpoints, as long as a Service needs them.
    pub endpoints: Endpoints,
    /// This node, once known.
    pub node: Option<NodeView>,
    gone_node: GoneNode,
    /// The gossip keys, once known. They are never forgotten.
    pub keys: Option<Keys>,
    keys_changed: bool,
    members_changed: bool,
    watches: BTreeMap<&'static str, bool>,
    agents: BTreeMap<(String, String), LBNodeAgent>,
    /// What of the LBNodeAgents their status depends on.
    pub agent_objects: BTreeMap<(String, String), AgentObject>,
    /// The LBNodeAgents that this build cannot read, and why.
    unreadable: BTreeMap<(String, String), Unreadable>,
    /// The version of the marks that the leading allocator writes, once known.
    leader: Option<u16>,
    dirty: Dirty,
    listing: Listings,
}

impl Store {
    /// Without any object.
    #[must_use]
    pub fn new(node: &str) -> Self {
        Self {
            services: Services::default(),
            groups: Groups::default(),
            members: Members::new(node),
            reports: Reports::default(),
            endpoints: Endpoints::default(),
            node: None,
            gone_node: GoneNode::default(),
            keys: None,
            keys_changed: false,
            members_changed: true,
            watches: BTreeMap::new(),
            agents: BTreeMap::new(),
            agent_objects: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            leader: None,
            dirty: Dirty::default(),
            listing: Listings::default(),
        }
    }

    /// What is still missing before anything is decided; nothing when every watch has delivered its first list.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        let listing = &self.listing;
        [
            (listing.services.complete, "the list of Services"),
            (listing.groups.complete, "the list of ServiceGroups"),
            (listing.agents.complete, "the list of LBNodeAgents"),
            (listing.node && self.node.is_some(), "this node's Node object"),
            (listing.leases.complete, "the list of Leases"),
            (self.keys.is_some(), "the gossip key (Secret purelb-gossip)"),
        ]
        .into_iter()
        .find_map(|(complete, what)| (!complete).then_some(what))
    }

    /// Whether the keys changed since the last call.
    pub const fn keys_changed(&mut self) -> bool {
        std::mem::replace(&mut self.keys_changed, false)
    }

    /// Whether the members changed since the last call.
    pub const fn members_changed(&mut self) -> bool {
        std::mem::replace(&mut self.members_changed, false)
    }

    /// Handles the passing of time: Leases may have expired, and this node's Node may be gone for long enough.
    pub fn expire(&mut self, now: BootTime) {
        let current = self.watches_current();
        self.dirty.config |= self.gone_node.judge(current, now);
        let changed = self.members.expire(now);
        self.note_members(changed);
    }

    fn note_members(&mut self, changed: bool) {
        let reserved = self.members.take_reserved_changes();
        self.mark(reserved);
        self.members_changed |= changed;
        self.dirty.all |= changed;
    }

    /// Whether every watch that decisions depend on is current. The objects of a watch that is not current
    /// stay.
    #[must_use]
    pub fn watches_current(&self) -> bool {
        REQUIRED.iter().all(|name| self.watches.get(name).copied().unwrap_or(false))
    }

    /// Everything must be decided about again.
    pub const fn mark_all(&mut self) {
        self.dirty.all = true;
    }

    /// These addresses must be decided about again.
    pub fn mark(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.dirty.addresses.extend(addresses);
    }

    /// Whether anything must be decided about again.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.dirty != Dirty::default()
    }

    /// What must be decided about again since the last call.
    pub fn take_dirty(&mut self) -> Dirty {
        std::mem::take(&mut self.dirty)
    }

    /// Chooses this node's configuration.
    #[must_use]
    pub fn configuration(&self) -> (Mode, Vec<Notice>) {
        if self.gone_node.is_gone() {
            return (Mode::Gone, Vec::new());
        }
        let none = Labels::new();
        let labels = self.node.as_ref().map_or(&none, |node| &node.labels);
        let (mode, mut notices) = configuration::choose(self.agents.values(), labels, self.members.node());
        let unreadable = self.unreadable.iter();
        notices.extend(
            unreadable
                .map(|(agent, problem)| configuration::unreadable(agent, problem, self.agents.contains_key(agent))),
        );
        (mode, notices)
    }

    /// Whether the leading allocator is of a release that does not write `allocated-addresses`.
    #[must_use]
    pub fn has_old_leader(&self) -> bool {
        self.leader.is_some_and(|version| version < MARKS_WITH_ADDRESSES)
    }

    /// Applies an input.
    pub fn apply(&mut self, input: Input, now: BootTime, wall: Timestamp) {
        match input {
            Input::Service(event) => self.service(event),
            Input::Group(event) => self.group(event),
            Input::Agent(event) => self.agent(event),
            Input::Node(event) => self.node(event, now),
            Input::Lease(event) => self.lease(event, now, wall),
            Input::Leader(version) => self.dirty.all |= self.leader.replace(version) != Some(version),
            Input::Slice(event) => self.slice(event),
            Input::Keys(keys) => self.keys(keys),
            Input::Watch { name, current } => {
                self.dirty.protocol |= self.watches.insert(name, current) != Some(current);
            }
        }
    }

    fn keys(&mut self, keys: Option<Keys>) {
        match (keys, &self.keys) {
            (Some(keys), _) => {
                // The first keys may be the last thing that was missing.
                self.dirty.all |= self.keys.is_none();
                self.keys = Some(keys);
                self.keys_changed = true;
            }
            // Without a key the agents could not hear each other, which nobody intends who empties the
            // Secret.
            (None, Some(_)) => tracing::warn!(
                op = "gossipKey",
                secret = GOSSIP_SECRET,
                "the Secret has no key any more: the agent continues with the previous one"
            ),
            (None, None) => {}
        }
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
