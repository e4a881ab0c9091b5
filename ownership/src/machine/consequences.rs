//! What a change in one part of the machine means for the others.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::io::Notification;
use crate::machine::machine::Machine;
use crate::membership::LivenessChange;
use crate::model::node::NodeId;
use crate::wire::{ClaimAnswer, Frame, Liveness, SELECTED};

impl Machine {
    /// What this node says of itself.
    pub(super) fn update_flags(&mut self) {
        if self.members.set_flags(self.eligibility.flags(self.detector.has_broken_link(), self.now)) {
            self.addresses.mark_all();
        }
    }

    /// A member is alive, suspected, or silent from now on.
    pub(super) fn on_liveness(&mut self, change: LivenessChange) {
        self.detector.change_ring();
        let LivenessChange { node, liveness } = change;
        if liveness != Liveness::Suspect {
            self.addresses.mark_each(self.claims.of(&node).map(|(address, _)| address));
            self.on_flags(&node, liveness == Liveness::Silent);
        }
        self.out.report(Notification::Member { node, liveness });
    }

    /// A member is silent in every way on a link.
    pub(super) fn on_alarm(&mut self, node: &NodeId) {
        self.addresses.hasten_each(self.claims.of(node).map(|(address, _)| address));
        // It may have been the first heir of something that waits.
        self.addresses.mark_waiting();
        self.addresses.hasten(node);
    }

    /// Whether the flags of a member allow less than these did.
    pub(super) fn restricts(&self, node: &NodeId, before: u8) -> bool {
        let allowed = |flags: u8| flags ^ !SELECTED;
        self.members.get(node).is_some_and(|member| allowed(before) & !allowed(member.status.flags) != 0)
    }

    /// What a member may do changed.
    pub(super) fn on_flags(&mut self, node: &NodeId, worse: bool) {
        let keeps_all = self.eligibility.keeps_all(&self.members);
        self.addresses.mark_for_member(node, worse, keeps_all, self.members.own(), &self.claims);
    }

    /// Tells those who claim an address that this node's kernel has it from somebody else, and those who may claim it
    /// next: where a switch does not carry their questions to this kernel, or they ask none, each would claim it once.
    pub(super) fn tell_members(&mut self) {
        let due = self.holdings.due(self.now);
        if due.is_empty() {
            return;
        }
        let others = self.members.some_alive(self.holdings.last_told.as_ref());
        for address in due {
            if self.claims.own.epoch(address).is_some() {
                continue;
            }
            let mut told: BTreeSet<_> = self.claims.rivals(address).map(|(node, _)| node.clone()).collect();
            if self.addresses.contains(address) {
                told.extend(others.iter().cloned());
            }
            for node in told {
                self.gossip().send(&node, Frame::ClaimReply { address, answer: ClaimAnswer::HeldForeign });
            }
        }
        self.holdings.last_told = others.into_iter().next_back();
    }

    /// Tells those who asked this node that a member answers.
    pub(super) fn report_indirect(&mut self, node: &NodeId, reach: Option<IpAddr>) {
        for (asker, ack) in self.indirect.answered(node, reach, self.now) {
            self.gossip().send(&asker, ack);
        }
    }
}
