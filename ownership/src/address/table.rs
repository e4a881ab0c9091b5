//! All addresses that this node knows of, and when each is due.

#![expect(clippy::redundant_closure_for_method_calls, reason = "a method of one lifetime is not one of all")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use crate::address::context::Context;
use crate::address::entry::Entry;
use crate::address::state::State;
use crate::address::step::Step;
use crate::claims::Claims;
use crate::io::ClaimReason;
use crate::model::link::LinkId;
use crate::model::node::NodeId;
use crate::model::order::precedes;
use crate::model::spec::{AddressSpec, Qualified};
use crate::model::time::{Time, ms};
use crate::wire::Epoch;

/// The most addresses that one call handles because they are due, and as many because something happened to them. The
/// rest is due at once again, so that an edge with thousands of claims to carry out, or a node with thousands of places
/// among a thousand others to find, hears the others in between.
const AT_ONCE: usize = 256;
/// Between two times at which everything on a link is announced because its hardware address changed.
const ANNOUNCE_APART: Duration = ms(3000);
/// When the rest of what happened is looked at.
const AT_ONCE_AGAIN: Duration = ms(1);

/// The addresses that this node knows of.
#[derive(Debug)]
pub struct Addresses {
    pub(super) entries: BTreeMap<IpAddr, Entry>,
    queue: BTreeSet<(Time, IpAddr)>,
    /// Addresses to look at before this call ends, unless there are very many.
    changed: BTreeSet<IpAddr>,
    /// The last of them that was looked at.
    last_changed: IpAddr,
    /// The highest epoch of any address that was forgotten: where new ones begin.
    floor: Epoch,
    /// When everything on a link was last announced anew, or will be.
    announced_on: BTreeMap<LinkId, Time>,
}

impl Default for Addresses {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            queue: BTreeSet::new(),
            changed: BTreeSet::new(),
            last_changed: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            floor: 0,
            announced_on: BTreeMap::new(),
        }
    }
}

impl Addresses {
    // ---- what is wanted ----

    /// An address must be served, or its conditions changed.
    pub fn apply(&mut self, spec: AddressSpec, now: Time) {
        let (address, link) = (spec.address, spec.link);
        let entry = self.entries.entry(address).or_default();
        entry.highest_epoch = entry.highest_epoch.max(self.floor);
        if entry.spec.is_none() || entry.state.owned().is_none() {
            entry.rebalanced = spec.rebalance;
        }
        let before = entry.spec.replace(Arc::new(spec));
        // On another link it is news to the neighbours there; the edge puts it there.
        if before.is_some_and(|before| before.link != link) {
            entry.backoff.until = None;
            if let State::Owned(owned) = &mut entry.state {
                owned.announce_again(now);
            }
        }
        self.mark(address);
    }

