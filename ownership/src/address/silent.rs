//! A kernel that still answers for an address of this node, while its agent is silent: nobody can take the address out
//! of that kernel, so this node gives it up as soon as it sees that.
//!
//! It comes about if an answer is later than the decision, or if this node took the address over while that kernel could
//! not be reached. So as long as a weaker claim of a silent member stands, its kernel is asked.

use std::time::Duration;

use crate::address::state::{Dispute, Owned, State};
use crate::address::step::Step;
use crate::io::{Action, ProbeKind, ReleaseReason};
use crate::model::node::NodeId;
use crate::model::time::ms;
use crate::wire::Liveness;

/// Between two questions to the kernel of a silent agent, for one address.
const ASK_KERNEL: Duration = ms(1000);
/// From then on it is looked at like any kernel that serves.
const LOOK: Duration = ms(250);

impl Step<'_, '_> {
    /// Whether a member's agent is silent.
    pub fn is_silent(&self, node: &NodeId) -> bool {
        self.context.gossip.members.get(node).is_some_and(|member| member.liveness == Liveness::Silent)
    }

    /// Asks the kernel of a silent agent, if its node answers on the link and it is the turn of this address. These questions
    /// are no looks: what is looked at for whatever reason must not keep two kernels answering.
    pub fn ask_kernel(&mut self, node: &NodeId, owned: &Owned, granted: bool) -> Dispute {
        let now = self.context.now();
        let link = self.link().filter(|link| !self.context.detector.has_alarm(node, *link));
        let to = link.and_then(|link| Some((link, self.context.detector.presence(node, link).mac?)));
        if let Some((link, mac)) = to.filter(|_| !owned.is_gone() && !self.is_overridden(node)) {
            let turn = if granted { now } else { self.context.budget.kernel(link, now) };
            if turn > now {
                return Dispute::Weaker { remind: turn, granted: true };
            }
            let (target, to, kind) = (self.address, Some(mac), ProbeKind::Duplicate);
            self.context.gossip.out.act(Action::Probe { link, target, to, kind });
        }
        Dispute::Weaker { remind: now + ASK_KERNEL, granted: false }
    }

    /// A member's kernel answers for an address of this node. As long as its node is silent in every way, that is a switch
    /// that answers late from its cache; if the node is back, the alarm ends, and its kernel is asked.
    pub fn kernel_answers_while_owned(&mut self, node: &NodeId, state: State) -> State {
        let State::Owned(owned) = state else { return state };
        if self.link().is_some_and(|link| self.context.detector.has_alarm(node, link)) {
            return State::Owned(owned);
        }
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
