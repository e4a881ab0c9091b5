//! An address of this node that a member's kernel has from somebody else: two hosts would answer for ever.
//!
//! A member says so unasked every half second to whoever claims the address, and to the others, who ask it before they
//! claim the address. If it says so again a second later, when it
//! is asked, this node gives the address up, and waits like any node that meets a foreign host. What a member says that is
//! silent in every way counts for nothing: it may speak and hear nothing, and then its kernel answers nobody. The same module has what
//! this node yields to a member that cannot be asked.

use std::time::Duration;

use crate::address::probing::could_own;
use crate::address::state::{ForeignHolder, Owned, State};
use crate::address::step::Step;
use crate::io::{ConflictPolicy, Notification, ReleaseReason};
use crate::model::node::NodeId;
use crate::model::time::ms;
use crate::wire::{ClaimAnswer, Frame};

/// The second statement must come so long after the first.
const CONFIRM: Duration = ms(1000);
/// From then on the member is asked so often,
const ASK: Duration = ms(100);
/// until the first statement is so old.
const FORGET: Duration = ms(3000);
/// How long this node waits before it looks at the address again.
const WAIT: Duration = ms(5000);

impl Step<'_, '_> {
    /// A member has no claim to an address of this node.
    pub fn unclaimed_reply_while_owned(&mut self, node: &NodeId, answer: ClaimAnswer, mut owned: Owned) -> State {
        if answer == ClaimAnswer::HeldForeign {
            return self.held_foreign(node, owned);
        }
        owned.foreign = owned.foreign.filter(|holder| holder.node != *node);
        State::Owned(owned)
    }

    fn held_foreign(&mut self, node: &NodeId, mut owned: Owned) -> State {
        let now = self.context.now();
        let deaf = self.link().is_some_and(|link| self.context.detector.has_alarm(node, link));
        if owned.is_gone() || deaf || self.context.policy.conflicts == ConflictPolicy::Off {
            return State::Owned(owned);
        }
        let known = owned.foreign.as_ref().filter(|holder| now.since(holder.since) < FORGET);
        match known {
            None => {
                owned.foreign = Some(ForeignHolder { node: node.clone(), since: now, next: now + CONFIRM });
                State::Owned(owned)
            }
            Some(holder) if holder.node != *node || now.since(holder.since) < CONFIRM => State::Owned(owned),
            Some(_) => self.yield_to_foreign(node, owned),
        }
    }

    fn yield_to_foreign(&mut self, node: &NodeId, mut owned: Owned) -> State {
        let yielded = self.context.policy.conflicts == ConflictPolicy::Enforce;
        // Only reported, it is reported again after a while.
        if yielded || owned.defended.is_none_or(|at| self.context.now().since(at) >= WAIT) {
            let (address, node) = (self.address, node.clone());
            self.context.gossip.out.report(Notification::ConflictOnNode { address, node, yielded });
        }
        if !yielded {
            owned.foreign = None;
            owned.defended = Some(self.context.now());
            return State::Owned(owned);
        }
        self.release(&owned, ReleaseReason::HeldForeign, None);
        self.entry.look_again = false;
        self.back_off(WAIT)
    }

    /// Asks the member once more.
    pub fn ask_foreign_holder(&mut self, owned: &mut Owned) {
        let now = self.context.now();
        owned.foreign = owned.foreign.take().filter(|holder| now.since(holder.since) < FORGET);
        let Some(holder) = owned.foreign.as_mut().filter(|holder| holder.next <= now) else { return };
        holder.next = now + ASK;
        let node = holder.node.clone();
        self.context.gossip.send(&node, Frame::ClaimQuery(self.address));
    }

    /// A member announces an address of this node on the link. If it speaks another version it cannot be asked; where the
    /// traffic policy keeps this node from the address, the member has taken it over for that reason.
    pub fn other_version_announces(&mut self, node: &NodeId, state: State) -> State {
        let State::Owned(owned) = state else { return state };
        let qualifies = self.spec().is_none_or(|spec| could_own(&spec, self.context.own()));
        if qualifies || !self.speaks_other_version(node) {
            return State::Owned(owned);
        }
        self.release(&owned, ReleaseReason::Yielded, Some(node.clone()))
    }
}
