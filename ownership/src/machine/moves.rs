//! Moving on purpose: offer, accept, go.
//!
//! The owner takes the address out of its kernel when the successor has accepted, and only then says go; the successor
//! adds it on go without asking the link. So there are never two answers, and none for one trip and two netlink calls.
//! A successor acts on a go only within [`VOID`] of its accept, and the owner takes back only after [`TAKE_BACK`] of
//! its first go, which was later: never both.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::choice::Want;
use crate::event::{Action, Fact, Stop};
use crate::machine::Machine;
use crate::machine::slot::{Accepted, Departure, Held, State};
use crate::node::NodeId;
use crate::probe::{Cause, FEW};
use crate::time::ms;
use crate::wire::{Message, Move};

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
/// With no successor at all, when to look again.
const RETRY: Duration = ms(5000);

/// Where an address of ours is to go.
#[derive(Debug, PartialEq, Eq)]
enum Successor {
    /// It stays.
    Stay,
    /// It should go, and nobody is left to take it.
    Nobody,
    /// There.
    To(NodeId),
}

impl Machine {
    fn to_move(address: IpAddr, held: &Held, departure: &Departure) -> Move {
        Move { address, epoch: held.epoch, id: departure.id }
    }

    /// Whether the address should move, and to whom.
    fn successor(&self, address: IpAddr, want: &Want, tried: &BTreeSet<NodeId>) -> Successor {
        let rebalance = self.slots.get(&address).is_some_and(|slot| slot.rebalanced != want.rebalance);
        if !rebalance && self.may_stay() && want.qualified == crate::choice::Qualified::All {
            return Successor::Stay;
        }
        let candidates = self.candidates(want, true);
        if candidates.nodes.contains(&self.node) {
            let first = candidates.nodes.into_iter().next().filter(|first| rebalance && *first != self.node);
            return match first {
                Some(first) if !tried.contains(&first) => Successor::To(first),
                Some(_) => Successor::Nobody,
                None => Successor::Stay,
            };
        }
        let next = candidates.nodes.into_iter().find(|node| *node != self.node && !tried.contains(node));
        next.map_or(Successor::Nobody, Successor::To)
    }

    /// One step of a planned move, or its beginning; returns the next state if the address is gone.
    pub(super) fn step_departure(&mut self, address: IpAddr, want: &Want, held: &mut Held) -> Option<State> {
        let now = self.now;
        let Some(departure) = held.departure.as_mut() else {
            if held.contest.is_none() && now >= self.quiet_until && held.retry_at.is_none_or(|at| at <= now) {
                held.retry_at = None;
                self.depart(address, want, held, BTreeSet::new());
            }
            return None;
        };
        if departure.gone {
            if now.since(departure.since) >= TAKE_BACK {
                self.take_back(address, want, held);
            } else if now >= departure.next {
                departure.next = now + GO_AGAIN;
                let (to, step) = (departure.to.clone(), Self::to_move(address, held, held.departure.as_ref()?));
                self.send(&to, Message::Go(step));
            }
        } else if now.since(departure.since) >= OFFER {
            self.try_next(address, want, held);
        } else if now >= departure.next {
            departure.next = now + OFFER_AGAIN;
            let (to, step) = (departure.to.clone(), Self::to_move(address, held, held.departure.as_ref()?));
            self.send(&to, Message::Offer(step));
        }
        None
    }

    fn depart(&mut self, address: IpAddr, want: &Want, held: &mut Held, tried: BTreeSet<NodeId>) {
        let now = self.now;
        let to = match self.successor(address, want, &tried) {
            Successor::To(to) => to,
            stay => {
                let leaving = !self.may_stay();
                if stay == Successor::Nobody && (leaving || !tried.is_empty()) {
                    held.retry_at = Some(now + RETRY);
                    self.tell(Fact::NoSuccessor { address });
                }
                if let Some(slot) = self.slots.get_mut(&address)
                    && (stay == Successor::Stay || !leaving)
                {
                    slot.rebalanced = want.rebalance;
                }
                return;
            }
        };
        let id = self.rng.next();
        let departure = Departure { to: to.clone(), id, tried, since: now, next: now + OFFER_AGAIN, gone: false };
        let step = Self::to_move(address, held, &departure);
        self.send(&to, Message::Offer(step));
        held.departure = Some(departure);
    }

    fn try_next(&mut self, address: IpAddr, want: &Want, held: &mut Held) {
        let Some(departure) = held.departure.take() else { return };
        let mut tried = departure.tried;
        tried.insert(departure.to);
        self.depart(address, want, held, tried);
    }

