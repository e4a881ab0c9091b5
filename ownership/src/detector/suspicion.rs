//! From silence to alarm: a member that is silent in every way for more than two rounds is suspected; everything that could
//! contradict is asked for 60 ms; then the alarm is raised and sent to all members of the link.

use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;

use crate::detector::alarms::OwnAlarm;
use crate::detector::detector::Detector;
use crate::detector::ring::Watch;
use crate::io::Notification;
use crate::membership::{Gossip, ping_number};
use crate::model::link::LinkId;
use crate::model::node::NodeId;
use crate::model::time::{Time, ms};
use crate::wire::{BROKEN, Frame};

/// A member that answers pings across the link is asked there so often: this node watches three, which makes one and a
/// half questions a second.
const SELDOM: Duration = ms(2000);
/// A member that answers pings and so many questions at its hardware address not is asked for by everybody,
const MISSES: u32 = 3;
/// once in so long.
const ASK_ALL: Duration = ms(1000);
/// Only a node that was answered within so long accuses another.
const HEARING: Duration = ms(200);

/// A watched member is silent on the link while it answers pings.
struct OffLink {
    node: NodeId,
    link: LinkId,
    address: IpAddr,
    subnet: IpNetwork,
}

impl Detector {
    /// The rest of a round: asks the watched members on their links.
    pub fn watch(&mut self, gossip: &mut Gossip<'_>) {
        for alarm in self.alarms.repeat_own() {
            self.tell(&alarm, gossip);
        }
        self.ask_watched(gossip);
        let broken = self.links.iter().filter(|(_, state)| state.broken && state.link.carrier);
        for link in broken.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.ask_witnesses(link, None, gossip);
        }
    }

    /// Whether the silence of watched members is to be judged.
    #[must_use]
    pub fn is_judgement_due(&self, now: Time) -> bool {
        self.next_judgement.is_some_and(|next| now >= next)
    }

    /// Asks the watched members on their links: in each round as long as an answer is missing there, or a ping that
    /// crosses the link; else seldom.
    fn ask_watched(&mut self, gossip: &mut Gossip<'_>) {
        let now = gossip.now;
        for watch in &mut self.watches {
            let Some(member) = gossip.members.get(&watch.node) else { continue };
            let presence = self.presences.get(&watch.node, watch.link);
            if presence.answer.max(presence.indirect) > watch.unanswered {
                watch.unanswered = None;
            }
            let link = self.links.get(&watch.link);
            let crosses = member.endpoint().is_some_and(|to| link.is_some_and(|state| state.link.contains(to.ip())));
            let pinged = crosses
                && now.is_within(member.ack, self.times.round * 3 / 2)
                && watch.unanswered.is_none()
                && !member.has(BROKEN);
            let given_up = self.alarms.is_raised(&watch.node, watch.link);
            if (pinged || given_up) && now.is_within(watch.asked, SELDOM) {
                continue;
            }
            watch.asked = Some(now);
            watch.unanswered = watch.unanswered.or(Some(now));
            // It may have another hardware address by now.
            let missed = watch.unanswered.is_some_and(|since| now.since(since) >= self.times.round * MISSES);
            let lives = now.is_within(member.ack, self.times.round * 3 / 2);
            let all = missed && lives && !now.is_within(watch.asked_all, ASK_ALL);
            if all {
                watch.asked_all = Some(now);
            }
            gossip.out.reach(watch.link, watch.address, presence.mac.filter(|_| !all));
        }
    }

    /// Suspects members that are silent, and tells those that do not reach their link. Returns who is suspected from now on.
    pub fn judge(&mut self, gossip: &mut Gossip<'_>) -> Vec<NodeId> {
        let (now, silent) = (gossip.now, self.times.silent + gossip.late);
        let (mut off_link, mut suspects) = (Vec::new(), Vec::new());
        self.next_judgement = None;
        for index in 0..self.watches.len() {
            let Some(watch) = self.watches.get(index) else { break };
            let Some(member) = gossip.members.get(&watch.node) else { continue };
            let presence = self.presence(&watch.node, watch.link);
            let (ack, link) = (member.last_ack(), presence.answer.max(presence.indirect));
            // Only a member that answered before can fall silent.
            let Some(last) = ack.max(link) else { continue };
            let carrier = self.links.get(&watch.link).is_some_and(|state| state.link.carrier);
            let suspected = if self.has_alarm(&watch.node, watch.link) || !carrier {
                None
            } else if now.since(last) >= silent {
                if watch.suspected.is_none() {
                    self.next_burst = Some(now);
                    suspects.push(watch.node.clone());
                }
                watch.suspected.or(Some(now))
            } else {
                let due = last + silent;
                self.next_judgement = Some(self.next_judgement.map_or(due, |next| next.min(due)));
                let unanswered = watch.unanswered.filter(|since| link.is_some_and(|link| link < *since));
                if now.is_within(ack, self.times.silent) && unanswered.is_some_and(|since| now.since(since) >= silent) {
                    let Watch { node, link, address, subnet, .. } = watch;
                    let node = node.clone();
                    off_link.push(OffLink { node, link: *link, address: *address, subnet: *subnet });
                }
                None
            };
            if let Some(watch) = self.watches.get_mut(index) {
                watch.suspected = suspected;
            }
        }
        // The member checks for itself, so a wrong accusation costs it a few questions.
        for member in &off_link {
            gossip.ask_helpers(&member.node, Some(member.address));
        }
        for OffLink { node, link, subnet, .. } in off_link {
            if self.hears(link, HEARING, gossip) {
                gossip.send(&node, Frame::Unreachable(subnet));
            } else {
                self.ask_witnesses(link, Some(&node), gossip);
            }
        }
        suspects
    }

    /// Whether a burst is due.
    #[must_use]
    pub fn is_burst_due(&self, now: Time) -> bool {
        self.next_burst.is_some_and(|next| now >= next)
    }

    /// Suspicion: everything that could contradict is asked, every 15 ms. Returns the members that are under alarm from
    /// now on.
    pub fn burst(&mut self, gossip: &mut Gossip<'_>) -> Vec<NodeId> {
        let now = gossip.now;
        self.next_burst = None;
        let mut silent = Vec::new();
        let mut open = Vec::new();
        for watch in &mut self.watches {
            let Some(suspected) = watch.suspected else { continue };
            let Some(member) = gossip.members.get(&watch.node) else { continue };
            let presence = self.presences.get(&watch.node, watch.link);
            let last = member.last_ack().max(presence.answer).max(presence.indirect);
            if last.is_some_and(|last| now.since(last) < self.times.silent + gossip.late) {
                watch.suspected = None;
            } else if now.since(suspected) >= self.times.burst + gossip.late {
                watch.suspected = None;
                silent.push((watch.node.clone(), watch.link, watch.subnet));
            } else {
                open.push((watch.node.clone(), watch.link, watch.address));
            }
        }
        for (node, link, address) in open {
            self.next_burst = Some(now + self.times.burst_interval);
            let peer = gossip.members.get(&node).and_then(|member| member.peer.as_ref());
            let endpoints = peer.map(|peer| peer.endpoints.clone());
            for to in endpoints.unwrap_or_default() {
                gossip.reply(to, Frame::Ping(ping_number(now)));
            }
            self.reach(link, address, Some(&node), gossip);
            gossip.ask_helpers(&node, Some(address));
            self.ask_witnesses(link, Some(&node), gossip);
        }
        silent.retain(|(node, link, subnet)| self.accuse(node, *link, *subnet, gossip));
        silent.into_iter().map(|(node, ..)| node).collect()
    }

    /// Raises the alarm for a member that is silent in every way, if this node hears at all, and sends it to all members
    /// of the link.
    fn accuse(&mut self, node: &NodeId, link: LinkId, subnet: IpNetwork, gossip: &mut Gossip<'_>) -> bool {
        if !self.hears(link, HEARING, gossip) {
            return false;
        }
        let alarm = OwnAlarm { node: node.clone(), link, subnet };
        self.tell(&alarm, gossip);
        self.alarms.note_own(alarm);
        self.raise(node, link, true, gossip)
    }

    /// Tells all members of the link of an alarm.
    fn tell(&self, alarm: &OwnAlarm, gossip: &mut Gossip<'_>) {
        let OwnAlarm { node, link, subnet } = alarm;
        let others = self.links.get(link).map(|state| gossip.members.neighbours(&state.link)).unwrap_or_default();
        for (other, _) in others.into_iter().filter(|(other, _)| other != node) {
            gossip.send(&other, Frame::Alarm { owner: node.clone(), subnet: *subnet });
        }
    }

    /// Another member found an owner silent; returns whether the owner is under alarm from now on.
    pub fn receive_alarm(&mut self, owner: &NodeId, subnet: IpNetwork, gossip: &mut Gossip<'_>) -> bool {
        let on_subnet = self.links.iter().filter(|(_, state)| state.link.is_on(subnet));
        let links: Vec<_> = on_subnet.map(|(link, _)| *link).collect();
        let mut raised = false;
        for link in links {
            let Some(member) = gossip.members.get(owner) else { return false };
            let last = member.ack.max(self.presence(owner, link).answer);
            // It answered after the others' last question: they are wrong, or it died later. A node that runs late has not
            // heard what others have.
            let heard = gossip.now.is_within(last, self.times.silent + gossip.late);
            raised |= !heard && self.raise(owner, link, false, gossip);
        }
        raised
    }

    /// Raises an alarm and reports it; returns whether there was none.
    fn raise(&mut self, node: &NodeId, link: LinkId, own: bool, gossip: &mut Gossip<'_>) -> bool {
        if gossip.members.get(node).is_none() || !self.alarms.raise(node, link, gossip.now) {
            return false;
        }
        // An indirect answer counts on each link where something is known of the member.
        self.presences.entry(node, link);
        self.ring_changed = true;
        gossip.out.report(Notification::Alarm { node: node.clone(), link, own });
        true
    }
}
