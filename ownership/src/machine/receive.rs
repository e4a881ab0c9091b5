//! Datagrams: from whom, whether to believe them, and what they say.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Bound;

use crate::event::Fact;
use crate::link::LinkId;
use crate::machine::Machine;
use crate::machine::slot::{Slot, State};
use crate::membership::{EAGER, Member, Turn};
use crate::node::{BootId, NodeId};
use crate::time::{Time, ms};
use crate::wire::{MAX_CLAIMS, Message, SELECTED, Status, Vital, decode};

/// Between two challenges to the same node.
const CHALLENGE: std::time::Duration = ms(20);
/// How long a challenge may take, and how long we ping for others.
const HELP: std::time::Duration = ms(300);
/// From so many members claims are pulled per round, of which there are ten per second.
const PULLS: usize = 8;
/// Between two pulls from a member that does not answer.
const PULL_AGAIN: std::time::Duration = ms(1000);

/// Open challenges.
#[derive(Debug, Default)]
pub(super) struct Challenges(BTreeMap<NodeId, (BootId, u64, Time)>);

/// Somebody asked us to ping a member.
#[derive(Debug)]
pub(super) struct Helping {
    asker: NodeId,
    id: u32,
    target: NodeId,
    reach: Option<IpAddr>,
    until: Time,
}

impl Machine {
    /// Pings carry their time, so that an answer tells when the question was asked.
    pub(super) fn clock(&self) -> u32 {
        u32::try_from(self.now.as_micros() / 1000 % (1 << 32)).unwrap_or(0)
    }

    /// When the ping was sent; nothing if that is impossible or long ago.
    fn sent_at(&self, id: u32) -> Option<Time> {
        let age = self.clock().wrapping_sub(id);
        (age < 2000).then(|| self.now - ms(age.into()))
    }

