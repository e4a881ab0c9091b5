//! Two claims for one address, and foreign hosts.
//!
//! The higher epoch keeps it, equal epochs go by the order of choice. The weaker one yields only to a claim whose
//! owner answers; if it does not answer, the weaker one claims again with a higher epoch. The stronger one tells the
//! weaker every 100 ms until it has yielded, and then announces again.

use std::net::IpAddr;
use std::time::Duration;

use crate::event::{Action, ConflictPolicy, Fact, Why};
use crate::machine::Machine;
use crate::machine::slot::{Contest, Held, State, beats};
use crate::node::{Mac, NodeId};
use crate::time::ms;
use crate::wire::{Epoch, Message, Vital};

/// How long the stronger one may take to answer.
const CONTEST: Duration = ms(150);
/// Between two questions to it.
const ASK: Duration = ms(20);
/// Between two reminders to the weaker one.
const REMIND: Duration = ms(100);
/// An address is defended at most once in so long (RFC 5227 2.4 c).
const DEFEND: Duration = ms(10_000);

impl Machine {
    /// Looks for rivals; returns the next state if the address is given up.
    pub(super) fn step_contest(&mut self, address: IpAddr, held: &mut Held) -> Option<State> {
        let now = self.now;
        let rival = self.strongest(address);
        let Some((rival, epoch)) = rival else {
            if held.tell_at.take().is_some() {
                // The weaker one has yielded: whoever heard it last shall hear us again.
                held.announce_again(now);
                self.tell(Fact::TwoClaims { address, rival: self.node.clone(), kept: true });
            }
            held.contest = None;
            return None;
        };
        if !beats((epoch, &rival), (held.epoch, &self.node), address) {
            held.contest = None;
            let alive = self.members.get(&rival).is_some_and(|member| member.vital == Vital::Alive);
            if held.tell_at.is_none_or(|at| at <= now) {
                held.tell_at = Some(now + REMIND);
                if alive && !held.is_gone() {
                    self.send(&rival, Message::Holds { address, epoch: Some(held.epoch) });
                }
            }
            return None;
        }
        if held.departure.as_ref().is_some_and(|departure| departure.gone && departure.to == rival) {
            return Some(self.release(address, held, Why::Moved, Some(rival)));
        }
        let same = held.contest.as_ref().is_some_and(|contest| contest.rival == rival && contest.epoch == epoch);
        if !same {
            held.contest = Some(Contest { rival, epoch, until: now + CONTEST, next: now });
        }
        let contest = held.contest.as_mut()?;
        if now >= contest.until {
            // It does not answer: the claim is ours again, above it.
            held.epoch = contest.epoch.saturating_add(1);
            held.contest = None;
            held.announce_again(now);
            self.ledger.own.set(address, Some(held.epoch));
            if let Some(slot) = self.slots.get_mut(&address) {
                slot.seen = slot.seen.max(held.epoch);
            }
        } else if now >= contest.next {
            contest.next = contest.until.min(now + ASK);
            let rival = contest.rival.clone();
            self.send(&rival, Message::Query(address));
        }
        None
    }

    /// The rival of a contest answered.
    pub(super) fn held_holds(&mut self, node: &NodeId, address: IpAddr, epoch: Option<Epoch>, held: Held) -> State {
        let asked = held.contest.as_ref().is_some_and(|contest| contest.rival == *node);
        let stronger = epoch.is_some_and(|epoch| beats((epoch, node), (held.epoch, &self.node), address));
        let moved = held.departure.as_ref().is_some_and(|departure| departure.gone && departure.to == *node);
        if stronger && moved {
            return self.release(address, &held, Why::Moved, Some(node.clone()));
        }
        if stronger && asked {
            self.tell(Fact::TwoClaims { address, rival: node.clone(), kept: false });
            return self.release(address, &held, Why::Yielded, Some(node.clone()));
        }
        State::Held(held)
    }

    /// Somebody says on the link that it has an address.
    pub(super) fn on_announcement(&mut self, address: IpAddr, mac: Mac, member: Option<NodeId>) {
        if self.slots.get(&address).and_then(|slot| slot.held()).is_none_or(Held::is_gone) {
            return;
        }
        if let Some(node) = member {
            // Its claim decides, not the frame.
            self.send(&node, Message::Query(address));
            return;
        }
        let now = self.now;
        if self.policy == ConflictPolicy::Off {
            return;
        }
        let Some(slot) = self.slots.get_mut(&address) else { return };
        let link = slot.want.as_ref().map(|want| want.link);
        let State::Held(held) = &mut slot.state else { return };
        if held.defended.is_some_and(|at| now.since(at) < DEFEND) {
            return;
        }
        held.defended = Some(now);
        if let Some(link) = link {
            self.act(Action::Announce { address, link });
        }
        self.tell(Fact::AddressConflict { address, mac, defended: true });
    }
}