    fn take_back(&mut self, address: IpAddr, want: &Want, held: &mut Held) {
        let Some(departure) = held.departure.take() else { return };
        held.epoch = held.epoch.saturating_add(2);
        held.announce_again(self.now);
        held.retry_at = Some(self.now + RETRY);
        if let Some(slot) = self.slots.get_mut(&address) {
            slot.seen = slot.seen.max(held.epoch);
            slot.in_kernel = true;
        }
        self.ledger.own.set(address, Some(held.epoch));
        self.act(Action::Add { address, link: want.link });
        self.tell(Fact::MoveFailed { address, to: departure.to });
    }

    pub(super) fn on_offer(&mut self, node: &NodeId, step: Move) {
        let address = step.address;
        let Some(want) = self.slots.get(&address).and_then(|slot| slot.want.clone()) else {
            return self.send(node, Message::Decline(step));
        };
        let willing =
            self.open && self.now >= self.quiet_until && self.stop.is_none() && self.rank(&want).place.is_some();
        let held = self.slots.get(&address).is_some_and(|slot| slot.held().is_some());
        if held {
            return;
        }
        if !willing {
            return self.send(node, Message::Decline(step));
        }
        if !self.hears(want.link, ms(1000)) {
            // The offer comes again in 20 ms.
            return self.ask_witnesses(want.link, None);
        }
        self.ledger.put(node, address, Some(step.epoch));
        let state = self.take_state(address);
        let next = match state {
            State::Accepted(accepted) if accepted.step.id == step.id => State::Accepted(accepted),
            _ => State::Accepted(Accepted { from: node.clone(), step, until: self.now + VOID }),
        };
        self.put_state(address, next);
        self.send(node, Message::Accept(step));
    }

    pub(super) fn on_accept(&mut self, node: &NodeId, step: Move) {
        let now = self.now;
        let Some(slot) = self.slots.get_mut(&step.address) else { return };
        let link = slot.want.as_ref().map(|want| want.link);
        let State::Held(held) = &mut slot.state else { return };
        let epoch = held.epoch;
        let Some(departure) = &mut held.departure else { return };
        let matches = departure.to == *node && departure.id == step.id && epoch == step.epoch && !departure.gone;
        if !matches || now.since(departure.since) >= OFFER {
            return;
        }
        departure.gone = true;
        departure.since = now;
        departure.next = now + GO_AGAIN;
        slot.in_kernel = false;
        self.act(Action::Remove { address: step.address, link });
        self.send(node, Message::Go(step));
        let state = self.take_state(step.address);
        self.put_state(step.address, state);
    }

    pub(super) fn on_decline(&mut self, node: &NodeId, step: Move) {
        let state = self.take_state(step.address);
        let want = self.slots.get(&step.address).and_then(|slot| slot.want.clone());
        let next = match (state, want) {
            (State::Held(mut held), Some(want)) => {
                let open = held.departure.as_ref();
                if open.is_some_and(|departure| !departure.gone && departure.to == *node && departure.id == step.id) {
                    self.try_next(step.address, &want, &mut held);
                }
                State::Held(held)
            }
            (other, _) => other,
        };
        self.put_state(step.address, next);
    }

    pub(super) fn on_go(&mut self, node: &NodeId, step: Move) {
        let address = step.address;
        let state = self.take_state(address);
        let want = self.slots.get(&address).and_then(|slot| slot.want.clone());
        let next = match (state, want) {
            (State::Accepted(accepted), Some(want))
                if accepted.from == *node && accepted.step == step && self.now < accepted.until =>
            {
                if let Some(slot) = self.slots.get_mut(&address) {
                    slot.seen = slot.seen.max(step.epoch);
                    slot.other = Some(node.clone());
                }
                self.claim(address, &want, Cause::Move)
            }
            (other, _) => other,
        };
        if let State::Held(held) = &next {
            let epoch = Some(held.epoch);
            self.send(node, Message::Holds { address, epoch });
        }
        self.put_state(address, next);
    }

    /// The owner said nothing more: an ordinary claim.
    pub(super) fn step_accepted(&mut self, address: IpAddr, accepted: Accepted) -> State {
        if self.now < accepted.until {
            return State::Accepted(accepted);
        }
        self.begin(address, Cause::Move, FEW, Some(accepted.from))
    }

    pub(super) fn on_stop(&mut self, stop: Stop) {
        self.stop = Some(stop);
        self.update_flags();
        self.all_dirty();
    }

    /// Whether a leaving node has handed everything over.
    pub(super) fn note_left(&mut self) {
        if self.stop == Some(Stop::Leaving) && !self.left && self.ledger.own.is_empty() {
            self.left = true;
            self.tell(Fact::Left);
        }
    }
}
