//! Owned: claiming, announcing, releasing.

use crate::address::budget::ANNOUNCED;
use crate::address::state::{Owned, State};
use crate::address::step::Step;
use crate::io::{Action, ClaimReason, Notification, ReleaseReason};
use crate::model::link::LinkId;
use crate::model::node::NodeId;
use crate::model::spec::AddressSpec;
use crate::model::time::ms;

impl Step<'_, '_> {
    /// Takes the address: into the kernel, onto the link, to the others.
    pub fn claim(&mut self, spec: &AddressSpec, cause: ClaimReason) -> State {
        let (now, address) = (self.context.now(), self.address);
        let own = self.context.claims.own.epoch(address).unwrap_or(0);
        let epoch = self.entry.highest_epoch.max(own).saturating_add(1);
        self.entry.highest_epoch = epoch;
        self.entry.in_kernel = true;
        self.entry.unclaimed_since = None;
        if self.entry.look.take().is_some_and(|look| look.early) {
            self.context.budget.announced(spec.link, ANNOUNCED, now);
        }
        (self.entry.backoff.conflicts, self.entry.backoff.host) = (0, None);
        self.entry.rebalanced = spec.rebalance;
        self.entry.last = "claimed";
        self.context.claims.own.set(address, Some(epoch));
        self.context.gossip.out.act(Action::Add { address, link: spec.link });
        let from = self.entry.other_owner.clone();
        let mut without = None;
        if let Some(node) = &from
            && let Some(member) = self.context.gossip.members.get(node)
        {
            let gone = cause == ClaimReason::OwnerGone || self.context.detector.has_alarm(node, spec.link);
            let answer = self.context.detector.presence(node, spec.link).answer;
            without = member.ack.max(answer).filter(|_| gone).map(|last| now.since(last));
            self.context.detector.note_former_owner(node, spec.link, gone);
        }
        self.context.gossip.out.report(Notification::Claimed { address, epoch, cause, from, without });
        let mut owned = Owned::new(epoch, now, true);
        self.announce(spec.link, &mut owned);
        self.introduce(spec.link, &mut owned);
        State::Owned(owned)
    }

    /// Announces if it is time.
    pub fn announce(&mut self, link: LinkId, owned: &mut Owned) {
        let now = self.context.now();
        if owned.announcing.next.is_none_or(|at| at > now) {
            return;
        }
        // It waits where a takeover uses up what the link may get.
        let granted = owned.announcing.granted.take();
        let turn = granted.unwrap_or_else(|| self.context.budget.first(link, ANNOUNCED, now));
        if turn > now {
            (owned.announcing.granted, owned.announcing.next) = (Some(turn), Some(turn));
            return;
        }
        let schedule = &self.context.policy.announcements;
        if !owned.is_gone() && !schedule.is_empty() {
            self.context.gossip.out.act(Action::Announce { address: self.address, link });
            self.plan_introduction(link, owned);
        }
        let schedule = &self.context.policy.announcements;
        let announcing = &mut owned.announcing;
        announcing.made += 1;
        announcing.next = schedule.get(announcing.made).map(|after| (announcing.since + *after).max(now + ms(1)));
    }

    /// Gives the address up: out of the kernel first, then the others are told.
    pub fn release(&mut self, owned: &Owned, why: ReleaseReason, to: Option<NodeId>) -> State {
        self.note_epoch(owned.epoch);
        self.entry.other_owner.clone_from(&to);
        self.entry.last = match why {
            ReleaseReason::Unwanted => "no Service uses it",
            ReleaseReason::Moved => "moved as planned",
            ReleaseReason::Yielded => "yielded to a stronger claim",
            ReleaseReason::LinkBroken => "the link broke",
            ReleaseReason::AddFailed => "the kernel refused it",
            ReleaseReason::KernelServes => "the kernel of a silent agent has it",
            ReleaseReason::KernelLost => "it left the kernel",
            ReleaseReason::HeldForeign => "another node's kernel has it from somebody else",
        };
        // What left the kernel by itself is removed too, so that the edge forgets it.
        if self.entry.in_kernel || why == ReleaseReason::KernelLost {
            self.remove();
        }
        self.context.claims.own.set(self.address, None);
        self.context.gossip.out.report(Notification::Released { address: self.address, why, to });
        self.entry.look_again = true;
        State::Idle
    }

    /// One step of an address of this node.
    pub fn owned(&mut self, mut owned: Owned) -> State {
        let spec = self.spec();
        if spec.is_none() && self.context.startup.addresses_listed {
            return self.release(&owned, ReleaseReason::Unwanted, None);
        }
        if let Some(next) = self.dispute(&mut owned) {
            return next;
        }
        self.ask_foreign_holder(&mut owned);
        let Some(spec) = spec else {
            // Adopted, and not yet known whether it is wanted: kept as it is, unless another claim is stronger.
            if let Some(link) = self.context.detector.link_with(self.address) {
                self.announce(link, &mut owned);
                self.introduce(link, &mut owned);
            } else {
                (owned.announcing.next, owned.announcing.introduce) = (None, None);
            }
            return State::Owned(owned);
        };
        if self.context.detector.link(spec.link).is_some_and(|state| state.broken) {
            return self.release(&owned, ReleaseReason::LinkBroken, None);
        }
        self.handover(&spec, &mut owned);
        self.announce(spec.link, &mut owned);
        self.introduce(spec.link, &mut owned);
        State::Owned(owned)
    }

    /// The link is broken or gone: a crash, not a planned move.
    pub fn link_lost(&mut self, state: State) -> State {
        match state {
            State::Owned(owned) => self.release(&owned, ReleaseReason::LinkBroken, None),
            State::Idle | State::Waiting { .. } | State::Probing(_) | State::Accepted(_) => State::Idle,
        }
    }

    /// This node did not run for a while: what was under way is over.
    pub fn paused(&mut self, state: State) -> State {
        match state {
            // Whether the successor took it, its claim says; else it is claimed anew.
            State::Owned(owned) if owned.is_gone() => self.release(&owned, ReleaseReason::Moved, None),
            State::Owned(mut owned) => {
                owned.handover.cancel();
                owned.dispute.end_contest();
                // Whoever heard of another owner meanwhile is to hear of this one again, if it still is the owner when the
                // news has come in.
                let now = self.context.now();
                owned.announce_again(self.context.startup.quiet_until(now).unwrap_or(now));
                State::Owned(owned)
            }
            State::Idle | State::Waiting { .. } | State::Probing(_) | State::Accepted(_) => State::Idle,
        }
    }
}
