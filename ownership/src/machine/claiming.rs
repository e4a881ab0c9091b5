//! Asking the link, claiming, announcing, releasing.

use std::net::IpAddr;

use crate::choice::Want;
use crate::event::{Action, Ask, ConflictPolicy, Fact, ProbeResult, Why};
use crate::link::LinkId;
use crate::machine::Machine;
use crate::machine::links::HEARING;
use crate::machine::slot::{Held, State};
use crate::machine::stance::Stance;
use crate::node::{Mac, NodeId};
use crate::probe::{Answer, CONTENTION, Cause, EXTRA, Next, PATIENCE, Probe};
use crate::time::{Time, ms};
use crate::wire::{Epoch, Message};

/// When nothing is heard, how often to look again.
const DEAF: std::time::Duration = ms(20);
/// The longest wait after a foreign host answered.
const BACKOFF: std::time::Duration = ms(5000);
/// A silent agent whose node may not own the address any more keeps it for so long.
const OVERRIDE: std::time::Duration = ms(10_000);

impl Machine {
    pub(super) fn on_want(&mut self, want: Want) {
        let address = want.address;
        let floor = self.floor;
        let slot = self.slots.entry(address).or_default();
        slot.seen = slot.seen.max(floor);
        if slot.want.is_none() || slot.held().is_none() {
            slot.rebalanced = want.rebalance;
        }
        let before = slot.want.replace(want);
        let link = slot.want.as_ref().map(|want| want.link);
        // On another link it is news to the neighbours there; the edge puts it there.
        if before.is_some_and(|before| Some(before.link) != link) {
            slot.not_before = None;
            if let State::Held(held) = &mut slot.state {
                held.announce_again(self.now);
            }
        }
        self.dirty.insert(address);
    }

    pub(super) fn on_unwant(&mut self, address: IpAddr) {
        if let Some(slot) = self.slots.get_mut(&address) {
            slot.want = None;
            self.dirty.insert(address);
        }
    }

    /// Not ours. What is in the kernel though nobody here holds it is taken out.
    pub(super) fn step_waiting(&mut self, address: IpAddr, waiting: Option<Time>) -> State {
        let complete = self.wants_complete;
        let Some(slot) = self.slots.get_mut(&address) else { return State::Idle };
        let not_before = slot.not_before.filter(|at| *at > self.now);
        slot.not_before = not_before;
        if slot.in_kernel && (slot.want.is_some() || complete) {
            slot.in_kernel = false;
            let link = slot.want.as_ref().map(|want| want.link);
            self.act(Action::Remove { address, link });
        }
        match self.stance(address) {
            Stance::Leave => State::Idle,
            Stance::Begin { at, cause, total, from } => {
                let at = waiting.map_or(at, |waiting| waiting.min(at));
                let at = not_before.map_or(at, |not_before| not_before.max(at));
                if at > self.now {
                    return State::Waiting(at);
                }
                self.begin(address, cause, total, from)
            }
        }
    }

    /// Begins to ask the link.
    pub(super) fn begin(&mut self, address: IpAddr, cause: Cause, total: u8, from: Option<NodeId>) -> State {
        let Some(slot) = self.slots.get_mut(&address) else { return State::Idle };
        slot.other = from;
        let Some(want) = slot.want.clone() else { return State::Idle };
        if want.skip_probe && address.is_ipv6() && cause == Cause::Unclaimed {
            // Only the first choice: for a later one that nobody claims it may mean that it has not heard the owner
            // yet, which takes some rumours in a large cluster.
            if self.rank(&want).place == Some(0) {
                return self.claim(address, &want, cause);
            }
        }
        self.ask_witnesses(want.link, None);
        self.step_probing(address, Probe::new(cause, total, self.probe_interval, self.now))
    }

    pub(super) fn step_probing(&mut self, address: IpAddr, mut probe: Probe) -> State {
        let Some(want) = self.slots.get(&address).and_then(|slot| slot.want.clone()) else { return State::Idle };
        let wanted = self.stance(address);
        if matches!(wanted, Stance::Leave) && probe.cause != Cause::Move {
            return State::Idle;
        }
        match probe.step(self.now) {
            Next::Wait => {}
            Next::Send => {
                let target = match probe.answer {
                    Some(Answer::Unknown { .. }) => want.free.unwrap_or(address),
                    _ => address,
                };
                self.act(Action::Probe { link: want.link, target, to: None, ask: Ask::Duplicate });
                self.ask_owner(address, want.link);
                // Whether we hear must be known at the decision, an interval from here.
                let heard = self.links.get(&want.link).and_then(|state| state.answer);
                if probe.sent >= probe.total && !self.now.is_within(heard, HEARING.saturating_sub(probe.interval * 2)) {
                    self.ask_witnesses(want.link, None);
                }
            }
            Next::Ask(node) => self.send(&node, Message::Query(address)),
            Next::Free => return self.decide(address, &want, probe),
            Next::Silent(node) => return self.on_silent_holder(address, &want, &node, probe),
            Next::Foreign(mac) => return self.on_foreign(address, mac, probe),
        }
        State::Probing(probe)
    }