    /// An address need not be served any more.
    pub fn delete(&mut self, address: IpAddr) {
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.spec = None;
            self.mark(address);
        }
    }

    /// Whether this node knows of the address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.entries.contains_key(&address)
    }

    /// Whether the address belongs, or would belong, to this link. Another network may know the same address and have
    /// nothing to do with ours.
    #[must_use]
    pub fn belongs_to(&self, address: IpAddr, link: LinkId) -> bool {
        let spec = self.entries.get(&address).and_then(|entry| entry.spec.as_ref());
        spec.is_none_or(|spec| spec.link == link)
    }

    // ---- what is to be looked at ----

    /// Something happened to the address.
    pub fn mark(&mut self, address: IpAddr) {
        self.changed.insert(address);
    }

    /// Whatever happened to the address is dealt with.
    pub(super) fn unmark(&mut self, address: IpAddr) {
        self.changed.remove(&address);
    }

    /// Something happened to these addresses.
    pub fn mark_each(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.changed.extend(addresses);
    }

    /// Something happened that concerns all addresses.
    pub fn mark_all(&mut self) {
        self.changed.extend(self.entries.keys());
    }

    fn mark_if(&mut self, concerned: impl Fn(&IpAddr, &Entry) -> bool) {
        let concerned = self.entries.iter().filter(|(address, entry)| concerned(address, entry));
        self.changed.extend(concerned.map(|(address, _)| *address));
    }

    /// Something happened that concerns the addresses of this node.
    pub fn mark_owned(&mut self) {
        self.mark_if(|_, entry| entry.state.owned().is_some());
    }

    /// Something happened that concerns the addresses on a link.
    pub fn mark_on(&mut self, link: LinkId) {
        self.mark_if(|_, entry| entry.spec.as_ref().is_some_and(|spec| spec.link == link));
    }

    /// Something happened that concerns the addresses that wait for their time: a candidate before this node is gone. What
    /// has no owner any more does not wait for the turn of a further look.
    pub fn mark_waiting(&mut self) {
        let waiting = |entry: &Entry| matches!(entry.state, State::Waiting { .. });
        for (address, entry) in self.entries.iter_mut().filter(|(_, entry)| waiting(entry)) {
            if entry.look.as_ref().is_some_and(|look| look.further && look.cause == ClaimReason::OwnerGone) {
                entry.forget_look();
            }
            self.changed.insert(*address);
        }
    }

    /// A claimant is silent in every way: a takeover is no further look, whatever was asked before.
    pub fn hasten_each(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        for address in addresses {
            if let Some(entry) = self.entries.get_mut(&address) {
                entry.forget_look();
                self.changed.insert(address);
            }
        }
    }

    /// A member that cannot be asked is silent in every way: the addresses that `announcing-*` gives to it are looked at
    /// at once.
    pub fn hasten(&mut self, node: &NodeId) {
        let given = |entry: &Entry| entry.spec.as_ref().is_some_and(|spec| spec.announced_by.as_ref() == Some(node));
        for (address, entry) in self.entries.iter_mut().filter(|(_, entry)| given(entry)) {
            entry.backoff.until = None;
            entry.forget_look();
            self.changed.insert(*address);
        }
    }

    /// What a member may do changed. An owner that may not keep its address looks for a successor again. If the member
    /// may do less, it may have been the next candidate for an address that nobody has: then whoever comes after it moves
    /// up by one. A member that may do more makes no other node a candidate, and brings no other node's time forward; so
    /// the start of a large cluster, where all turn up one after the other, costs no look at everything for each of them.
    pub fn mark_for_member(&mut self, node: &NodeId, worse: bool, keeps_all: bool, own: &NodeId, claims: &Claims) {
        let limited = |entry: &Entry| entry.spec.as_ref().is_some_and(|spec| spec.qualified != Qualified::All);
        let mine = claims.own.iter().filter_map(|(address, _)| self.entries.get_key_value(&address));
        self.changed.extend(mine.filter(|(_, entry)| !keeps_all || limited(entry)).map(|(address, _)| *address));
        if worse {
            self.mark_if(|address, entry| {
                entry.state.owned().is_none()
                    && claims.rivals(*address).next().is_none()
                    && (matches!(entry.state, State::Idle) || precedes(node, own, address))
            });
        }
    }

    /// When something is due.
    #[must_use]
    pub fn deadline(&self, now: Time) -> Option<Time> {
        let due = self.queue.first().map(|(at, _)| *at);
        let rest = (!self.changed.is_empty()).then(|| now + AT_ONCE_AGAIN);
        [due, rest].into_iter().flatten().min()
    }

    // ---- steps ----

    /// Handles the addresses that are due.
    pub fn run_due(&mut self, context: &mut Context<'_>) {
        for _ in 0..AT_ONCE {
            let due = self.queue.first().copied().filter(|(at, _)| *at <= context.now());
            let Some((at, address)) = due else { break };
            self.queue.remove(&(at, address));
            if let Some(entry) = self.entries.get_mut(&address) {
                entry.wake = None;
            }
            self.step(address, context);
        }
    }

    /// Handles the addresses that something happened to. A step can mark addresses again.
    pub fn run_changed(&mut self, context: &mut Context<'_>) {
        for _ in 0..AT_ONCE {
            // In turn, so that those that are marked again and again keep no others waiting.
            let following = self.changed.range((Bound::Excluded(self.last_changed), Bound::Unbounded)).next();
            let Some(address) = following.or_else(|| self.changed.first()).copied() else { return };
            self.changed.remove(&address);
            self.last_changed = address;
            self.step(address, context);
        }
    }

    fn step(&mut self, address: IpAddr, context: &mut Context<'_>) {
        self.transition(address, context, |step, state| step.run(state));
    }

    /// Takes the state of an address out, and puts the next one in; an address with nothing left to know is forgotten.
    pub(super) fn transition(
        &mut self,
        address: IpAddr,
        context: &mut Context<'_>,
        transition: impl FnOnce(&mut Step<'_, '_>, State) -> State,
    ) {
        let Some(entry) = self.entries.get_mut(&address) else { return };
        let state = std::mem::take(&mut entry.state);
        let now = context.now();
        entry.state = transition(&mut Step { address, entry, context }, state);
        if std::mem::take(&mut entry.look_again) {
            self.changed.insert(address);
        }
        if matches!(entry.state, State::Idle) && entry.spec.is_none() && !entry.in_kernel {
            self.floor = self.floor.max(entry.highest_epoch);
            if let Some(wake) = entry.wake {
                self.queue.remove(&(wake, address));
            }
            self.entries.remove(&address);
            return;
        }
        // What is overdue and still there waits for something else: it must not turn the queue into a busy loop.
        let deadline = entry.state.deadline().map(|deadline| deadline.max(now + ms(1)));
        if entry.wake != deadline {
            if let Some(wake) = entry.wake {
                self.queue.remove(&(wake, address));
            }
            if let Some(deadline) = deadline {
                self.queue.insert((deadline, address));
            }
            entry.wake = deadline;
        }
    }

    /// Gives up everything on a link that is broken or gone.
    pub fn lose_link(&mut self, link: LinkId, context: &mut Context<'_>) {
        let on_link =
            self.entries.iter().filter(|(_, entry)| entry.spec.as_ref().is_some_and(|spec| spec.link == link));
        for address in on_link.map(|(address, _)| *address).collect::<Vec<_>>() {
            self.transition(address, context, |step, state| step.link_lost(state));
        }
    }

    /// The hardware address of a link changed: the neighbours are to learn of it. Of one that changes often they learn the
    /// last.
    pub fn announce_on(&mut self, link: LinkId, now: Time) {
        let before = self.announced_on.get(&link).copied();
        if before.is_some_and(|at| at > now) {
            return;
        }
        let at = before.map_or(now, |before| now.max(before + ANNOUNCE_APART));
        self.announced_on.insert(link, at);
        let here = |entry: &Entry| entry.spec.as_ref().is_some_and(|spec| spec.link == link);
        for (address, entry) in self.entries.iter_mut().filter(|(_, entry)| here(entry)) {
            if let State::Owned(owned) = &mut entry.state {
                owned.announce_again(at);
                self.changed.insert(*address);
            }
        }
    }

    /// This node did not run for a while.
    pub fn pause(&mut self, context: &mut Context<'_>) {
        for address in self.entries.keys().copied().collect::<Vec<_>>() {
            self.transition(address, context, |step, state| step.paused(state));
        }
    }
}
