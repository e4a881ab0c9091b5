//! All external groups, their allocations and their sidecars.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use api_types::Ipam;
use runtime::BootTime;

use super::allocation::{ExternalAllocation, Offer};
use super::call::{AddressRequest, CallId, Stats};
use super::sidecar::Sidecar;
use super::states::ListingState;
use crate::model::{GroupTable, Owner};

/// Whether the sidecar of a group answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SidecarState<'a> {
    /// No call is sent, for this reason.
    NotAsked(&'a str),
    /// No call has ended yet.
    Unknown,
    /// It answers.
    Answering,
    /// It answers, but not with numbers: with this error.
    WithoutNumbers(&'a str),
    /// It does not answer, with this error.
    NotAnswering(&'a str),
}

/// A group whose socket is another one than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The name of the group.
    pub group: String,
    /// The old socket.
    pub from: String,
    /// The new socket.
    pub to: String,
}

/// A group whose addresses a sidecar gives, or gave.
#[derive(Debug)]
pub(super) struct ExternalGroup {
    pub(super) socket: String,
    /// Whether the group is in use. One that is gone stays until all its addresses are given back.
    pub(super) in_use: bool,
    pub(super) allocations: BTreeMap<Owner, ExternalAllocation>,
    pub(super) stats: Option<Stats>,
    /// Why the sidecar refused to give its numbers, if it did.
    pub(super) stats_refusal: Option<String>,
    /// When the numbers are asked for next.
    pub(super) stats_at: BootTime,
    pub(super) stats_call: Option<CallId>,
    /// When they were asked for last.
    pub(super) stats_sent: BootTime,
    /// Whether the numbers may have changed since that call was sent.
    stats_outdated: bool,
    pub(super) listing: ListingState,
    /// Whether the sidecar keeps allocations by cluster and UID, once it has said so.
    pub(super) keeps_owners: Option<bool>,
}

impl ExternalGroup {
    fn new(socket: &str) -> Self {
        Self {
            socket: socket.to_owned(),
            in_use: true,
            allocations: BTreeMap::new(),
            stats: None,
            stats_refusal: None,
            stats_at: BootTime::default(),
            stats_call: None,
            stats_sent: BootTime::default(),
            stats_outdated: false,
            listing: ListingState::default(),
            keeps_owners: None,
        }
    }

    /// The numbers of the sidecar may have changed. They are asked for at this time.
    pub(super) fn numbers_changed(&mut self, ask_at: BootTime) {
        self.stats_at = self.stats_at.min(ask_at);
        self.stats_outdated |= self.stats_call.is_some();
    }

    /// Numbers came, or a refusal. They are asked for again soon if they are outdated already.
    pub(super) fn numbers_came(&mut self, soon: BootTime, later: BootTime) {
        self.stats_at = if std::mem::take(&mut self.stats_outdated) { soon } else { later };
    }

    /// Forgets the allocation if nothing is left to remember. Returns whether that was so.
    pub(super) fn forget_if_over(&mut self, owner: &Owner) -> bool {
        let over = self.allocations.get(owner).is_some_and(ExternalAllocation::is_over);
        if over {
            self.allocations.remove(owner);
            if self.listing.is_in_progress() {
                self.listing.listing.gone.insert(owner.clone());
            }
        }
        over
    }

    fn move_to(&mut self, socket: &str) {
        socket.clone_into(&mut self.socket);
        self.in_use = true;
        (self.stats, self.stats_refusal, self.stats_at, self.stats_call) = (None, None, BootTime::default(), None);
        (self.keeps_owners, self.listing) = (None, ListingState::default());
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
    /// Who asks. Without it no call is sent.
    pub(super) cluster: Option<Arc<str>>,
    /// Since when that is known.
    pub(super) begun_at: BootTime,
    /// Why it is not known who asks.
    unknown_cluster: Option<String>,
}

impl ExternalAllocations {
    /// It is known who asks: from now on calls are sent.
    pub fn begin(&mut self, cluster: &str) {
        self.cluster = Some(cluster.into());
        self.begun_at = self.now;
        self.unknown_cluster = None;
    }

    /// Why no call is sent so far. Returns whether that is news.
    pub fn cannot_begin(&mut self, why: &str) -> bool {
        let is_news = self.unknown_cluster.as_deref() != Some(why);
        self.unknown_cluster = Some(why.to_owned());
        is_news
    }

    /// Whether it is known who asks.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.cluster.is_some()
    }

    /// Who asks.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref()
    }

    /// Takes over the external groups of the table. Returns those that have another socket now.
    pub fn set_groups(&mut self, table: &GroupTable) -> Vec<Moved> {
        for group in self.groups.values_mut() {
            group.in_use = false;
        }
        let (mut changed, mut moved) = (Vec::new(), Vec::new());
        for (_, group) in table.accepted() {
            let Ipam::External { socket, .. } = &group.ipam else { continue };
            self.sidecars.entry(socket.clone()).or_default();
            match self.groups.get_mut(&group.name) {
                Some(known) if known.socket == *socket => {
                    known.in_use = true;
                    continue;
                }
                Some(known) => {
                    moved.push(Moved { group: group.name.clone(), from: known.socket.clone(), to: socket.clone() });
                    known.move_to(socket);
                }
                None => _ = self.groups.insert(group.name.clone(), ExternalGroup::new(socket)),
            }
            changed.push(group.name.clone());
        }
        for group in &changed {
            let owners: Vec<Owner> =
                self.groups.get(group).into_iter().flat_map(|group| group.allocations.keys().cloned()).collect();
            for owner in owners {
                self.enqueue(group, &owner);
            }
        }
        self.groups.retain(|_, group| group.in_use || !group.allocations.is_empty());
        let sockets: BTreeSet<&String> = self.groups.values().map(|group| &group.socket).collect();
        self.sidecars.retain(|socket, sidecar| sockets.contains(socket) || sidecar.under_way() > 0);
        moved
    }

    /// A group of an earlier leader. If it is gone since, what its sidecar gave can still be given back. Returns whether it
    /// has another socket now.
    pub fn remember_group(&mut self, name: &str, socket: &str) -> Option<Moved> {
        if let Some(known) = self.groups.get(name) {
            let moved = || Moved { group: name.to_owned(), from: socket.to_owned(), to: known.socket.clone() };
            return (known.socket != socket).then(moved);
        }
        self.sidecars.entry(socket.to_owned()).or_default();
        self.groups.insert(name.to_owned(), ExternalGroup { in_use: false, ..ExternalGroup::new(socket) });
        None
    }

    /// The groups and their sockets, with those that are gone and not given back completely.
    pub fn sockets(&self) -> impl Iterator<Item = (&String, &String)> {
        let known = self.groups.iter().filter(|(_, group)| group.in_use || !group.allocations.is_empty());
        known.map(|(name, group)| (name, &group.socket))
    }

    /// Forgets everything but the groups: a replica that does not lead sends no calls.
    pub fn clear(&mut self, table: &GroupTable) {
        *self = Self { last_call: self.last_call, now: self.now, ..Self::default() };
        // Of nothing it is known where it was.
        let _moved = self.set_groups(table);
    }

    /// What a Service can count on if it requests this of a group.
    #[must_use]
    pub fn offer(&self, group: &str, owner: &Owner, request: &AddressRequest) -> Offer<'_> {
        let Some(group) = self.groups.get(group) else { return Offer::Pending };
        let why = match group.allocations.get(owner).and_then(|allocation| allocation.offer(request)) {
            Some(Offer::Failed(text)) => text,
            Some(offer) => return offer,
            None => match (self.why_not_asked(group), group.debt(owner)) {
                (Some(text), _) => text.into(),
                (None, Some(debt)) if group.waits_for_release(owner) => return Offer::Failed(debt.into()),
                (None, _) => return Offer::Pending,
            },
        };
        Offer::Failed(match group.debt(owner) {
            Some(debt) => Cow::Owned(format!("{why}; {debt}")),
            None => why,
        })
    }

    /// Why the sidecar of the group is not asked at all.
    fn why_not_asked(&self, group: &ExternalGroup) -> Option<&str> {
        self.unknown_cluster.as_deref().or_else(|| self.sidecars.get(&group.socket)?.outage())
    }

    /// The group whose sidecar gave the address to the Service, as far as this process knows.
    #[must_use]
    pub fn group_of(&self, owner: &Owner, address: IpAddr) -> Option<&str> {
        let gave = |group: &ExternalGroup| group.allocations.get(owner).is_some_and(|known| known.has(address));
        self.groups.iter().find(|(_, group)| gave(group)).map(|(name, _)| name.as_str())
    }

    /// The group whose sidecar gave the address that the Service has, as far as this process knows.
    #[must_use]
    pub fn group_in_use(&self, owner: &Owner, address: IpAddr) -> Option<&str> {
        let uses = |group: &ExternalGroup| group.allocations.get(owner).is_some_and(|it| it.in_use.contains(&address));
        self.groups.iter().find(|(_, group)| uses(group)).map(|(name, _)| name.as_str())
    }

    /// Whether a sidecar has given the address to the Service, and is not to take it back.
    #[must_use]
    pub fn has_given(&self, owner: &Owner, address: IpAddr) -> bool {
        let gave = |allocation: &ExternalAllocation| allocation.has(address) && !allocation.gives_back(address);
        self.groups.values().filter_map(|group| group.allocations.get(owner)).any(gave)
    }

    /// Whether something of the Service is still open with a sidecar: a call, a request, or what an unanswered call did.
    #[must_use]
    pub fn is_open(&self, owner: &Owner) -> bool {
        self.groups.values().filter_map(|group| group.allocations.get(owner)).any(ExternalAllocation::is_open)
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
    pub fn pending_releases(&self, group: &str) -> impl Iterator<Item = (&Owner, Option<IpAddr>)> {
        let allocations = self.groups.get(group).into_iter().flat_map(|group| &group.allocations);
        allocations.flat_map(|(owner, allocation)| allocation.pending_releases().map(move |address| (owner, address)))
    }

    /// What the sidecar of a group says about one of the releases that it refuses.
    #[must_use]
    pub fn release_failure(&self, group: &str) -> Option<&str> {
        self.groups.get(group)?.allocations.values().find_map(ExternalAllocation::release_failure)
    }

    /// Why what a group owes is not given back, if that is known.
    #[must_use]
    pub fn why_not_released(&self, name: &str) -> Option<&str> {
        self.release_failure(name).or_else(|| self.why_not_asked(self.groups.get(name)?))
    }

    /// Whether the sidecar of a group answers, as people are shown it.
    #[must_use]
    pub fn sidecar_state(&self, group: &str) -> SidecarState<'_> {
        if let Some(why) = &self.unknown_cluster {
            return SidecarState::NotAsked(why);
        }
        let group = self.groups.get(group);
        let sidecar = group.and_then(|group| self.sidecars.get(&group.socket));
        match sidecar.and_then(Sidecar::shown) {
            Some(Err(text)) => SidecarState::NotAnswering(text),
            Some(Ok(())) => {
                let refusal = group.and_then(|group| group.stats_refusal.as_deref());
                refusal.map_or(SidecarState::Answering, SidecarState::WithoutNumbers)
            }
            None => SidecarState::Unknown,
        }
    }

    /// Whether the sidecar of a group has said that it keeps allocations by cluster and UID.
    #[must_use]
    pub fn keeps_owners(&self, group: &str) -> bool {
        self.groups.get(group).is_some_and(|group| group.keeps_owners == Some(true))
    }

    /// The last numbers of a group.
    #[must_use]
    pub fn stats(&self, group: &str) -> Option<&Stats> {
        self.groups.get(group)?.stats.as_ref()
    }
}
