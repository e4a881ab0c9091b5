//! A kernel that still answers for an address of this node, while its agent is silent: nobody can take the address out
//! of that kernel, so this node gives it up as soon as it sees that.
//!
//! It comes about if an answer is later than the decision, or if this node took the address over while that kernel could
//! not be reached. So as long as a weaker claim of a silent member stands, its kernel is asked.

use std::time::Duration;

use crate::address::state::{Owned, State};
use crate::address::step::Step;
use crate::io::{Action, ProbeKind, ReleaseReason};
use crate::model::node::NodeId;
use crate::model::time::{Time, ms};
use crate::wire::Liveness;

/// Between two questions to the kernel of a silent agent. It is more than the second that the budget is about, so that
/// addresses that found no room come first.
const ASK_KERNEL: Duration = ms(1050);
/// If there was no room.
const ASK_KERNEL_SOON: Duration = ms(100);
/// From then on it is looked at like any kernel that serves.
const LOOK: Duration = ms(250);

impl Step<'_, '_> {
    /// Whether a member's agent is silent.
    pub fn is_silent(&self, node: &NodeId) -> bool {
        self.context.gossip.members.get(node).is_some_and(|member| member.liveness == Liveness::Silent)
    }

    /// Asks the kernel of a silent agent, if its node answers on the link and further looks have room. Returns when to do so
    /// again.
    pub fn ask_kernel(&mut self, node: &NodeId, owned: &Owned) -> Time {
        let now = self.context.now();
        let link = self.link().filter(|link| !self.context.detector.has_alarm(node, *link));
        let to = link.and_then(|link| Some((link, self.context.detector.presence(node, link).mac?)));
        if let Some((link, mac)) = to.filter(|_| !owned.is_gone() && !self.is_overridden(node)) {
            if !self.context.budget.has_room_for_further(link, 1, now) {
                return now + ASK_KERNEL_SOON;
            }
            let (target, to, kind) = (self.address, Some(mac), ProbeKind::Duplicate);
            self.context.gossip.out.act(Action::Probe { link, target, to, kind });
        }
        now + ASK_KERNEL
    }

    /// A member's kernel answers for an address of this node.
    pub fn kernel_answers_while_owned(&mut self, node: &NodeId, state: State) -> State {
        let State::Owned(owned) = state else { return state };
        let claims = self.context.claims.rivals(self.address).any(|(rival, _)| rival == node);
        if owned.is_gone() || !claims || !self.is_silent(node) || self.is_overridden(node) {
            return State::Owned(owned);
        }
        self.entry.round_trip = None;
        self.release(&owned, ReleaseReason::KernelServes, Some(node.clone()));
        self.entry.look_again = false;
        self.back_off(LOOK)
    }
}
