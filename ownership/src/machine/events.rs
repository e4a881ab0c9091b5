//! Events of the edge: which parts of the machine each concerns.

use std::time::Duration;

use crate::address::Addresses;
use crate::io::{Action, Event, NeighborFrame, Notification};
use crate::machine::machine::Machine;
use crate::model::link::{Link, LinkId, Peer};
use crate::model::node::Mac;
use crate::wire::VERSION;

/// After a pause so many members are pinged at once.
const PINGS_AFTER_PAUSE: usize = 64;

impl Machine {
    pub(super) fn on_event(&mut self, event: Event) {
        match event {
            Event::Tick => {}
            Event::Datagram { from, bytes } => self.on_datagram(from, &bytes),
            Event::Seen { link, mac, frame } => self.on_seen(link, mac, frame),
            Event::Remembered(peers) => self.on_remembered(peers),
            Event::Members(peers) => self.on_members(peers),
            Event::Link(link) => self.on_link(link),
            Event::LinkGone(link) => {
                self.with_addresses(|addresses, context| addresses.lose_link(link, context));
                self.detector.remove_link(link);
            }
            Event::ApplyAddress(spec) => self.addresses.apply(spec, self.now),
            Event::DeleteAddress(address) => self.addresses.delete(address),
            Event::AddressesListed => {
                self.startup.addresses_listed = true;
                self.addresses.mark_all();
            }
            Event::Kernel(found) => self.with_addresses(|addresses, context| addresses.kernel_read(&found, context)),
            Event::KernelHolds(changes) => {
                for (address, holding) in changes {
                    self.holdings.apply(address, holding);
                    self.addresses.mark(address);
                }
                self.tell_members();
            }
            Event::KernelLost(address) => {
                self.with_addresses(|addresses, context| addresses.kernel_lost(address, context));
            }
            Event::AddFailed(address) => {
                self.with_addresses(|addresses, context| addresses.add_failed(address, context));
            }
            Event::Selected(selected) => {
                self.eligibility.selected = selected;
                self.update_flags();
            }
            Event::Excluded(excluded) => {
                self.eligibility.excluded = excluded;
                self.update_flags();
            }
            Event::Watches { current } => {
                self.eligibility.set_current(current, self.now);
                self.update_flags();
            }
            Event::Policy(conflicts) => self.policy.conflicts = conflicts,
            Event::FailureDetection(setting) => self.detector.set_failure_detection(setting),
            Event::Announcements(schedule) => self.policy.announcements = schedule,
            Event::Keys(keys) => self.session.rekey(keys),
            Event::Stop(stop) => {
                self.eligibility.stop = Some(stop);
                self.update_flags();
                self.addresses.mark_all();
            }
        }
    }

    pub(super) fn on_link(&mut self, link: Link) {
        let id = link.id;
        if self.detector.link(id).is_some_and(|state| state.link.mac != link.mac) {
            self.addresses.announce_on(id, self.now);
        }
        self.detector.update_link(link, self.now);
        self.addresses.mark_on(id);
    }

    /// Whether their Leases are renewed, and what they speak today, only the list will say.
    pub(super) fn on_remembered(&mut self, peers: Vec<Peer>) {
        if self.startup.is_listed() {
            return;
        }
        let peers = peers.into_iter().map(|peer| Peer { lease_alive: false, ..peer }).collect();
        let (new, _) = self.members.discover(peers, self.now);
        for node in &new {
            self.gossip().ping_once(node);
        }
        self.detector.change_ring();
    }

    pub(super) fn on_members(&mut self, peers: Vec<Peer>) {
        let known = |peer: &Peer| self.members.get(&peer.node).and_then(|member| member.peer.as_ref());
        let others = || peers.iter().filter(|peer| peer.node != *self.members.own());
        let moved = others().any(|peer| known(peer).is_none_or(|old| old.places != peer.places));
        // Only the Lease shows whether a member lives that speaks another version.
        let other = |peer: &Peer| (peer.wire_version != u16::from(VERSION)).then_some(peer.lease_alive);
        let other_version = others().any(|peer| known(peer).and_then(other) != other(peer));
        let changed = others().filter(|peer| known(peer).is_some_and(|old| old.macs != peer.macs));
        for peer in changed {
            self.detector.note_macs(&peer.node, &peer.macs);
        }
        let (new, gone) = self.members.discover(peers, self.now);
        for node in &new {
            self.gossip().ping_once(node);
        }
        for node in &gone {
            self.detector.forget(node);
            self.addresses.mark_each(self.claims.forget(node));
        }
        self.startup.note_listed(self.now);
        // A renewal alone changes nothing.
        if moved || !gone.is_empty() {
            self.detector.change_ring();
            self.addresses.mark_owned();
        }
        if other_version {
            self.detector.change_ring();
            self.addresses.mark_all();
        }
    }

    pub(super) fn on_seen(&mut self, link: LinkId, mac: Mac, frame: NeighborFrame) {
        if self.detector.is_own(mac) || self.detector.link(link).is_none() {
            return;
        }
        let member = self.members.owner_of(mac).cloned();
        match frame {
            NeighborFrame::Reply(address) => {
                if self.detector.link_answered(link, address, self.now) {
                    self.addresses.mark_all();
                }
                if let Some(node) = &member
                    && self.detector.note_answer(node, link, address, mac, &self.members, self.now)
                {
                    self.report_indirect(node, Some(address));
                }
                self.with_addresses(|addresses, context| addresses.answered(address, link, mac, member, context));
            }
            NeighborFrame::Announcement(address) if self.addresses.belongs_to(address, link) => {
                self.with_addresses(|addresses, context| addresses.announced(address, link, mac, member, context));
            }
            NeighborFrame::Announcement(_) => {}
            NeighborFrame::Request { target, sender } => {
                if let (None, Some(sender)) = (&member, sender)
                    && !self.addresses.contains(sender)
                {
                    self.detector.note_witness(link, sender, self.now);
                }
                if self.addresses.belongs_to(target, link) {
                    if let (None, Some(sender)) = (&member, sender) {
                        self.addresses.asked_for(target, sender, mac, self.now);
                    }
                    self.with_addresses(|addresses, context| {
                        addresses.questioned(target, sender, mac, member.as_ref(), context);
                    });
                }
            }
        }
    }

    /// This node did not run for a while (stopped, suspended): nothing that it believes of others is sure.
    pub(super) fn on_pause(&mut self, gap: Duration) {
        self.out.report(Notification::Paused(gap));
        self.members.end_suspicions(self.now);
        self.detector.reset(self.now);
        self.startup.pause(self.now);
        self.with_addresses(Addresses::pause);
        self.out.act(Action::ReadKernel);
        let nodes: Vec<_> = self.members.iter().map(|(node, _)| node.clone()).take(PINGS_AFTER_PAUSE).collect();
        for node in nodes {
            // A member that took over has a claim; the status in its answer says so.
            self.gossip().ping_once(&node);
        }
        self.members.ping_now(self.now);
    }
}
