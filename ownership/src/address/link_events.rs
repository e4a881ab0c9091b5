//! What is seen on the links, for all addresses: answers, announcements and questions of other hosts.

use std::net::IpAddr;
use std::time::Duration;

use crate::address::context::Context;
use crate::address::probe::Answer;
use crate::address::state::{Owned, State};
use crate::address::step::Step;
use crate::address::table::Addresses;
use crate::io::{ConflictPolicy, Notification};
use crate::model::link::LinkId;
use crate::model::node::{Mac, NodeId};
use crate::model::time::{Time, ms};
use crate::wire::Frame;

/// This node steps back from the questions of a member once in so long.
const CONTENDED: Duration = ms(3000);

impl Addresses {
    /// Somebody answered a question of this node for an address.
    pub fn answered(
        &mut self,
        address: IpAddr,
        link: LinkId,
        mac: Mac,
        member: Option<NodeId>,
        context: &mut Context<'_>,
    ) {
        self.free_answered(address, link, mac, context);
        let now = context.now();
        let Some(entry) = self.entries.get_mut(&address) else { return };
        let free = entry.spec.as_ref().and_then(|spec| spec.free);
        if let (State::Owned(_), Some(node)) = (&entry.state, &member) {
            return self.transition(address, context, |step, state| step.kernel_answers_while_owned(node, state));
        }
        let State::Probing(probe) = &mut entry.state else { return };
        if probe.ignored.contains(&mac) || entry.spec.as_ref().is_none_or(|spec| spec.link != link) {
            return;
        }
        match (&probe.answer, member) {
            (_, Some(node)) => probe.answered_by(node, mac, now),
            (Some(_), None) => return,
            (None, None) => {
                let foreign = context.detector.link(link).is_some_and(|state| state.is_foreign(mac, free, now));
                probe.answer = Some(Answer::Unknown { mac, since: now, foreign });
                probe.next = now;
            }
        }
        self.mark(address);
    }

    /// The same unknown MAC answers for a free address: proxy ARP. Its answer may be late, or the first that is not lost:
    /// what it was taken for a foreign host for is asked for again at once.
    fn free_answered(&mut self, free: IpAddr, link: LinkId, mac: Mac, context: &mut Context<'_>) {
        if !context.detector.note_proxy(link, mac, free) {
            return;
        }
        let mut proxies = Vec::new();
        for (address, entry) in &mut self.entries {
            let asked = entry.spec.as_ref().is_some_and(|spec| spec.free == Some(free) && spec.link == link);
            if !asked || *address == free {
                continue;
            }
            match &mut entry.state {
                State::Probing(probe) => {
                    if matches!(&probe.answer, Some(Answer::Unknown { mac: known, .. }) if *known == mac) {
                        probe.dismiss([mac], context.now());
                        proxies.push(*address);
                    }
                }
                State::Waiting { .. } if entry.backoff.host == Some(mac) => {
                    entry.backoff.until = None;
                    (entry.backoff.conflicts, entry.backoff.host) = (0, None);
                    entry.forget_look();
                    proxies.push(*address);
                }
                State::Idle | State::Waiting { .. } | State::Accepted(_) | State::Owned(_) => {}
            }
        }
        if !proxies.is_empty() {
            self.mark_each(proxies);
            context.gossip.out.report(Notification::ProxyArp { link, mac });
        }
    }

    /// A host that is no member asks for an address: if this node takes the address, it lets the host know.
    pub fn asked_for(&mut self, address: IpAddr, host: IpAddr, mac: Mac, now: Time) {
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.askers.note(host, mac, now);
        }
    }

    /// Somebody asks for an address that this node may be asking for too.
    pub fn questioned(
        &mut self,
        target: IpAddr,
        sender: Option<IpAddr>,
        mac: Mac,
        member: Option<&NodeId>,
        context: &mut Context<'_>,
    ) {
        let Some(entry) = self.entries.get(&target) else { return };
        let State::Probing(probe) = &entry.state else { return };
        if !probe.loses_contention(target, sender, mac, member, context) {
            return;
        }
        // A member that has not claimed it by now may be too busy to.
        let again = member.is_some() && context.now().is_within(entry.backoff.contended, CONTENDED);
        self.transition(target, context, |step, state| match state {
            State::Probing(mut probe) if again => {
                probe.outlast(step.context.now());
                State::Probing(probe)
            }
            _ => step.contention(member.is_some()),
        });
    }

    /// Somebody announces an address on the link.
    pub fn announced(
        &mut self,
        address: IpAddr,
        link: LinkId,
        mac: Mac,
        member: Option<NodeId>,
        context: &mut Context<'_>,
    ) {
        if matches!(self.entries.get(&address).map(|entry| &entry.state), Some(State::Probing(_))) {
            return self.answered(address, link, mac, member, context);
        }
        if self.entries.get(&address).and_then(|entry| entry.state.owned()).is_none_or(Owned::is_gone) {
            return;
        }
        if let Some(node) = member {
            // The member's claim decides, not the frame; if it cannot be asked, see `other_version_announces`.
            context.gossip.send(&node, Frame::ClaimQuery(address));
            self.transition(address, context, |step, state| step.other_version_announces(&node, state));
        } else if context.policy.conflicts != ConflictPolicy::Off
            && let Some(entry) = self.entries.get_mut(&address)
        {
            Step { address, entry, context }.defend(mac);
        }
    }
}