    /// An owner that should be gone is asked in every other way too.
    fn ask_owner(&mut self, address: IpAddr, link: LinkId) {
        let Some((owner, _)) = self.strongest(address) else { return };
        self.send(&owner, Message::Query(address));
        let state = self.links.get(&link);
        let place = self.members.get(&owner).and_then(|m| m.peer.as_ref()?.place_on(&state?.link));
        if let Some(place) = place {
            self.reach(link, place.address, Some(&owner));
        }
        // A switch that snoops may not carry the question to the group: it goes to the holder itself too.
        let mac = self.members.get(&owner).and_then(|member| member.sense(link).mac);
        if address.is_ipv6() && mac.is_some() {
            self.act(Action::Probe { link, target: address, to: mac, ask: Ask::Duplicate });
        }
    }

    /// Nobody answered.
    fn decide(&mut self, address: IpAddr, want: &Want, mut probe: Probe) -> State {
        if !self.hears(want.link, HEARING) {
            // It may be us. What was asked so far proves nothing.
            self.ask_witnesses(want.link, None);
            probe.next = self.now + DEAF;
            probe.sent = probe.sent.min(probe.total.saturating_sub(2));
            return State::Probing(probe);
        }
        let owner = self.strongest(address).and_then(|(owner, _)| self.members.get(&owner));
        let answers = owner.is_some_and(|owner| owner.sense(want.link).answer.is_some_and(|at| at >= probe.began));
        if answers && probe.total < EXTRA {
            // Its kernel lives: be sure that the address is really gone from it.
            probe.total = EXTRA;
            return State::Probing(probe);
        }
        self.tell(Fact::Probed { address, result: ProbeResult::Free });
        self.claim(address, want, probe.cause)
    }

    /// A member's kernel answers, and its agent says nothing.
    fn on_silent_holder(&mut self, address: IpAddr, want: &Want, node: &NodeId, mut probe: Probe) -> State {
        let qualified = Self::could_own(want, node);
        let silent = self.members.get(node).is_some_and(|m| !self.now.is_within(m.last_ack(), OVERRIDE));
        if silent && !qualified {
            if let Some(Answer::Member { .. }) = probe.answer.take() {
                probe.ignored.extend(self.macs.iter().filter(|(_, owner)| *owner == node).map(|(mac, _)| *mac));
            }
            probe.sent = 0;
            return State::Probing(probe);
        }
        self.tell(Fact::Probed { address, result: ProbeResult::KernelServes });
        self.wait(address, self.look_interval(node))
    }

    /// Begins nothing for so long.
    fn wait(&mut self, address: IpAddr, pause: std::time::Duration) -> State {
        let until = self.now + pause;
        if let Some(slot) = self.slots.get_mut(&address) {
            slot.not_before = Some(until);
        }
        State::Waiting(until)
    }

    /// Whether a silent node could own the address if it spoke.
    fn could_own(want: &Want, node: &NodeId) -> bool {
        match &want.qualified {
            crate::choice::Qualified::Tiers(tiers) => {
                tiers.iter().find(|tier| !tier.is_empty()).is_none_or(|tier| tier.contains(node))
            }
            _ => true,
        }
    }

    fn on_foreign(&mut self, address: IpAddr, mac: Mac, mut probe: Probe) -> State {
        match self.policy {
            ConflictPolicy::Off => {}
            ConflictPolicy::Warn => self.tell(Fact::AddressConflict { address, mac, defended: false }),
            ConflictPolicy::Enforce => {
                let Some(slot) = self.slots.get_mut(&address) else { return State::Idle };
                slot.conflicts = slot.conflicts.saturating_add(1);
                let wait = BACKOFF.min(CONTENTION * slot.conflicts);
                self.tell(Fact::Probed { address, result: ProbeResult::Foreign });
                self.tell(Fact::AddressConflict { address, mac, defended: false });
                return self.wait(address, wait);
            }
        }
        probe.dismiss(mac, self.now);
        State::Probing(probe)
    }

