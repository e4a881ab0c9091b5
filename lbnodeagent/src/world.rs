//! The cluster as this node sees it: inputs in, addresses to look at again out.
//!
//! Synchronous and without access to anything: what arrives is taken over, and what it may concern
//! is noted in [`World::take_dirty`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::{LBNodeAgent, ServiceGroup};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::watcher::Event;
use runtime::BootTime;

use crate::config::{self, Mode, Notice};
use crate::endpoints::{Endpoints, SliceView};
use crate::groups::Groups;
use crate::members::{LeaseView, Members};
use crate::nodes::NodeView;
use crate::services::{ServiceName, ServiceView, Services};

/// Something that happened outside.
#[derive(Debug)]
pub enum Input {
    /// A Service.
    Service(Event<ServiceView>),
    /// A ServiceGroup of the install namespace.
    Group(Event<Box<ServiceGroup>>),
    /// An LBNodeAgent of any namespace.
    Agent(Event<Box<LBNodeAgent>>),
    /// This node's Node.
    Node(Event<NodeView>),
    /// An agent's Lease.
    Lease(Event<LeaseView>),
    /// An EndpointSlice.
    Slice(Event<SliceView>),
    /// Our own Lease was renewed by a request sent at this time.
    Renewed(BootTime),
}

/// What must be looked at again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dirty {
    /// Everything.
    pub all: bool,
    /// These addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// The configuration of this node.
    pub config: bool,
}

/// The names that a list in progress has brought so far; what it does not bring is gone.
#[derive(Debug)]
struct Listing<K> {
    seen: BTreeSet<K>,
    /// The first list is complete.
    complete: bool,
}

impl<K> Default for Listing<K> {
    fn default() -> Self {
        Self { seen: BTreeSet::new(), complete: false }
    }
}

impl<K: Ord> Listing<K> {
    /// The list is complete: what of `known` it did not bring.
    fn done<'a>(&mut self, known: impl Iterator<Item = &'a K>) -> Vec<K>
    where
        K: Clone + 'a,
    {
        self.complete = true;
        let seen = std::mem::take(&mut self.seen);
        known.filter(|name| !seen.contains(name)).cloned().collect()
    }
}

/// The cluster as this node sees it.
#[derive(Debug)]
pub struct World {
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
    agents: BTreeMap<(String, String), LBNodeAgent>,
    dirty: Dirty,
    listing: Listings,
}

#[derive(Debug, Default)]
struct Listings {
    services: Listing<ServiceName>,
    groups: Listing<String>,
    agents: Listing<(String, String)>,
    node: bool,
    leases: Listing<String>,
    slices: Listing<(ServiceName, Box<str>)>,
}

impl World {
    /// Knows nothing but the name of this node.
    #[must_use]
    pub fn new(node: &str) -> Self {
        Self {
            services: Services::default(),
            groups: Groups::default(),
            members: Members::new(node),
            endpoints: Endpoints::default(),
            node: None,
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
        ]
        .into_iter()
        .find_map(|(complete, what)| (!complete).then_some(what))
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
        let none = config::Labels::new();
        let labels = self.node.as_ref().map_or(&none, |node| &node.labels);
        config::choose(self.agents.values(), labels, self.members.node())
    }

    /// Takes an input over.
    pub fn take(&mut self, input: Input, now: BootTime, wall: Timestamp) {
        match input {
            Input::Service(event) => self.service(event),
            Input::Group(event) => self.group(event),
            Input::Agent(event) => self.agent(event),
            Input::Node(event) => self.node(event),
            Input::Lease(event) => self.lease(event, now, wall),
            Input::Slice(event) => self.slice(event),
            Input::Renewed(sent) => {
                // The first renewal, and the first after an outage, let decisions be made again.
                self.dirty.all |= !self.members.is_current(now);
                self.members.own_renewal(sent);
            }
        }
    }

    fn service(&mut self, event: Event<ServiceView>) {
        match event {
            Event::Init => self.listing.services.seen.clear(),
            Event::InitApply(view) => {
                self.listing.services.seen.insert(view.name.clone());
                self.apply_service(view);
            }
            Event::Apply(view) => self.apply_service(view),
            Event::Delete(view) => {
                let touched = self.services.remove(&view.name);
                self.mark(touched);
            }
            Event::InitDone => {
                self.dirty.all |= !self.listing.services.complete;
                for name in self.listing.services.done(self.services.names()) {
                    let touched = self.services.remove(&name);
                    self.mark(touched);
                }
            }
        }
    }

    fn apply_service(&mut self, view: ServiceView) {
        let touched = self.services.apply(view);
        self.mark(touched);
    }

