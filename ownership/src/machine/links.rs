//! Our interfaces, the frames seen there, and whether we hear: a deaf node must not claim.
//!
//! Hearing means an answer to a question of ours on that link: what merely arrives would also arrive at a node that
//! cannot send. Witnesses are live members, the gateways, and hosts that lately asked for something. Where there is
//! none, nobody could answer us, and nobody is served either: as soon as a client asks, it is a witness. A gateway that
//! has not answered once since the link came up is a route to nowhere, and no witness either, unless nobody at all has
//! answered and some member should: then it may be the switch that does not forward yet (spanning tree).

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use crate::event::{Action, Ask, Fact, Frame, Why};
use crate::link::{Link, LinkId, Peer};
use crate::machine::Machine;
use crate::machine::slot::State;
use crate::node::{Mac, NodeId};
use crate::time::{Time, ms};

/// How old the last answer on a link may be.
pub(super) const HEARING: Duration = ms(300);
/// Without carrier for so long, our addresses are given up there.
const CARRIER: Duration = ms(250);
/// How long the check lasts after somebody said that we do not answer.
const CHECK: Duration = ms(80);
/// With no witness at all, a link that has carrier for so long counts as heard.
const ALONE: Duration = ms(1000);
/// A gateway that never answered counts as a witness for so long after the link came up.
const GATEWAY: Duration = ms(3000);
/// A host that asked is a witness for so long.
const WITNESS: Duration = ms(60_000);

/// An interface and what we know of it.
#[derive(Debug)]
pub(super) struct LinkState {
    pub link: Link,
    /// Since when it has carrier, or not.
    pub since: Time,
    /// When somebody last answered us there.
    pub answer: Option<Time>,
    /// Whether a gateway has answered since it has carrier.
    gateway: bool,
    witnesses: VecDeque<(IpAddr, Time)>,
    asked: Option<Time>,
    /// It is known not to carry our answers.
    pub broken: bool,
    check: Option<(Time, Time)>,
    told_deaf: bool,
}

impl LinkState {
    pub fn deadline(&self) -> Option<Time> {
        let lapse = (!self.link.carrier && !self.broken).then(|| self.since + CARRIER);
        [lapse, self.check.map(|(_, next)| next)].into_iter().flatten().min()
    }
}

impl Machine {
    pub(super) fn on_link(&mut self, link: Link) {
        let id = link.id;
        let now = self.now;
        let fresh = LinkState {
            link: link.clone(),
            since: now,
            answer: None,
            gateway: false,
            witnesses: VecDeque::new(),
            asked: None,
            broken: false,
            check: None,
            told_deaf: false,
        };
        let state = self.links.entry(id).or_insert(fresh);
        if state.link.carrier != link.carrier {
            state.since = now;
            state.gateway = false;
            state.answer = None;
            if link.carrier {
                state.broken = false;
            }
        }
        state.link = link;
        self.rewatch = true;
        let concerned = self.slots.iter().filter(|(_, slot)| slot.want.as_ref().is_some_and(|want| want.link == id));
        let concerned: Vec<_> = concerned.map(|(address, _)| *address).collect();
        self.dirty.extend(concerned);
    }

    pub(super) fn on_link_gone(&mut self, id: LinkId) {
        self.release_link(id);
        self.links.remove(&id);
        self.rewatch = true;
    }

    pub(super) fn on_members(&mut self, peers: Vec<Peer>) {
        self.macs.clear();
        for peer in peers.iter().filter(|peer| peer.node != self.node) {
            self.macs.extend(peer.macs.iter().map(|mac| (*mac, peer.node.clone())));
        }
        let known = |peer: &Peer| self.members.get(&peer.node).and_then(|member| member.peer.as_ref());
        let mut others = peers.iter().filter(|peer| peer.node != self.node);
        let moved = others.any(|peer| known(peer).is_none_or(|old| old.places != peer.places));
        let (new, gone) = self.members.discover(peers, self.now);
        let id = self.clock();
        for node in &new {
            self.send(node, crate::wire::Message::Ping(id));
        }
        for node in &gone {
            let concerned = self.ledger.forget(node);
            self.dirty.extend(concerned);
        }
        if self.listed.is_none() {
            self.listed = Some(self.now);
        }
        // A renewal alone changes nothing.
        if moved || !gone.is_empty() {
            self.rewatch = true;
            self.held_dirty();
        }
    }

