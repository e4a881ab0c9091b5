//! Datagrams: which part of the machine each frame concerns.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::address::PATIENCE;
use crate::io::Notification;
use crate::machine::machine::Machine;
use crate::membership::sent_at;
use crate::model::node::NodeId;
use crate::model::time::ms;
use crate::session::Received;
use crate::wire::{ClaimAnswer, Frame, Liveness, Status};

/// A member that differs is not asked for its claims again within so long.
const PULL_INTERVAL: Duration = ms(50);

impl Machine {
    pub(super) fn on_datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        match self.session.receive(bytes) {
            Err(refusal) => self.out.report(Notification::Refused(refusal)),
            Ok(stranger @ Received { known: false, .. }) => self.on_stranger(&stranger, from),
            Ok(Received { node, status, frames, .. }) => self.on_frames(&node, from, status, frames),
        }
    }

    fn on_stranger(&mut self, received: &Received, from: SocketAddr) {
        let (replies, proven) = self.session.greet(received, self.now);
        self.reply_each(from, replies);
        if proven {
            let node = &received.node;
            self.claims.rebooted(node, received.boot);
            self.members.rebooted(node);
            let former = self.with_claims(|claims, gossip| claims.former_claims(node, gossip));
            self.reply_each(from, former);
        }
    }

    fn on_frames(&mut self, node: &NodeId, from: SocketAddr, status: Status, frames: Vec<Frame>) {
        let flags = self.members.get(node).map(|member| member.status.flags);
        let contact = self.members.heard(node, status, from, self.now);
        if flags != Some(status.flags) {
            let worse = flags.is_some_and(|before| self.restricts(node, before));
            self.on_flags(node, worse);
        }
        if contact {
            let greeting = self.with_claims(|claims, gossip| claims.greeting(node, gossip));
            self.reply_each(from, greeting);
        }
        let outdated = self.members.outdated(node, &status);
        self.reply_each(from, outdated);
        for frame in frames {
            self.on_frame(node, from, frame);
        }
        let pull = self.claims.compare(node, status.version, status.digest, self.now, PULL_INTERVAL);
        self.reply_each(from, pull);
    }

    fn on_frame(&mut self, node: &NodeId, from: SocketAddr, frame: Frame) {
        match frame {
            Frame::Challenge(nonce) => self.reply(from, Frame::Response(nonce)),
            Frame::Response(_) => {}
            Frame::Ping(id) => self.reply(from, Frame::Ack(id)),
            Frame::Ack(id) => self.on_ack(node, id),
            Frame::PingRequest { id, target, reach } => self.on_ping_request(node, id, &target, reach),
            Frame::IndirectAck { target, link, .. } => self.on_indirect_ack(&target, link),
            Frame::Rumour { node, incarnation, liveness, flags, version } => {
                // In a large cluster nearly all of them are known.
                if !self.members.is_known(&node, incarnation, liveness, flags, version) {
                    self.on_rumour(&node, incarnation, liveness, flags, version);
                    if self.members.note_version(&node, incarnation, version) {
                        self.claims.note_behind(node);
                    }
                }
            }
            Frame::Pull { since, after } => self.reply_each(from, self.claims.own.answer(since, after)),
            Frame::Page { version, after, claims, last } => {
                let (concerned, next) = self.claims.apply_page(node, version, after, &claims, last);
                self.addresses.mark_each(concerned);
                self.reply_each(from, next);
            }
            Frame::Changes { from, to, changes } => {
                self.addresses.mark_each(self.claims.apply_changes(node, from, to, &changes));
            }
            Frame::ClaimQuery(address) => {
                let claimed = self.claims.own.epoch(address).map(ClaimAnswer::Claimed);
                let answer = claimed.unwrap_or_else(|| self.holdings.answer(address));
                self.reply(from, Frame::ClaimReply { address, answer });
            }
            Frame::ClaimReply { address, answer } => self.on_claim_reply(node, address, answer),
            Frame::FormerClaims(claims) => {
                self.with_addresses(|addresses, context| addresses.former_claims(&claims, context));
            }
            Frame::Alarm { owner, subnet } => {
                if self.with_detector(|detector, gossip| detector.receive_alarm(&owner, subnet, gossip)) {
                    self.on_alarm(&owner);
                }
            }
            Frame::Unreachable(subnet) => self.detector.begin_check(subnet, self.now),
            Frame::Offer(step) => self.with_addresses(|addresses, context| addresses.offered(node, step, context)),
            Frame::Accept(step) => self.with_addresses(|addresses, context| addresses.accepted(node, step, context)),
            Frame::Decline(step) => self.with_addresses(|addresses, context| addresses.declined(node, step, context)),
            Frame::Go(step) => self.with_addresses(|addresses, context| addresses.go(node, step, context)),
        }
    }

    fn reply(&mut self, to: SocketAddr, frame: Frame) {
        self.gossip().reply(to, frame);
    }

    fn reply_each(&mut self, to: SocketAddr, frames: impl IntoIterator<Item = Frame>) {
        for frame in frames {
            self.reply(to, frame);
        }
    }

    fn on_ack(&mut self, node: &NodeId, id: u32) {
        let Some(sent) = sent_at(id, self.now) else { return };
        if let Some(change) = self.members.acknowledged(node, sent, self.now) {
            self.on_liveness(change);
        }
        self.detector.clear_alarms(node, sent);
        self.report_indirect(node, None);
    }

    fn on_ping_request(&mut self, asker: &NodeId, id: u32, target: &NodeId, reach: Option<IpAddr>) {
        if !self.indirect.add(asker, id, target, reach, self.now) {
            return;
        }
        self.gossip().ping_once(target);
        if let Some(address) = reach
            && let Some(link) = self.detector.link_with(address)
        {
            self.with_detector(|detector, gossip| detector.reach(link, address, Some(target), gossip));
        }
    }

    fn on_indirect_ack(&mut self, target: &NodeId, on_link: bool) {
        if !on_link {
            self.members.reported(target, self.now);
        }
        // Either way the member lives: what was suspected is not so.
        self.detector.note_indirect_answer(target, on_link, self.now);
    }

    fn on_rumour(&mut self, node: &NodeId, incarnation: u32, liveness: Liveness, flags: u8, version: u64) {
        let before = self.members.get(node).map(|member| (member.liveness, member.status.flags));
        let change = self.members.rumour(node, incarnation, liveness, flags, version, self.now);
        if let Some((old, _)) = before
            && old != Liveness::Alive
            && liveness == Liveness::Alive
        {
            // Another member hears it again: so may this node.
            self.gossip().ping_once(node);
        }
        if let Some((_, old)) = before.filter(|(_, old)| *old != flags) {
            let worse = self.restricts(node, old);
            self.on_flags(node, worse);
        }
        if let Some(change) = change {
            self.on_liveness(change);
        }
    }

    fn on_claim_reply(&mut self, node: &NodeId, address: IpAddr, answer: ClaimAnswer) {
        let lives = self.with_addresses(|addresses, context| addresses.claim_reply(node, address, answer, context));
        if lives {
            if let Some(change) = self.members.acknowledged(node, self.now - PATIENCE, self.now) {
                self.on_liveness(change);
            }
            self.detector.clear_alarms(node, self.now);
        }
    }
}
