//! Planned moves: offer, accept, go.
//!
//! The owner takes the address out of its kernel when the successor has accepted, and only then says go; the successor
//! adds it on go without asking the link. So there are never two answers, and none for one trip and two netlink calls.
//! A successor acts on a go only within [`VOID`] of its accept. The owner takes back only after [`TAKE_BACK`] of its
//! first go, which was later. So both never happen.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::address::probe::FEW;
use crate::address::state::{Accepted, Handover, Offer, Owned, State};
use crate::address::step::Step;
use crate::address::view::For;
use crate::io::{Action, ClaimReason, Notification};
use crate::model::node::NodeId;
use crate::model::spec::{AddressSpec, Qualified};
use crate::model::time::{Time, ms};
use crate::wire::{ClaimAnswer, Frame, Move};

/// How long an offer stands.
const OFFER: Duration = ms(150);
/// Between two offers.
const OFFER_AGAIN: Duration = ms(20);
/// Between two gos.
const GO_AGAIN: Duration = ms(10);
/// After so long without a claim the owner takes the address back.
const TAKE_BACK: Duration = ms(300);
/// After so long a go is void.
const VOID: Duration = ms(250);
/// If there is no successor at all, when to look again.
const RETRY: Duration = ms(5000);
/// A successor accepts only if it was answered on the link within so long.
const HEARING: Duration = ms(1000);

/// Where an address of this node is to go.
#[derive(Debug, PartialEq, Eq)]
enum Successor {
    /// This node keeps it.
    Keep,
    /// It should go, and nobody is left to take it.
    Nobody,
    /// There.
    To(NodeId),
}

impl Step<'_, '_> {
    fn planned_move(&self, owned: &Owned, offer: &Offer) -> Move {
        Move { address: self.address, epoch: owned.epoch, id: offer.id }
    }

    /// Whether this node may keep what it has, whoever else could take it.
    fn keeps_all(&self) -> bool {
        self.context.eligibility.keeps_all(self.context.gossip.members)
    }

    /// Whether the address should move, and to whom.
    fn successor(&self, spec: &AddressSpec, tried: &BTreeSet<NodeId>) -> Successor {
        let rebalance = self.entry.rebalanced != spec.rebalance;
        if !rebalance && self.keeps_all() && spec.qualified == Qualified::All {
            return Successor::Keep;
        }
        let candidates = self.context.view().candidates(spec, For::Keeping);
        let own = self.context.own();
        if candidates.nodes.contains(own) {
            let first = candidates.nodes.into_iter().next().filter(|first| rebalance && first != own);
            return match first {
                Some(first) if !tried.contains(&first) => Successor::To(first),
                Some(_) => Successor::Nobody,
                None => Successor::Keep,
            };
        }
        let next = candidates.nodes.into_iter().find(|node| node != own && !tried.contains(node));
        next.map_or(Successor::Nobody, Successor::To)
    }

    /// One step of a planned move, or its beginning.
    pub fn handover(&mut self, spec: &AddressSpec, owned: &mut Owned) {
        let now = self.context.now();
        match &mut owned.handover {
            Handover::None | Handover::Retry(_) => {
                let due = !matches!(owned.handover, Handover::Retry(at) if at > now);
                if due && owned.dispute.contest().is_none() && self.context.startup.quiet_until(now).is_none() {
                    owned.handover = Handover::None;
                    self.offer_to_next(spec, owned, BTreeSet::new());
                }
            }
            Handover::Gone(offer) if now.since(offer.since) >= TAKE_BACK => self.take_back(spec, owned),
            Handover::Gone(offer) if now >= offer.next => {
                offer.next = now + GO_AGAIN;
                self.send_offer(owned, Frame::Go);
            }
            Handover::Offering(offer) if now.since(offer.since) >= OFFER => self.try_next(spec, owned),
            Handover::Offering(offer) if now >= offer.next => {
                offer.next = now + OFFER_AGAIN;
                self.send_offer(owned, Frame::Offer);
            }
            Handover::Gone(_) | Handover::Offering(_) => {}
        }
    }

    fn send_offer(&mut self, owned: &Owned, frame: impl FnOnce(Move) -> Frame) {
        if let Some(offer) = owned.handover.offer() {
            let step = self.planned_move(owned, offer);
            self.context.gossip.send(&offer.to, frame(step));
        }
    }

