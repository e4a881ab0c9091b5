//! Watching, per member and link: the three live nodes next to it on the subnet's ring ask it every 100 ms, by an
//! authenticated ping and by a link question that its kernel answers without the agent.
//!
//! | Ping | Link | Then |
//! |---|---|---|
//! | silent | silent | for three rounds: others are asked for 60 ms; then alarm, and heirs ask the link for each address |
//! | silent | answered | the agent is down, the node is fine: nothing moves |
//! | answered | silent | the owner is told, checks, and gives up what it has on that link |

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;

use crate::event::Fact;
use crate::link::LinkId;
use crate::machine::Machine;
use crate::membership::Member;
use crate::node::NodeId;
use crate::order::Order;
use crate::time::{Time, ms};
use crate::wire::{BLIND, BROKEN, EXCLUDED, LEAVING, Message, SELECTED, STALE, Vital};

/// Between two rounds.
pub const ROUND: Duration = ms(100);
/// Three rounds without an answer, less the jitter of timers.
const SILENT: Duration = ms(285);
/// How long others are asked before the alarm.
const BURST: Duration = ms(60);
const BURST_STEP: Duration = ms(15);
/// A link answer missing for so long while pings are answered.
pub(super) const LINK_SILENT: Duration = ms(285);
/// A node watches an owner if it is among so many.
const WATCHERS: usize = 3;
/// Watches behind for so long: no candidate for new claims.
const STALE_AFTER: Duration = ms(10_000);
/// Watches behind for so long, while others are current: hand over.
const BLIND_AFTER: Duration = ms(30_000);
/// Nobody answered for so long: Leases tell who lives.
pub(super) const LONELY: Duration = ms(5000);

/// One owner on one link.
#[derive(Debug)]
pub(super) struct Watch {
    node: NodeId,
    link: LinkId,
    address: IpAddr,
    subnet: IpNetwork,
    suspect: Option<Time>,
}

impl Machine {
    /// Who is watched by us, made anew when members change, at most once per round. On each subnet the members form
    /// a ring by their place in the order; each is watched by the next [`WATCHERS`] live ones. Seen from here: walk
    /// back from our own place until so many live ones were passed.
    fn renew_watches(&mut self) {
        self.rewatch = false;
        let mut watches = Vec::new();
        for (id, state) in &self.links {
            let mut ring = Vec::new();
            let mut orders = BTreeMap::new();
            for (node, member) in self.members.iter().filter(|(_, member)| member.heard.is_some()) {
                if let Some(place) = member.peer.as_ref().and_then(|peer| peer.place_on(&state.link)) {
                    let alive = member.vital == Vital::Alive && member.sense(*id).alarm.is_none();
                    let (order, own) = orders.entry(place.subnet).or_insert_with(|| {
                        let order = Order::new(&place.subnet);
                        let own = order.place(&self.node);
                        (order, own)
                    });
                    ring.push((order.place(node), *own, node, place, alive));
                }
            }
            ring.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
            let split = ring.iter().position(|(at, own, ..)| at < own).unwrap_or(ring.len());
            ring.rotate_left(split);
            let mut passed = 0;
            for (_, _, node, place, alive) in ring {
                if passed >= WATCHERS {
                    break;
                }
                passed += usize::from(alive);
                let old = self.watches.iter().find(|watch| watch.node == *node && watch.link == *id);
                watches.push(Watch {
                    node: node.clone(),
                    link: *id,
                    address: place.address,
                    subnet: place.subnet,
                    suspect: old.and_then(|old| old.suspect),
                });
            }
        }
        self.watches = watches;
    }

