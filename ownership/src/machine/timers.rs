//! Timers: what is due, in the order in which it is handled.

use crate::address::Addresses;
use crate::claims::Claims;
use crate::detector::Detector;
use crate::io::{Notification, Stop};
use crate::machine::machine::Machine;
use crate::wire::Liveness;

impl Machine {
    pub(super) fn on_timers(&mut self) {
        if self.startup.advance(&self.members, self.now) {
            self.addresses.mark_all();
        }
        self.note_left();
        if self.detector.is_round_due(self.now) {
            self.on_round();
        }
        if self.detector.is_judgement_due(self.now) {
            self.on_judgement();
        }
        if self.detector.is_burst_due(self.now) {
            for node in self.with_detector(Detector::burst) {
                self.on_alarm(&node);
            }
        }
        if self.now >= self.members.deadline() {
            self.on_membership_due();
        }
        for link in self.detector.due_links(self.now) {
            if self.with_detector(|detector, gossip| detector.check_link(link, gossip)) {
                self.update_flags();
                self.with_addresses(|addresses, context| addresses.lose_link(link, context));
            }
        }
        self.with_addresses(Addresses::run_due);
    }

    pub(super) fn on_round(&mut self) {
        self.update_flags();
        let pings = self.with_detector(Detector::begin_round);
        if self.members.note_gossip(self.startup.started, self.now) {
            self.out.report(Notification::GossipSilent);
            self.detector.change_ring();
            self.addresses.mark_all();
        }
        self.tell_members();
        self.with_claims(Claims::catch_up);
        for node in pings {
            self.gossip().ping(&node);
        }
        self.with_detector(Detector::watch);
        self.on_judgement();
    }

    /// Heirs of a suspected member ask the link while the last questions to the member are out.
    fn on_judgement(&mut self) {
        for node in self.with_detector(Detector::judge) {
            self.addresses.mark_each(self.claims.of(&node).map(|(address, _)| address));
        }
    }

    pub(super) fn on_membership_due(&mut self) {
        let tick = self.members.tick(self.now, &mut self.rng);
        for node in tick.ping {
            self.gossip().ping(&node);
        }
        for (helper, target) in tick.ask {
            self.gossip().ask_to_ping(&helper, &target, None);
        }
        for change in tick.changes {
            if change.liveness == Liveness::Silent
                && self.members.get(&change.node).is_some()
                && self.detector.answers_somewhere(&change.node, self.now)
            {
                self.out.report(Notification::AgentSilent { node: change.node.clone() });
            }
            self.on_liveness(change);
        }
    }

    /// A leaving node has handed everything over.
    pub(super) fn note_left(&mut self) {
        if self.eligibility.stop == Some(Stop::Leaving) && !self.left && self.claims.own.is_empty() {
            self.left = true;
            self.out.report(Notification::Left);
        }
    }
}
