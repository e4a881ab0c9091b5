//! All external groups, their allocations and their sidecars.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::Ipam;
use runtime::BootTime;

use super::allocation::{ExternalAllocation, Offer};
use super::call::{AddressRequest, CallId, Stats};
use super::sidecar::Sidecar;
use crate::model::{GroupTable, ServiceName};

/// Whether the sidecar of a group answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SidecarState<'a> {
    /// No call has ended yet.
    Unknown,
    /// It answers.
    Answering,
    /// It does not answer, with this error.
    NotAnswering(&'a str),
}

/// A group whose addresses a sidecar gives, or gave.
#[derive(Debug)]
pub(super) struct ExternalGroup {
    pub(super) socket: String,
    /// Whether the group is in use. One that is gone stays until all its addresses are given back.
    pub(super) in_use: bool,
    pub(super) allocations: BTreeMap<ServiceName, ExternalAllocation>,
    pub(super) stats: Option<Stats>,
    /// When the numbers are asked for next.
    pub(super) stats_at: BootTime,
    pub(super) stats_call: Option<CallId>,
}

impl ExternalGroup {
    fn new(socket: &str) -> Self {
        Self {
            socket: socket.to_owned(),
            in_use: true,
            allocations: BTreeMap::new(),
            stats: None,
            stats_at: BootTime::default(),
            stats_call: None,
        }
    }

    fn move_to(&mut self, socket: &str) {
        socket.clone_into(&mut self.socket);
        self.in_use = true;
        (self.stats, self.stats_at, self.stats_call) = (None, BootTime::default(), None);
        for allocation in self.allocations.values_mut() {
            allocation.move_to_other_sidecar();
        }
    }
}

/// All external groups.
#[derive(Debug, Default)]
pub struct ExternalAllocations {
    pub(super) groups: BTreeMap<String, ExternalGroup>,
    /// By socket.
    pub(super) sidecars: BTreeMap<String, Sidecar>,
    pub(super) now: BootTime,
    pub(super) last_call: CallId,
}

impl ExternalAllocations {
    /// Takes over the external groups of the table. Returns the names of those that are new or have moved to another
    /// socket.
    pub fn set_groups(&mut self, table: &GroupTable) -> Vec<String> {
        for group in self.groups.values_mut() {
            group.in_use = false;
        }
        let mut changed = Vec::new();
        for (_, group) in table.accepted() {
            let Ipam::External { socket, .. } = &group.ipam else { continue };
            self.sidecars.entry(socket.clone()).or_default();
            match self.groups.get_mut(&group.name) {
                Some(known) if known.socket == *socket => {
                    known.in_use = true;
                    continue;
                }
                Some(known) => known.move_to(socket),
                None => _ = self.groups.insert(group.name.clone(), ExternalGroup::new(socket)),
            }
            changed.push(group.name.clone());
        }
        for group in &changed {
            let services: Vec<ServiceName> =
                self.groups.get(group).into_iter().flat_map(|group| group.allocations.keys().cloned()).collect();
            for service in services {
                self.enqueue(group, &service);
            }
        }
        self.groups.retain(|_, group| group.in_use || !group.allocations.is_empty());
        let sockets: BTreeSet<&String> = self.groups.values().map(|group| &group.socket).collect();
        self.sidecars.retain(|socket, sidecar| sockets.contains(socket) || sidecar.in_flight > 0);
        changed
    }

    /// Forgets everything but the groups: a replica that does not lead sends no calls.
    pub fn clear(&mut self, table: &GroupTable) {
        *self = Self { last_call: self.last_call, now: self.now, ..Self::default() };
        self.set_groups(table);
    }

    /// What a Service can count on if it requests this of a group.
    #[must_use]
    pub fn offer(&self, group: &str, name: &ServiceName, request: &AddressRequest) -> Offer<'_> {
        let Some(group) = self.groups.get(group) else { return Offer::Pending };
        if let Some(offer) = group.allocations.get(name).and_then(|allocation| allocation.offer(request)) {
            return offer;
        }
        match self.sidecars.get(&group.socket).and_then(Sidecar::outage) {
            Some(text) => Offer::Failed(text),
            None => Offer::Pending,
        }
    }

    /// Whether there is no external group, and nothing left of one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether every allocation has reached its Service, and every call is answered.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.groups.values().flat_map(|group| group.allocations.values()).all(ExternalAllocation::is_quiet)
    }

    /// What a group has not given back yet: each Service with one address, or with `None` for all.
    pub fn pending_releases(&self, group: &str) -> impl Iterator<Item = (&ServiceName, Option<IpAddr>)> {
        let allocations = self.groups.get(group).into_iter().flat_map(|group| &group.allocations);
        allocations.flat_map(|(name, allocation)| allocation.pending_releases().map(move |address| (name, address)))
    }

    /// Whether the sidecar of a group answers.
    #[must_use]
    pub fn sidecar_state(&self, group: &str) -> SidecarState<'_> {
        let sidecar = self.groups.get(group).and_then(|group| self.sidecars.get(&group.socket));
        let Some(sidecar) = sidecar else { return SidecarState::Unknown };
        match sidecar.outage() {
            Some(text) => SidecarState::NotAnswering(text),
            None if sidecar.has_answered() => SidecarState::Answering,
            None => SidecarState::Unknown,
        }
    }

    /// The last numbers of a group.
    #[must_use]
    pub fn stats(&self, group: &str) -> Option<&Stats> {
        self.groups.get(group)?.stats.as_ref()
    }
}
