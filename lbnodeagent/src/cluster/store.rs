//! The cluster as this node sees it: inputs in, addresses to look at again out.
//!
//! Synchronous and without access to anything: what arrives is taken over, and what it may concern
//! is noted in [`Store::take_dirty`].

mod listing;
mod objects;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ::ownership::Keys;
use api_types::LBNodeAgent;
use api_types::names::GOSSIP_SECRET;
use jiff::Timestamp;
use runtime::BootTime;

use self::listing::Listings;
use crate::cluster::configuration;
use crate::cluster::configuration::{Mode, Notice};
use crate::cluster::endpoints::Endpoints;
use crate::cluster::groups::Groups;
use crate::cluster::input::{Input, REQUIRED};
use crate::cluster::members::Members;
use crate::cluster::node::NodeView;
use crate::cluster::selector::Labels;
use crate::cluster::services::Services;

/// What must be looked at again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dirty {
    /// Everything.
    pub all: bool,
    /// These addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// The configuration of this node.
    pub config: bool,
    /// What the protocol for local addresses is told of this node: its addresses, its exclusion, whether the watches
    /// are current.
    pub protocol: bool,
}

/// The cluster as this node sees it.
#[derive(Debug)]
pub struct Store {
    /// The Services with addresses.
    pub services: Services,
    /// The usable ServiceGroups.
    pub groups: Groups,
    /// The members.
    pub members: Members,
    /// Endpoints, while needed.
    pub endpoints: Endpoints,
    /// This node, once known.
    pub node: Option<NodeView>,
    /// The gossip's keys, once known; they are never forgotten.
    pub keys: Option<Keys>,
    keys_changed: bool,
    members_changed: bool,
    watches: BTreeMap<&'static str, bool>,
    agents: BTreeMap<(String, String), LBNodeAgent>,
    dirty: Dirty,
    listing: Listings,
}

impl Store {
    /// Knows nothing but the name of this node.
    #[must_use]
    pub fn new(node: &str) -> Self {
        Self {
            services: Services::default(),
            groups: Groups::default(),
            members: Members::new(node),
            endpoints: Endpoints::default(),
            node: None,
            keys: None,
            keys_changed: false,
            members_changed: true,
            watches: BTreeMap::new(),
            agents: BTreeMap::new(),
            dirty: Dirty::default(),
            listing: Listings::default(),
        }
    }

    /// What is still missing before anything is decided; nothing when every watch has delivered
    /// its first list.
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

    /// Time has passed: Leases may have run out.
    pub fn expire(&mut self, now: BootTime) {
        let changed = self.members.expire(now);
        self.note_members(changed);
    }

    const fn note_members(&mut self, changed: bool) {
        self.members_changed |= changed;
        self.dirty.all |= changed;
    }

    /// Whether every watch that decisions depend on shows what there is. What it shows stays when it does not.
    #[must_use]
    pub fn watches_current(&self) -> bool {
        REQUIRED.iter().all(|name| self.watches.get(name).copied().unwrap_or(false))
    }

    /// Everything must be looked at again.
    pub const fn mark_all(&mut self) {
        self.dirty.all = true;
    }

    /// These addresses must be looked at again.
    pub fn mark(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.dirty.addresses.extend(addresses);
    }

    /// Whether anything must be looked at again.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.dirty != Dirty::default()
    }

    /// What must be looked at again since the last call.
    pub fn take_dirty(&mut self) -> Dirty {
        std::mem::take(&mut self.dirty)
    }

    /// Chooses this node's configuration.
    #[must_use]
    pub fn configuration(&self) -> (Mode, Vec<Notice>) {
        let none = Labels::new();
        let labels = self.node.as_ref().map_or(&none, |node| &node.labels);
        configuration::choose(self.agents.values(), labels, self.members.node())
    }

    /// Takes an input over.
    pub fn apply(&mut self, input: Input, now: BootTime, wall: Timestamp) {
        match input {
            Input::Service(event) => self.service(event),
            Input::Group(event) => self.group(event),
            Input::Agent(event) => self.agent(event),
            Input::Node(event) => self.node(event),
            Input::Lease(event) => self.lease(event, now, wall),
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
                // The last thing that was missing, perhaps.
                self.dirty.all |= self.keys.is_none();
                self.keys = Some(keys);
                self.keys_changed = true;
            }
            // Without a key the agents would not hear each other any more; whoever empties the Secret means no such thing.
            (None, Some(_)) => tracing::warn!(
                op = "gossipKey",
                secret = GOSSIP_SECRET,
                "the Secret has no key any more: going on with the one that was there"
            ),
            (None, None) => {}
        }
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
