//! Two claims for one address, and foreign hosts that announce it.
//!
//! The higher epoch keeps it, equal epochs go by the order of choice. The weaker claimant yields only to a claim whose
//! owner answers; if that owner does not answer, the weaker one claims again with a higher epoch. The stronger one
//! reminds the weaker every 100 ms until it has yielded, and then announces again.

use std::time::Duration;

use crate::address::state::{Contest, Dispute, Owned, State};
use crate::address::step::Step;
use crate::claims::beats;
use crate::io::{Action, Notification, ReleaseReason};
use crate::model::node::{Mac, NodeId};
use crate::model::time::ms;
use crate::wire::{ClaimAnswer, Epoch, Frame, Liveness};

/// How long the owner of the stronger claim may take to answer.
const CONTEST: Duration = ms(150);
/// Between two questions to it.
const ASK: Duration = ms(20);
/// Between two reminders to the owner of the weaker claim.
const REMIND: Duration = ms(100);
/// An address is defended at most once in so long (RFC 5227 2.4 c).
const DEFEND: Duration = ms(10_000);

impl Step<'_, '_> {
    /// Compares the claim with those of others; returns the next state if the address is given up.
    pub fn dispute(&mut self, owned: &mut Owned) -> Option<State> {
        let Some((rival, epoch)) = self.rival() else {
            self.undisputed(owned);
            return None;
        };
        if !beats((epoch, &rival), (owned.epoch, self.context.own()), self.address) {
            self.remind(&rival, owned);
            return None;
        }
        if owned.is_gone_to(&rival) {
            return Some(self.release(owned, ReleaseReason::Moved, Some(rival)));
        }
        self.contest(rival, epoch, owned);
        None
    }

    /// Nobody else claims it.
    fn undisputed(&mut self, owned: &mut Owned) {
        if owned.dispute.remind().is_some() {
            // The weaker one has yielded. Whoever heard its last announcement is to hear ours again.
            owned.announce_again(self.context.now());
            let rival = self.context.own().clone();
            self.context.gossip.out.report(Notification::TwoClaims { address: self.address, rival, kept: true });
        }
        owned.dispute = Dispute::None;
    }

    /// The rival's claim is weaker.
    fn remind(&mut self, rival: &NodeId, owned: &mut Owned) {
        let now = self.context.now();
        let granted = matches!(owned.dispute, Dispute::Weaker { granted: true, .. });
        let silent = self.is_silent(rival);
        // An agent that runs again does not wait for the turn to ask its kernel.
        if let Some(remind) = owned.dispute.remind().filter(|at| *at > now && (silent || !granted)) {
            owned.dispute = Dispute::Weaker { remind, granted };
            return;
        }
        if silent {
            owned.dispute = self.ask_kernel(rival, owned, granted);
            return;
        }
        owned.dispute = Dispute::Weaker { remind: now + REMIND, granted: false };
        let alive = self.context.gossip.members.get(rival).is_some_and(|member| member.liveness == Liveness::Alive);
        if alive && !owned.is_gone() {
            let answer = ClaimAnswer::Claimed(owned.epoch);
            self.context.gossip.send(rival, Frame::ClaimReply { address: self.address, answer });
        }
    }

    /// The rival's claim is stronger: it is asked, and if it does not answer, the address is claimed above it.
    fn contest(&mut self, rival: NodeId, epoch: Epoch, owned: &mut Owned) {
        let now = self.context.now();
        let known = owned.dispute.contest().is_some_and(|contest| contest.rival == rival && contest.epoch == epoch);
        if !known {
            let remind = owned.dispute.remind();
            owned.dispute = Dispute::Stronger(Contest { rival, epoch, until: now + CONTEST, next: now, remind });
        }
        let Dispute::Stronger(contest) = &mut owned.dispute else { return };
        let until = contest.until + self.context.gossip.late;
        if now >= until {
            owned.epoch = contest.epoch.saturating_add(1);
            owned.dispute.end_contest();
            owned.announce_again(now);
            self.context.claims.own.set(self.address, Some(owned.epoch));
            self.note_epoch(owned.epoch);
        } else if now >= contest.next {
            contest.next = until.min(now + ASK);
            self.context.gossip.send(&contest.rival, Frame::ClaimQuery(self.address));
        }
    }

    /// A member said what it has to do with the address: the rival of a contest answered, or the successor of a planned
    /// move has it.
    pub fn claim_reply_while_owned(&mut self, node: &NodeId, answer: ClaimAnswer, owned: Owned) -> State {
        let Some(epoch) = answer.epoch() else { return self.unclaimed_reply_while_owned(node, answer, owned) };
        let mine = (owned.epoch, self.context.own());
        if !beats((epoch, node), mine, self.address) {
            return State::Owned(owned);
        }
        if owned.is_gone_to(node) {
            return self.release(&owned, ReleaseReason::Moved, Some(node.clone()));
        }
        if owned.dispute.contest().is_some_and(|contest| contest.rival == *node) {
            let lost = Notification::TwoClaims { address: self.address, rival: node.clone(), kept: false };
            self.context.gossip.out.report(lost);
            return self.release(&owned, ReleaseReason::Yielded, Some(node.clone()));
        }
        State::Owned(owned)
    }

    /// A foreign host announces the address on the link: this node announces it too, if it has not done so lately.
    pub fn defend(&mut self, mac: Mac) {
        let (now, address, link) = (self.context.now(), self.address, self.link());
        let State::Owned(owned) = &mut self.entry.state else { return };
        if owned.defended.is_some_and(|at| now.since(at) < DEFEND) {
            return;
        }
        owned.defended = Some(now);
        if let Some(link) = link {
            self.context.gossip.out.act(Action::Announce { address, link });
        }
        self.context.gossip.out.report(Notification::AddressConflict { address, mac, defended: true });
    }
}