    /// Somebody answered a question of ours for an address.
    pub(super) fn on_answer(&mut self, address: IpAddr, link: LinkId, mac: Mac, member: Option<NodeId>) {
        self.on_free_answer(address, link, mac);
        let now = self.now;
        let Some(slot) = self.slots.get_mut(&address) else { return };
        let State::Probing(probe) = &mut slot.state else { return };
        if probe.ignored.contains(&mac) || slot.want.as_ref().is_none_or(|want| want.link != link) {
            return;
        }
        match (&probe.answer, member) {
            (Some(Answer::Member { .. }), _) | (Some(Answer::Unknown { .. }), None) => return,
            (_, Some(node)) => probe.answer = Some(Answer::Member { node, since: now }),
            (None, None) => probe.answer = Some(Answer::Unknown { mac, since: now }),
        }
        probe.next = now;
        self.dirty.insert(address);
    }

    /// The same unknown MAC answers for a free address: proxy ARP.
    fn on_free_answer(&mut self, free: IpAddr, link: LinkId, mac: Mac) {
        let now = self.now;
        let mut proxies = Vec::new();
        for (address, slot) in &mut self.slots {
            let State::Probing(probe) = &mut slot.state else { continue };
            let asked = slot.want.as_ref().is_some_and(|want| want.free == Some(free) && want.link == link);
            if asked
                && *address != free
                && matches!(&probe.answer, Some(Answer::Unknown { mac: known, .. }) if *known == mac)
            {
                probe.dismiss(mac, now);
                proxies.push(*address);
            }
        }
        if !proxies.is_empty() {
            self.dirty.extend(proxies);
            self.tell(Fact::ProxyArp { link, mac });
        }
    }

    /// A member asks for an address that we ask for too.
    pub(super) fn on_question(&mut self, target: IpAddr, sender: Option<IpAddr>, mac: Mac, member: Option<&NodeId>) {
        let Some(slot) = self.slots.get_mut(&target) else { return };
        let State::Probing(probe) = &slot.state else { return };
        // A host that asks from an address is a client; one that asks from none wants the address for itself.
        let loses = match member {
            Some(node) => crate::order::precedes(node, &self.node, &target),
            None => sender.is_none() && target.is_ipv4() && self.policy == ConflictPolicy::Enforce,
        };
        if loses && !probe.ignored.contains(&mac) {
            slot.state = State::Idle;
            self.tell(Fact::Probed { address: target, result: ProbeResult::Contention });
            // One without a place in the order may step back too (a member whose Lease we have not seen): by chance
            // the next attempts are apart.
            let apart = if member.is_none() { self.rng.below(500) } else { 0 };
            let next = self.wait(target, CONTENTION + ms(u64::try_from(apart).unwrap_or(0)));
            self.put_state(target, next);
        }
    }

    /// Takes an address: into the kernel, onto the link, to the others.
    pub(super) fn claim(&mut self, address: IpAddr, want: &Want, cause: Cause) -> State {
        let now = self.now;
        let own = self.ledger.own.epoch(address).unwrap_or(0);
        let Some(slot) = self.slots.get_mut(&address) else { return State::Idle };
        let epoch = slot.seen.max(own).saturating_add(1);
        slot.seen = epoch;
        slot.in_kernel = true;
        slot.unclaimed = None;
        slot.conflicts = 0;
        slot.rebalanced = want.rebalance;
        slot.last = "claimed";
        let from = slot.other.clone();
        self.ledger.own.set(address, Some(epoch));
        self.act(Action::Add { address, link: want.link });
        let mut without = None;
        if let Some(member) = from.as_ref().and_then(|node| self.members.get_mut(node)) {
            let sense = member.senses.entry(want.link).or_default();
            if cause == Cause::OwnerGone {
                without = member.ack.max(sense.answer).map(|last| now.since(last));
                sense.missed = true;
                self.missed.extend(from.clone());
            }
        }
        self.tell(Fact::Claimed { address, epoch, cause, from, without });
        let mut held = Held::new(epoch, now, true);
        self.announce(address, want.link, &mut held);
        State::Held(held)
    }

    /// Announces if it is time.
    pub(super) fn announce(&mut self, address: IpAddr, link: LinkId, held: &mut Held) {
        if held.announce_at.is_none_or(|at| at > self.now) {
            return;
        }
        if !held.is_gone() && !self.announcements.is_empty() {
            self.act(Action::Announce { address, link });
        }
        held.announced += 1;
        held.announce_at =
            self.announcements.get(held.announced).map(|after| (held.since + *after).max(self.now + ms(1)));
    }

