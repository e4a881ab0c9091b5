//! Applying the watches' events, one kind of object at a time.

use api_types::{LBNodeAgent, ServiceGroup, Watched};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::watcher::Event;
use runtime::BootTime;

use super::Store;
use crate::cluster::agent_object::AgentObject;
use crate::cluster::endpoints::SliceView;
use crate::cluster::lease::LeaseView;
use crate::cluster::node::NodeView;
use crate::cluster::service::{ServiceName, ServiceView};

impl Store {
    pub(super) fn service(&mut self, event: Event<ServiceView>) {
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

    pub(super) fn group(&mut self, event: Event<Box<Watched<ServiceGroup>>>) {
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

    fn apply_group(&mut self, object: &Watched<ServiceGroup>) {
        match self.groups.apply(object) {
            Ok(changed) => self.dirty.all |= changed,
            Err(error) => {
                // The allocator reports it to the user. The log shows here why an address is treated
                // as it is.
                tracing::warn!(op = "setConfig", group = object.name_any(), %error, "ServiceGroup not usable");
                self.dirty.all = true;
            }
        }
    }

    pub(super) fn agent(&mut self, event: Event<Box<Watched<LBNodeAgent>>>) {
        match event {
            Event::Init => self.listing.agents.seen.clear(),
            Event::InitApply(agent) => {
                self.listing.agents.seen.insert(agent.id());
                self.apply_agent(&agent);
            }
            Event::Apply(agent) => self.apply_agent(&agent),
            Event::Delete(agent) => self.remove_agent(&agent.id()),
            Event::InitDone => {
                self.dirty.config |= !self.listing.agents.complete;
                let known: Vec<_> = self.agents.keys().chain(self.unreadable.keys()).cloned().collect();
                for name in self.listing.agents.done(known.iter()) {
                    self.remove_agent(&name);
                }
            }
        }
    }

    /// Takes an LBNodeAgent over. Of one that this build cannot read, the last readable form stays.
    fn apply_agent(&mut self, watched: &Watched<LBNodeAgent>) {
        let key = watched.id();
        let spec = watched.spec();
        self.agent_objects.insert(key.clone(), AgentObject::new(watched, spec.as_ref()));
        match spec {
            Ok(spec) => {
                let known = self.agents.get(&key).is_some_and(|known| known.spec == spec);
                self.dirty.config |= self.unreadable.remove(&key).is_some() || !known;
                let mut agent = LBNodeAgent::new(&key.1, spec);
                agent.metadata.namespace = Some(key.0.clone());
                self.agents.insert(key, agent);
            }
            Err(problem) => {
                self.dirty.config |= self.unreadable.get(&key) != Some(&problem);
                self.unreadable.insert(key, problem);
            }
        }
    }

    fn remove_agent(&mut self, key: &(String, String)) {
        self.agents.remove(key);
        self.unreadable.remove(key);
        self.agent_objects.remove(key);
        self.dirty.config = true;
    }

    pub(super) fn node(&mut self, event: Event<NodeView>, now: BootTime) {
        match event {
            Event::Apply(view) | Event::InitApply(view) => {
                self.gone_node.seen();
                if let Some(known) = &self.node {
                    self.dirty.config |= known.labels != view.labels
                        || known.uid != view.uid
                        || known.internal != view.internal
                        || known.pod_networks != view.pod_networks;
                    let changed = known.addresses != view.addresses || known.excluded != view.excluded;
                    self.dirty.all |= changed;
                    self.dirty.protocol |= changed;
                } else {
                    self.dirty.config = true;
                    self.dirty.all = true;
                }
                self.node = Some(view);
            }
            // A node that is deleted and registers again is still this machine: what was known of it stays.
            Event::Delete(_) => self.gone_node.missed(now),
            Event::Init => self.gone_node.list_begins(),
            Event::InitDone => {
                self.listing.node = true;
                self.gone_node.list_ends(now);
            }
        }
    }

    pub(super) fn lease(&mut self, event: Event<LeaseView>, now: BootTime, wall: Timestamp) {
        match event {
            Event::Init => self.listing.leases.seen.clear(),
            Event::InitApply(view) => {
                self.listing.leases.seen.insert(view.node.clone());
                self.apply_lease(view, now, wall);
            }
            Event::Apply(view) => self.apply_lease(view, now, wall),
            Event::Delete(view) => self.remove_lease(&view.node),
            Event::InitDone => {
                self.dirty.all |= !self.listing.leases.complete;
                let known: Vec<String> = self.members.names().map(str::to_owned).collect();
                for name in self.listing.leases.done(known.iter()) {
                    self.remove_lease(&name);
                }
            }
        }
    }

    fn apply_lease(&mut self, view: LeaseView, now: BootTime, wall: Timestamp) {
        let touched = self.reports.apply(&view.node, &view.report);
        self.mark(touched);
        let changed = self.members.apply(view, now, wall);
        self.note_members(changed);
    }

    fn remove_lease(&mut self, node: &str) {
        let touched = self.reports.remove(node);
        self.mark(touched);
        let changed = self.members.remove(node);
        self.note_members(changed);
    }

    pub(super) fn slice(&mut self, event: Event<SliceView>) {
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