    pub(super) fn watch_tick(&mut self) {
        let now = self.now;
        self.watch_next = now + ROUND;
        self.update_flags();
        if self.rewatch {
            self.renew_watches();
        }
        let mut pings: BTreeSet<NodeId> = self.watches.iter().map(|watch| watch.node.clone()).collect();
        let missed = |member: &Member| member.senses.values().any(|sense| sense.missed);
        self.missed.retain(|node| self.members.get(node).is_some_and(missed));
        pings.extend(self.missed.iter().cloned());
        if self.members.is_lonely(now, ms(300)) {
            self.lonely_turn = self.lonely_turn.wrapping_add(1);
            let count = self.members.iter().count().max(1);
            pings.extend(self.members.iter().nth(self.lonely_turn % count).map(|(node, _)| node.clone()));
        }
        self.note_gossip();
        self.catch_up();
        for node in pings {
            self.ping(&node);
        }
        let targets: Vec<_> =
            self.watches.iter().map(|watch| (watch.link, watch.address, watch.node.clone())).collect();
        for (link, address, node) in targets {
            self.reach(link, address, Some(&node));
        }
        let broken: Vec<_> = self.links.iter().filter(|(_, s)| s.broken && s.link.carrier).map(|(id, _)| *id).collect();
        for link in broken {
            self.ask_witnesses(link, None);
        }
        self.judge();
    }

    /// Pings a member; if it does not answer where it was, elsewhere next time.
    fn ping(&mut self, node: &NodeId) {
        let id = self.clock();
        let now = self.now;
        if let Some(member) = self.members.get_mut(node)
            && !now.is_within(member.ack, ms(250))
        {
            member.endpoint = member.endpoint.wrapping_add(1);
        }
        self.send(node, Message::Ping(id));
    }

    fn note_gossip(&mut self) {
        // Of whom the Lease has run out no answer is expected.
        let expected = |member: &crate::membership::Member| member.peer.as_ref().is_some_and(|peer| peer.lease_alive);
        let lonely =
            self.members.iter().any(|(_, member)| expected(member)) && self.members.is_lonely(self.now, LONELY);
        let silent = lonely && self.now.since(self.started) > LONELY;
        if silent && !self.gossip_silent {
            self.tell(Fact::GossipSilent);
            self.all_dirty();
        }
        self.gossip_silent = silent;
    }

    /// Who is silent, and how.
    fn judge(&mut self) {
        let now = self.now;
        let mut begin = false;
        let mut ask = Vec::new();
        let mut unreachable = Vec::new();
        for watch in &mut self.watches {
            let Some(member) = self.members.get(&watch.node) else { continue };
            let sense = member.sense(watch.link);
            let (ack, link) = (member.last_ack(), sense.answer.max(sense.indirect));
            // Only who answered before can fall silent.
            let Some(last) = ack.max(link) else { continue };
            if sense.alarm.is_some() || !self.links.get(&watch.link).is_some_and(|state| state.link.carrier) {
                watch.suspect = None;
                continue;
            }
            if now.since(last) >= SILENT {
                if watch.suspect.is_none() {
                    watch.suspect = Some(now);
                    begin = true;
                }
                continue;
            }
            watch.suspect = None;
            if now.is_within(ack, SILENT) && link.is_some_and(|link| now.since(link) >= LINK_SILENT) {
                // The owner checks for itself, so a wrong word costs it a few questions.
                ask.push((watch.node.clone(), watch.address));
                unreachable.push((watch.node.clone(), watch.subnet, watch.link));
            }
        }
        for (node, address) in ask {
            self.ask_helpers(&node, Some(address));
        }
        for (node, subnet, link) in unreachable {
            if self.hears(link, ms(200)) {
                self.send(&node, Message::Unreachable(subnet));
            } else {
                self.ask_witnesses(link, Some(&node));
            }
        }
        if begin {
            self.burst_next = Some(now);
        }
    }

    fn ask_helpers(&mut self, node: &NodeId, reach: Option<IpAddr>) {
        let id = self.clock();
        for helper in self.members.helpers(node, 3, &mut self.rng) {
            self.send(&helper, Message::Ask { id, target: node.clone(), reach });
        }
    }