    fn own_mac(&self, mac: Mac) -> bool {
        self.links.values().any(|state| state.link.mac == mac)
    }

    pub(super) fn on_seen(&mut self, id: LinkId, mac: Mac, frame: Frame) {
        if self.own_mac(mac) {
            return;
        }
        let now = self.now;
        let Some(state) = self.links.get_mut(&id) else { return };
        let member = self.macs.get(&mac).cloned();
        match frame {
            Frame::Answer(address) => {
                let was_broken = state.broken && state.link.carrier;
                state.answer = Some(now);
                state.gateway |= state.link.gateways.contains(&address);
                state.told_deaf = false;
                state.broken = state.broken && !state.link.carrier;
                if was_broken {
                    self.all_dirty();
                }
                if let Some(node) = &member {
                    self.on_presence(node, id, address, mac);
                }
                self.on_answer(address, id, mac, member);
            }
            Frame::Announcement(address) => {
                if self.is_asked_on(address, id) {
                    self.on_announcement(address, mac, member);
                }
            }
            Frame::Question { target, sender } => {
                if let (None, Some(sender)) = (&member, sender)
                    && state.link.contains(sender)
                    && !self.slots.contains_key(&sender)
                {
                    state.witnesses.retain(|(known, _)| *known != sender);
                    state.witnesses.push_front((sender, now));
                    state.witnesses.truncate(4);
                }
                if self.is_asked_on(target, id) {
                    self.on_question(target, sender, mac, member.as_ref());
                }
            }
        }
    }

    /// Whether this link is where an address is, or would be, if we take part in it: another network may know one like it
    /// that has nothing to do with ours.
    fn is_asked_on(&self, address: IpAddr, id: LinkId) -> bool {
        let want = self.slots.get(&address).and_then(|slot| slot.want.as_ref());
        want.is_none_or(|want| want.link == id)
    }

    /// A member's own address answered us.
    fn on_presence(&mut self, node: &NodeId, link: LinkId, address: IpAddr, mac: Mac) {
        let now = self.now;
        let Some(member) = self.members.get_mut(node) else { return };
        if !member.peer.as_ref().is_some_and(|peer| peer.places.iter().any(|place| place.address == address)) {
            return;
        }
        let sense = member.senses.entry(link).or_default();
        sense.answer = Some(now);
        sense.mac = Some(mac);
        if sense.alarm.take().is_some() {
            sense.missed = false;
            self.rewatch = true;
        }
        self.report(node, Some(address));
    }

    /// Asks for an own address, a gateway's or a member's: is it there?
    pub(super) fn reach(&mut self, link: LinkId, target: IpAddr, member: Option<&NodeId>) {
        // Unicast where the MAC is known: a switch that answers from its ARP cache does not see it.
        let to = member.and_then(|node| self.members.get(node)).and_then(|member| member.sense(link).mac);
        self.act(Action::Probe { link, target, to, ask: Ask::Reach });
    }