    pub(super) fn on_datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        let opened = match self.opener.open(bytes) {
            Ok(opened) => opened,
            Err(refusal) => return self.tell(Fact::Refused(refusal)),
        };
        let Ok((status, messages)) = decode(&opened.body) else {
            self.opener.count(crate::envelope::Refusal::Malformed);
            return self.tell(Fact::Refused(crate::envelope::Refusal::Malformed));
        };
        if opened.known {
            self.on_messages(&opened.node, from, status, messages);
        } else {
            self.on_stranger(&opened.node, opened.boot, from, &messages);
        }
    }

    fn on_stranger(&mut self, node: &NodeId, boot: BootId, from: SocketAddr, messages: &[Message]) {
        let open = self.challenges.0.get(node).copied();
        let mut proven = false;
        for message in messages {
            match message {
                Message::Challenge(nonce) => self.outbox.entry(from).or_default().push(Message::Response(*nonce)),
                Message::Response(nonce) => {
                    proven |= open.is_some_and(|(asked, expected, at)| {
                        asked == boot && expected == *nonce && self.now.is_within(Some(at), HELP * 4)
                    });
                }
                _ => {}
            }
        }
        if proven {
            self.challenges.0.remove(node);
            return self.on_boot(node, boot, from);
        }
        if open.is_none_or(|(asked, _, at)| asked != boot || !self.now.is_within(Some(at), CHALLENGE)) {
            let nonce = match open {
                Some((asked, nonce, at)) if asked == boot && self.now.is_within(Some(at), HELP) => nonce,
                _ => self.rng.next(),
            };
            if self.challenges.0.len() < 5000 || open.is_some() {
                self.challenges.0.insert(node.clone(), (boot, nonce, self.now));
                self.outbox.entry(from).or_default().push(Message::Challenge(nonce));
            }
        }
    }

    /// A boot has proved itself: it learns at once what its former boot held.
    fn on_boot(&mut self, node: &NodeId, boot: BootId, from: SocketAddr) {
        self.opener.trust(node, boot);
        self.ledger.rebooted(node, boot);
        self.members.rebooted(node);
        let held: Vec<_> = self.ledger.of(node).collect();
        let out = self.outbox.entry(from).or_default();
        out.extend(held.chunks(MAX_CLAIMS).map(|chunk| Message::Recall(chunk.to_vec())));
        let id = self.clock();
        self.outbox.entry(from).or_default().push(Message::Ping(id));
    }

    fn on_messages(&mut self, node: &NodeId, from: SocketAddr, status: Status, messages: Vec<Message>) {
        let flags = self.members.get(node).map(|member| member.status.flags);
        let contact = self.members.heard(node, status, from, self.now);
        if flags != Some(status.flags) {
            let worse = flags.is_some_and(|before| self.restricts(node, before));
            self.on_flags(node, worse);
        }
        if contact {
            self.exchange(node, from);
        }
        if let Some(rumour) = self.members.outdated(node, &status) {
            self.reply(from, rumour);
        }
        for message in messages {
            self.on_message(node, from, message);
        }
        if let Some(pull) = self.ledger.compare(node, status.version, status.digest, self.now, ms(50)) {
            self.outbox.entry(from).or_default().push(pull);
        }
    }

    /// The first datagram in a while: before anything else, what we both claim.
    fn exchange(&mut self, node: &NodeId, from: SocketAddr) {
        let both = self.ledger.of(node).filter_map(|(address, _)| Some((address, self.ledger.own.epoch(address)?)));
        let both: Vec<_> = both.collect();
        let id = self.clock();
        let out = self.outbox.entry(from).or_default();
        out.extend(both.into_iter().map(|(address, epoch)| Message::Holds { address, epoch: Some(epoch) }));
        out.push(Message::Ping(id));
    }

    fn on_message(&mut self, node: &NodeId, from: SocketAddr, message: Message) {
        match message {
            Message::Challenge(nonce) => self.reply(from, Message::Response(nonce)),
            Message::Response(_) => {}
            Message::Ping(id) => self.reply(from, Message::Ack(id)),
            Message::Ack(id) => self.on_ack(node, id),
            Message::Ask { id, target, reach } => self.on_ask(node, id, &target, reach),
            Message::Heard { target, link, .. } => self.on_heard(&target, link),
            Message::Rumour { node, incarnation, vital, flags, version } => {
                // In a large cluster nearly all of them are known.
                if !self.members.is_known(&node, incarnation, vital, flags, version) {
                    self.on_rumour(&node, incarnation, vital, flags, version);
                    if self.members.newer(&node, incarnation, version) {
                        self.behind.insert(node);
                    }
                }
            }
            Message::Pull { since, after } => {
                for answer in self.ledger.own.answer(since, after) {
                    self.reply(from, answer);
                }
            }
            Message::Page { version, after, claims, last } => {
                let (concerned, next) = self.ledger.apply_page(node, version, after, &claims, last);
                self.dirty.extend(concerned);
                if let Some(next) = next {
                    self.reply(from, next);
                }
            }
            Message::Changes { from, to, changes } => {
                let concerned = self.ledger.apply_changes(node, from, to, &changes);
                self.dirty.extend(concerned);
            }
            Message::Query(address) => {
                let epoch = self.ledger.own.epoch(address);
                self.reply(from, Message::Holds { address, epoch });
            }
            Message::Holds { address, epoch } => self.on_holds(node, address, epoch),
            Message::Recall(claims) => self.on_recall(&claims),
            Message::Alarm { owner, subnet } => self.on_alarm(&owner, subnet),
            Message::Unreachable(subnet) => self.on_unreachable(subnet),
            Message::Offer(step) => self.on_offer(node, step),
            Message::Accept(step) => self.on_accept(node, step),
            Message::Decline(step) => self.on_decline(node, step),
            Message::Go(step) => self.on_go(node, step),
        }
    }

    fn reply(&mut self, to: SocketAddr, message: Message) {
        self.outbox.entry(to).or_default().push(message);
    }

    fn on_ack(&mut self, node: &NodeId, id: u32) {
        let Some(sent) = self.sent_at(id) else { return };
        let turn = self.members.acknowledged(node, sent, self.now);
        if let Some(turn) = turn {
            self.on_turn(turn);
        }
        self.clear_alarms(node, sent);
        self.report(node, None);
    }

    /// Tells those who asked us that a member answers.
    pub(super) fn report(&mut self, node: &NodeId, reach: Option<IpAddr>) {
        let now = self.now;
        let mut told = Vec::new();
        self.helping.retain(|helping| {
            if helping.target == *node && (reach.is_none() || helping.reach == reach) {
                let heard = Message::Heard { id: helping.id, target: node.clone(), link: reach.is_some() };
                told.push((helping.asker.clone(), heard));
                return reach.is_none() && helping.reach.is_some() && helping.until > now;
            }
            helping.until > now
        });
        for (asker, heard) in told {
            self.send(&asker, heard);
        }
    }

    fn on_ask(&mut self, asker: &NodeId, id: u32, target: &NodeId, reach: Option<IpAddr>) {
        if self.helping.len() < 256 {
            let helping = Helping { asker: asker.clone(), id, target: target.clone(), reach, until: self.now + HELP };
            self.helping.push(helping);
            let id = self.clock();
            self.send(target, Message::Ping(id));
            if let Some(address) = reach {
                let link = self.links.iter().find(|(_, state)| state.link.contains(address)).map(|(id, _)| *id);
                if let Some(link) = link {
                    self.reach(link, address, Some(target));
                }
            }
        }
    }

    fn on_heard(&mut self, target: &NodeId, link: bool) {
        let now = self.now;
        if !link {
            self.members.reported(target, now);
        }
        // Either way it lives: what we suspected is not so.
        let senses = self.members.get_mut(target).into_iter().flat_map(|member| member.senses.values_mut());
        for sense in senses {
            if link {
                sense.indirect = Some(now);
            }
        }
        self.clear_alarms(target, now);
    }

    fn on_rumour(&mut self, node: &NodeId, incarnation: u32, vital: Vital, flags: u8, version: u64) {
        let before = self.members.get(node).map(|member| (member.vital, member.status.flags));
        let turn = self.members.rumour(node, incarnation, vital, flags, version, self.now);
        if let Some((old, _)) = before
            && old != Vital::Alive
            && vital == Vital::Alive
        {
            // Somebody hears it again: so may we.
            let id = self.clock();
            self.send(node, Message::Ping(id));
        }
        if let Some((_, old)) = before.filter(|(_, old)| *old != flags) {
            let worse = self.restricts(node, old);
            self.on_flags(node, worse);
        }
        if let Some(turn) = turn {
            self.on_turn(turn);
        }
    }

    /// A member lives, is suspected, or is silent.
    pub(super) fn on_turn(&mut self, turn: Turn) {
        self.rewatch = true;
        let Turn { node, vital } = turn;
        if vital != Vital::Suspect {
            let concerned: Vec<_> = self.ledger.of(&node).map(|(address, _)| address).collect();
            self.dirty.extend(concerned);
            self.on_flags(&node, vital == Vital::Silent);
        }
        self.tell(Fact::Member { node, vital });
    }

    /// Whether the flags of a member allow less than these did.
    fn restricts(&self, node: &NodeId, before: u8) -> bool {
        let allowed = |flags: u8| flags ^ !SELECTED;
        self.members.get(node).is_some_and(|member| allowed(before) & !allowed(member.status.flags) != 0)
    }

    /// What a member may do changed: an owner that may not stay looks for a successor again. If the member may do
    /// less, what nobody has may have found its candidate here: whoever was after it is one place further. A member
    /// that may do more makes no other a candidate, and no other's turn come sooner; so the start of a large cluster,
    /// where all turn up one after the other, costs no look at everything for each of them.
    fn on_flags(&mut self, node: &NodeId, worse: bool) {
        let restricted =
            |slot: &Slot| slot.want.as_ref().is_some_and(|want| want.qualified != crate::choice::Qualified::All);
        let mine = self.may_stay();
        let nearer = |address: &IpAddr, slot: &Slot| {
            self.ledger.rivals(*address).next().is_none()
                && (matches!(slot.state, State::Idle) || crate::order::precedes(node, &self.node, address))
        };
        let slots = self.ledger.own.iter().filter_map(|(address, _)| self.slots.get_key_value(&address));
        self.dirty.extend(slots.filter(|(_, slot)| !mine || restricted(slot)).map(|(address, _)| *address));
        if worse {
            let free = self.slots.iter().filter(|(address, slot)| slot.held().is_none() && nearer(address, slot));
            self.dirty.extend(free.map(|(address, _)| *address));
        }
    }

    /// Pulls from those who are said to have changed their claims. Each begins with the members after itself, so
    /// that one with news is not asked by all at once.
    pub(super) fn catch_up(&mut self) {
        let (members, ledger) = (&self.members, &self.ledger);
        let open = |node: &NodeId, member: &Member| {
            let told = member.told_version();
            // Fewer claims after a higher incarnation: of a new boot that we have not heard, so what we have is old.
            let reborn = told > 0 && member.is_hearsay() && !ledger.is_at(node, told);
            member.vital == Vital::Alive && (ledger.is_behind(node, told) || reborn)
        };
        self.behind.retain(|node| members.get(node).is_some_and(|member| open(node, member)));
        let after = self.behind.range::<NodeId, _>((Bound::Excluded(&self.node), Bound::Unbounded));
        let before = self.behind.range::<NodeId, _>(..&self.node);
        let asked = |node: &&NodeId| self.ledger.is_asked(node, self.now, PULL_AGAIN);
        let next: Vec<_> = after.chain(before).filter(|node| !asked(node)).take(PULLS).cloned().collect();
        for node in next {
            // What is being read of it has the version that it said itself, if that is newer.
            let newest = |member: &Member| member.told_version().max(member.status.version);
            let version = self.members.get(&node).map_or(0, newest);
            let pull = self.ledger.pull(&node, version, self.now);
            self.send(&node, pull);
            // If the rumour was of a former boot there is nothing to send; its answer to this says so.
            let id = self.clock();
            self.send(&node, Message::Ping(id));
        }
    }

    /// Tells what changed in our claims: to everybody in a small cluster, else to some, and to the first heirs; the
    /// others hear by rumour that there is something to pull. Without that they heard of it when they next exchanged
    /// a datagram, half a second per member later, and a candidate whose turn came before that had to ask the link,
    /// which a switch that snoops does not carry for IPv6. Members that are not believed silent count though nothing
    /// was heard of them lately: from a dozen members on, two may exchange no datagram for more than five seconds.
    pub(super) fn tell_changes(&mut self) {
        let since = self.told_version;
        if self.ledger.own.version() == since {
            return;
        }
        self.told_version = self.ledger.own.version();
        self.members.tell_version();
        let Some(changes) = self.ledger.own.changes(since) else { return };
        let mut nodes: Vec<NodeId> = self
            .members
            .iter()
            .filter(|(_, member)| member.vital != Vital::Silent || self.now.is_within(member.heard, ms(5000)))
            .map(|(node, _)| node.clone())
            .collect();
        if nodes.len() > EAGER {
            let subject = changes.iter().find_map(|message| match message {
                Message::Changes { changes, .. } => changes.first().map(|(address, _)| *address),
                _ => None,
            });
            if let Some(address) = subject {
                crate::order::sort(&mut nodes, &address);
            }
            let mut others = nodes.split_off(4);
            self.rng.shuffle(&mut others);
            nodes.extend(others.into_iter().take(EAGER - 4));
        }
        for node in nodes {
            for change in changes.iter().take(4) {
                self.send(&node, change.clone());
            }
        }
    }

    /// A member answered on a link or by gossip: alarms older than that are over.
    pub(super) fn clear_alarms(&mut self, node: &NodeId, at: Time) {
        let Some(member) = self.members.get_mut(node) else { return };
        for sense in member.senses.values_mut() {
            if sense.alarm.is_some_and(|alarm| at >= alarm) {
                sense.alarm = None;
                sense.missed = false;
                self.rewatch = true;
            }
        }
    }

    /// Members that are alive on a link of ours, with their own address there.
    pub(super) fn neighbours(&self, link: LinkId) -> Vec<(NodeId, IpAddr)> {
        let Some(state) = self.links.get(&link) else { return Vec::new() };
        let on_link = |member: &crate::membership::Member| {
            let place = member.peer.as_ref()?.place_on(&state.link)?;
            (member.vital == Vital::Alive).then_some(place.address)
        };
        self.members.iter().filter_map(|(node, member)| Some((node.clone(), on_link(member)?))).collect()
    }
}