    fn offer_to_next(&mut self, spec: &AddressSpec, owned: &mut Owned, tried: BTreeSet<NodeId>) {
        let now = self.context.now();
        let to = match self.successor(spec, &tried) {
            Successor::To(to) => to,
            none => {
                let must_go = !self.keeps_all();
                if none == Successor::Nobody && (must_go || !tried.is_empty()) {
                    owned.handover = Handover::Retry(now + RETRY);
                    self.context.gossip.out.report(Notification::NoSuccessor { address: self.address });
                }
                if none == Successor::Keep || !must_go {
                    self.entry.rebalanced = spec.rebalance;
                }
                return;
            }
        };
        let id = self.context.gossip.rng.next();
        owned.handover = Handover::Offering(Offer { to, id, tried, since: now, next: now + OFFER_AGAIN });
        self.send_offer(owned, Frame::Offer);
    }

    /// The successor did not accept.
    fn try_next(&mut self, spec: &AddressSpec, owned: &mut Owned) {
        if let Handover::Offering(offer) = std::mem::replace(&mut owned.handover, Handover::None) {
            let mut tried = offer.tried;
            tried.insert(offer.to);
            self.offer_to_next(spec, owned, tried);
        }
    }

    /// The successor did not claim.
    fn take_back(&mut self, spec: &AddressSpec, owned: &mut Owned) {
        let now = self.context.now();
        let retry = Handover::Retry(now + RETRY);
        let Handover::Gone(offer) = std::mem::replace(&mut owned.handover, retry) else { return };
        owned.epoch = owned.epoch.saturating_add(2);
        owned.announce_again(now);
        self.note_epoch(owned.epoch);
        self.entry.in_kernel = true;
        let address = self.address;
        self.context.claims.own.set(address, Some(owned.epoch));
        self.context.gossip.out.act(Action::Add { address, link: spec.link });
        self.context.gossip.out.report(Notification::MoveFailed { address, to: offer.to });
    }

    /// The successor accepts: the address goes out of the kernel, then go is said.
    pub fn accept(&mut self, node: &NodeId, step: Move, mut owned: Owned) -> State {
        owned.handover = match std::mem::replace(&mut owned.handover, Handover::None) {
            Handover::Offering(mut offer) => {
                let now = self.context.now();
                (offer.since, offer.next) = (now, now + GO_AGAIN);
                self.remove();
                self.context.gossip.send(node, Frame::Go(step));
                Handover::Gone(offer)
            }
            other => other,
        };
        State::Owned(owned)
    }

    /// The successor declines.
    pub fn decline(&mut self, node: &NodeId, step: Move, mut owned: Owned) -> State {
        let offered = matches!(&owned.handover, Handover::Offering(o) if o.to == *node && o.id == step.id);
        if let Some(spec) = self.spec().filter(|_| offered) {
            self.try_next(&spec, &mut owned);
        }
        State::Owned(owned)
    }

    /// A member offers the address, and this node takes it.
    pub fn offered(&mut self, node: &NodeId, step: Move, state: State) -> State {
        match state {
            State::Accepted(accepted) if accepted.step.id == step.id => State::Accepted(accepted),
            _ => State::Accepted(Accepted { from: node.clone(), step, until: self.context.now() + VOID }),
        }
    }

    /// The owner says go.
    pub fn go(&mut self, node: &NodeId, step: Move, state: State) -> State {
        let next = match (state, self.spec()) {
            (State::Accepted(accepted), Some(spec))
                if accepted.from == *node && accepted.step == step && self.context.now() < accepted.until =>
            {
                self.note_epoch(step.epoch);
                self.entry.other_owner = Some(node.clone());
                self.claim(&spec, ClaimReason::Move)
            }
            (state, _) => state,
        };
        if let Some(owned) = next.owned() {
            let (address, answer) = (self.address, ClaimAnswer::Claimed(owned.epoch));
            self.context.gossip.send(node, Frame::ClaimReply { address, answer });
        }
        next
    }

    /// The owner said nothing more: an ordinary claim.
    pub fn accepted(&mut self, accepted: Accepted) -> State {
        if self.context.now() < accepted.until {
            return State::Accepted(accepted);
        }
        self.begin(ClaimReason::Move, FEW, Some(accepted.from))
    }

    /// Whether this node takes the address if it is offered.
    pub fn is_willing(&self, spec: &AddressSpec) -> bool {
        let now = self.context.now();
        self.context.startup.may_begin(now)
            && self.context.eligibility.stop.is_none()
            && self.context.view().rank(spec, For::Claiming).place.is_some()
    }

    /// Whether this node hears on the link of the address, so that it may take it without asking the link.
    pub fn hears(&mut self, spec: &AddressSpec) -> bool {
        self.context.hears(spec.link, HEARING)
    }
}

impl Offer {
    /// Whether an accept is of this offer, and in time.
    pub fn is_accepted_by(&self, node: &NodeId, step: &Move, now: Time) -> bool {
        self.to == *node && self.id == step.id && now.since(self.since) < OFFER
    }
}