    /// Suspicion: everything that could contradict is asked, every 15 ms.
    pub(super) fn burst(&mut self) {
        let now = self.now;
        self.burst_next = None;
        let mut alarms = Vec::new();
        let mut open = Vec::new();
        for watch in &mut self.watches {
            let Some(suspect) = watch.suspect else { continue };
            let Some(member) = self.members.get(&watch.node) else { continue };
            let sense = member.sense(watch.link);
            let last = member.last_ack().max(sense.answer).max(sense.indirect);
            if last.is_some_and(|last| now.since(last) < SILENT) {
                watch.suspect = None;
            } else if now.since(suspect) >= BURST {
                watch.suspect = None;
                alarms.push((watch.node.clone(), watch.link, watch.subnet));
            } else {
                open.push((watch.node.clone(), watch.link, watch.address));
            }
        }
        for (node, link, address) in open {
            self.burst_next = Some(now + BURST_STEP);
            let endpoints =
                self.members.get(&node).and_then(|member| member.peer.as_ref()).map(|peer| peer.endpoints.clone());
            let id = self.clock();
            for to in endpoints.unwrap_or_default() {
                self.outbox.entry(to).or_default().push(Message::Ping(id));
            }
            self.reach(link, address, Some(&node));
            self.ask_helpers(&node, Some(address));
            self.ask_witnesses(link, Some(&node));
        }
        for (node, link, subnet) in alarms {
            self.raise(&node, link, subnet);
        }
    }

    /// Silent in every way. If we hear at all, all members of the link are told.
    fn raise(&mut self, node: &NodeId, link: LinkId, subnet: IpNetwork) {
        if !self.hears(link, ms(200)) {
            return;
        }
        for (other, _) in self.neighbours(link) {
            if other != *node {
                self.send(&other, Message::Alarm { owner: node.clone(), subnet });
            }
        }
        self.alarm(node, link, true);
    }

    /// Another member found an owner silent.
    pub(super) fn on_alarm(&mut self, owner: &NodeId, subnet: IpNetwork) {
        let matching =
            self.links.iter().find(|(_, state)| state.link.places.iter().any(|place| place.subnet == subnet));
        let Some(link) = matching.map(|(id, _)| *id) else { return };
        let Some(member) = self.members.get(owner) else { return };
        let sense = member.sense(link);
        let last = member.ack.max(sense.answer);
        // It answered us after the others' last question: they are wrong, or it died later.
        if sense.alarm.is_none() && !self.now.is_within(last, SILENT) {
            self.alarm(owner, link, false);
        }
    }

    fn alarm(&mut self, node: &NodeId, link: LinkId, own: bool) {
        let now = self.now;
        let Some(member) = self.members.get_mut(node) else { return };
        let sense = member.senses.entry(link).or_default();
        if sense.alarm.is_some() {
            return;
        }
        sense.alarm = Some(now);
        self.rewatch = true;
        self.tell(Fact::Alarm { node: node.clone(), link, own });
        let claimed: Vec<_> = self.ledger.of(node).map(|(address, _)| address).collect();
        self.dirty.extend(claimed);
        // It may have been the first heir of something that waits.
        let waiting = self.slots.iter().filter(|(_, slot)| matches!(slot.state, super::slot::State::Waiting(_)));
        let waiting: Vec<_> = waiting.map(|(address, _)| *address).collect();
        self.dirty.extend(waiting);
    }

    pub(super) fn swim(&mut self) {
        let tick = self.members.tick(self.now, &mut self.rng);
        for node in tick.ping {
            self.ping(&node);
        }
        let id = self.clock();
        for (helper, target) in tick.ask {
            self.send(&helper, Message::Ask { id, target, reach: None });
        }
        for turn in tick.turns {
            if turn.vital == Vital::Silent
                && let Some(member) = self.members.get(&turn.node)
                && member.senses.values().any(|sense| self.now.is_within(sense.answer, SILENT))
            {
                self.tell(Fact::AgentSilent { node: turn.node.clone() });
            }
            self.on_turn(turn);
        }
    }

    /// What we say of ourselves.
    pub(super) fn update_flags(&mut self) {
        let stale = self.stale_since.map(|since| self.now.since(since)).unwrap_or_default();
        let mut flags = 0;
        for (set, flag) in [
            (self.selected, SELECTED),
            (self.excluded, EXCLUDED),
            (stale >= STALE_AFTER, STALE),
            (stale >= BLIND_AFTER, BLIND),
            (self.stop == Some(crate::event::Stop::Leaving), LEAVING),
            (self.links.values().any(|state| state.broken), BROKEN),
        ] {
            if set {
                flags |= flag;
            }
        }
        if self.members.set_flags(flags) {
            self.all_dirty();
        }
    }
}

impl Watch {
    /// After a pause of our own.
    pub const fn forget(&mut self) {
        self.suspect = None;
    }
}