    fn group(&mut self, event: Event<Box<ServiceGroup>>) {
        match event {
            Event::Init => self.listing.groups.seen.clear(),
            Event::InitApply(object) => {
                self.listing.groups.seen.insert(object.name_any());
                self.apply_group(&object);
            }
            Event::Apply(object) => self.apply_group(&object),
            Event::Delete(object) => {
                self.groups.remove(&object.name_any());
                self.dirty.all = true;
            }
            Event::InitDone => {
                self.dirty.all |= !self.listing.groups.complete;
                let known: Vec<String> = self.groups.names().map(str::to_owned).collect();
                for name in self.listing.groups.done(known.iter()) {
                    self.groups.remove(&name);
                    self.dirty.all = true;
                }
            }
        }
    }

    fn apply_group(&mut self, object: &ServiceGroup) {
        match self.groups.apply(object) {
            Ok(changed) => self.dirty.all |= changed,
            Err(error) => {
                // The allocator tells the user; here it matters why an address is what it is.
                tracing::warn!(op = "setConfig", group = object.name_any(), %error, "ServiceGroup not usable");
                self.dirty.all = true;
            }
        }
    }

    fn agent(&mut self, event: Event<Box<LBNodeAgent>>) {
        let key = |agent: &LBNodeAgent| (agent.namespace().unwrap_or_default(), agent.name_any());
        match event {
            Event::Init => self.listing.agents.seen.clear(),
            Event::InitApply(agent) => {
                self.listing.agents.seen.insert(key(&agent));
                self.apply_agent(key(&agent), agent);
            }
            Event::Apply(agent) => self.apply_agent(key(&agent), agent),
            Event::Delete(agent) => {
                self.agents.remove(&key(&agent));
                self.dirty.config = true;
            }
            Event::InitDone => {
                self.dirty.config |= !self.listing.agents.complete;
                for name in self.listing.agents.done(self.agents.keys()) {
                    self.agents.remove(&name);
                    self.dirty.config = true;
                }
            }
        }
    }

    fn apply_agent(&mut self, key: (String, String), mut agent: Box<LBNodeAgent>) {
        agent.metadata.managed_fields = None;
        let known = self.agents.get(&key);
        self.dirty.config |= known.is_none_or(|known| known.spec != agent.spec);
        self.agents.insert(key, *agent);
    }

    fn node(&mut self, event: Event<NodeView>) {
        match event {
            Event::Apply(view) | Event::InitApply(view) => {
                if let Some(known) = &self.node {
                    self.dirty.config |= known.labels != view.labels || known.uid != view.uid;
                    self.dirty.all |= known.addresses != view.addresses;
                } else {
                    self.dirty.config = true;
                    self.dirty.all = true;
                }
                self.node = Some(view);
            }
            // A node that is deleted and registers anew is still this machine.
            Event::Delete(_) | Event::Init => {}
            Event::InitDone => self.listing.node = true,
        }
    }

    fn lease(&mut self, event: Event<LeaseView>, now: BootTime, wall: Timestamp) {
        match event {
            Event::Init => self.listing.leases.seen.clear(),
            Event::InitApply(view) => {
                self.listing.leases.seen.insert(view.node.clone());
                self.dirty.all |= self.members.apply(view, now, wall);
            }
            Event::Apply(view) => self.dirty.all |= self.members.apply(view, now, wall),
            Event::Delete(view) => self.dirty.all |= self.members.remove(&view.node, now),
            Event::InitDone => {
                self.dirty.all |= !self.listing.leases.complete;
                let known: Vec<String> = self.members.names().map(str::to_owned).collect();
                for name in self.listing.leases.done(known.iter()) {
                    self.dirty.all |= self.members.remove(&name, now);
                }
            }
        }
    }

    fn slice(&mut self, event: Event<SliceView>) {
        match event {
            Event::Init => self.listing.slices.seen.clear(),
            Event::InitApply(view) => {
                self.listing.slices.seen.insert((view.service.clone(), view.name.clone()));
                self.apply_slice(view);
            }
            Event::Apply(view) => self.apply_slice(view),
            Event::Delete(view) => {
                self.endpoints.remove(&view.service, &view.name);
                self.mark_service(&view.service);
            }
            Event::InitDone => {
                self.endpoints.set_complete();
                self.dirty.all = true;
                let known: Vec<(ServiceName, Box<str>)> =
                    self.endpoints.names().map(|(service, slice)| (service.clone(), slice.into())).collect();
                for (service, slice) in self.listing.slices.done(known.iter()) {
                    self.endpoints.remove(&service, &slice);
                }
            }
        }
    }

    fn apply_slice(&mut self, view: SliceView) {
        let service = view.service.clone();
        if self.endpoints.apply(view) {
            self.mark_service(&service);
        }
    }

    fn mark_service(&mut self, name: &ServiceName) {
        if let Some(service) = self.services.get(name).filter(|service| service.needs_endpoints()) {
            self.dirty.addresses.extend(service.addresses.iter().copied());
        }
    }
}

#[cfg(test)]
#[path = "world_tests.rs"]
mod tests;