    /// Gives an address up: out of the kernel first, then the others are told.
    pub(super) fn release(&mut self, address: IpAddr, held: &Held, why: Why, to: Option<NodeId>) -> State {
        let Some(slot) = self.slots.get_mut(&address) else { return State::Idle };
        slot.seen = slot.seen.max(held.epoch);
        slot.other.clone_from(&to);
        slot.last = match why {
            Why::Unwanted => "no Service uses it",
            Why::Moved => "moved as planned",
            Why::Yielded => "yielded to a stronger claim",
            Why::LinkBroken => "the link broke",
            Why::AddFailed => "the kernel refused it",
            Why::KernelLost => "it left the kernel",
        };
        // What left the kernel by itself is taken out too: the edge is to forget it.
        if slot.in_kernel || why == Why::KernelLost {
            slot.in_kernel = false;
            let link = slot.want.as_ref().map(|want| want.link);
            self.act(Action::Remove { address, link });
        }
        self.ledger.own.set(address, None);
        self.tell(Fact::Released { address, why, to });
        self.dirty.insert(address);
        State::Idle
    }

    pub(super) fn on_add_failed(&mut self, address: IpAddr) {
        let state = self.take_state(address);
        let next = match state {
            State::Held(held) => {
                // Where it was before, if anywhere, it is to go too.
                self.release(address, &held, Why::AddFailed, None);
                // Somebody else may be able to.
                self.wait(address, BACKOFF)
            }
            other => other,
        };
        self.dirty.remove(&address);
        self.put_state(address, next);
    }

    /// One step of an address of ours.
    pub(super) fn step_held(&mut self, address: IpAddr, mut held: Held) -> State {
        let complete = self.wants_complete;
        let Some(slot) = self.slots.get_mut(&address) else { return State::Idle };
        let Some(want) = slot.want.clone() else {
            if complete {
                return self.release(address, &held, Why::Unwanted, None);
            }
            // Adopted, and not yet known whether it is wanted: as it is, unless another claim is stronger.
            if let Some(next) = self.step_contest(address, &mut held) {
                return next;
            }
            match self.links.iter().find(|(_, state)| state.link.contains(address)).map(|(id, _)| *id) {
                Some(link) => self.announce(address, link, &mut held),
                None => held.announce_at = None,
            }
            return State::Held(held);
        };
        if let Some(next) = self.step_contest(address, &mut held) {
            return next;
        }
        if self.links.get(&want.link).is_some_and(|state| state.broken) {
            return self.release(address, &held, Why::LinkBroken, None);
        }
        if let Some(next) = self.step_departure(address, &want, &mut held) {
            return next;
        }
        self.announce(address, want.link, &mut held);
        State::Held(held)
    }

    /// What a member says that it holds an address by.
    pub(super) fn on_holds(&mut self, node: &NodeId, address: IpAddr, epoch: Option<Epoch>) {
        self.ledger.put(node, address, epoch);
        self.dirty.insert(address);
        let state = self.take_state(address);
        let next = match state {
            State::Probing(probe) => self.probing_holds(node, address, epoch, probe),
            State::Held(held) => self.held_holds(node, address, epoch, held),
            other => other,
        };
        self.put_state(address, next);
    }

    fn probing_holds(&mut self, node: &NodeId, address: IpAddr, epoch: Option<Epoch>, mut probe: Probe) -> State {
        let asked = matches!(&probe.answer, Some(Answer::Member { node: known, .. }) if known == node);
        match epoch {
            Some(_) => {
                self.tell(Fact::Probed { address, result: ProbeResult::Held });
                // It spoke: whatever was believed of it is wrong.
                let now = self.now;
                if let Some(turn) = self.members.acknowledged(node, now - PATIENCE, now) {
                    self.on_turn(turn);
                }
                self.clear_alarms(node, now);
                State::Idle
            }
            None if asked => {
                let macs: Vec<_> = self.macs.iter().filter(|(_, owner)| *owner == node).map(|(mac, _)| *mac).collect();
                self.tell(Fact::StrictArpNeeded { node: node.clone(), address });
                probe.answer = None;
                probe.ignored.extend(macs);
                probe.next = self.now;
                State::Probing(probe)
            }
            None => State::Probing(probe),
        }
    }
}