    /// Asks some witnesses on a link, not more often than every 10 ms.
    pub(super) fn ask_witnesses(&mut self, id: LinkId, except: Option<&NodeId>) {
        let now = self.now;
        let Some(state) = self.links.get_mut(&id) else { return };
        if now.is_within(state.asked, ms(10)) {
            return;
        }
        state.asked = Some(now);
        let mut targets: Vec<_> = state.link.gateways.iter().take(2).copied().collect();
        targets.extend(
            state.witnesses.iter().filter(|(_, at)| now.is_within(Some(*at), WITNESS)).map(|(ip, _)| *ip).take(2),
        );
        for target in targets {
            self.reach(id, target, None);
        }
        let mut members = self.neighbours(id);
        members.retain(|(node, _)| Some(node) != except);
        self.rng.shuffle(&mut members);
        for (node, address) in members.into_iter().take(3) {
            self.reach(id, address, Some(&node));
        }
    }

    /// Whether somebody answered us on the link lately, or there is nobody who could.
    pub(super) fn hears(&mut self, id: LinkId, within: Duration) -> bool {
        let now = self.now;
        let Some(state) = self.links.get(&id) else { return false };
        if now.is_within(state.answer, within) {
            return true;
        }
        let witness = state.witnesses.iter().any(|(_, at)| now.is_within(Some(*at), WITNESS));
        let known = self.members.iter().filter(|(_, member)| {
            let peer = member.peer.as_ref();
            // One that was never there since our start and whose Lease has run out is no witness.
            let expected = member.heard.is_some() || peer.is_some_and(|peer| peer.lease_alive);
            expected && peer.is_some_and(|peer| peer.place_on(&state.link).is_some())
        });
        let known = known.count();
        let nowhere = now.since(state.since) >= GATEWAY && !state.gateway && (state.answer.is_some() || known == 0);
        let gateway = !state.link.gateways.is_empty() && !nowhere;
        let lone = !witness && !gateway && known <= 1;
        if lone && state.link.carrier && now.since(state.since) >= ALONE && !now.is_within(state.answer, ALONE) {
            return true;
        }
        if !state.told_deaf && now.since(state.since) >= ALONE {
            if let Some(state) = self.links.get_mut(&id) {
                state.told_deaf = true;
            }
            self.tell(Fact::Deaf { link: id });
        }
        false
    }

    /// Somebody says that we do not answer on a subnet, though our agent does: is it so?
    pub(super) fn on_unreachable(&mut self, subnet: ipnetwork::IpNetwork) {
        let now = self.now;
        let matching = |state: &&mut LinkState| state.link.places.iter().any(|place| place.subnet == subnet);
        if let Some(state) = self.links.values_mut().find(matching)
            && state.check.is_none()
            && !state.broken
        {
            state.check = Some((now, now));
        }
    }

    pub(super) fn check_links(&mut self) {
        let now = self.now;
        let due: Vec<_> =
            self.links.iter().filter(|(_, s)| s.deadline().is_some_and(|at| at <= now)).map(|(id, _)| *id).collect();
        for id in due {
            let Some(state) = self.links.get_mut(&id) else { continue };
            if !state.link.carrier && !state.broken && now.since(state.since) >= CARRIER {
                state.broken = true;
                state.check = None;
                self.update_flags();
                self.release_link(id);
                continue;
            }
            let Some((began, next)) = state.check else { continue };
            if next > now {
                continue;
            }
            if state.answer.is_some_and(|answer| answer > began) {
                state.check = None;
            } else if now.since(began) >= CHECK {
                state.check = None;
                state.broken = true;
                self.update_flags();
                self.release_link(id);
            } else {
                state.check = Some((began, now + ms(20)));
                self.ask_witnesses(id, None);
            }
        }
    }

    /// Gives up everything on a link: a crash, not a planned move.
    fn release_link(&mut self, id: LinkId) {
        let held = self.slots.iter().filter(|(_, slot)| slot.want.as_ref().is_some_and(|want| want.link == id));
        let held: Vec<_> = held.map(|(address, _)| *address).collect();
        for address in held {
            let state = self.take_state(address);
            let next = match state {
                State::Held(held) => self.release(address, &held, Why::LinkBroken, None),
                _ => State::Idle,
            };
            self.put_state(address, next);
        }
    }
}
