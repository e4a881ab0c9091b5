//! The detector of one node: its links, its rounds, and what it knows of members on the links.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;

use crate::detector::alarms::Alarms;
use crate::detector::link_state::{CheckResult, LinkState};
use crate::detector::presence::{Presence, Presences};
use crate::detector::ring::{Watch, watches};
use crate::detector::times::Times;
use crate::io::FailureDetection;
use crate::membership::{Gossip, Membership};
use crate::model::link::{Link, LinkId};
use crate::model::node::{Mac, NodeId};
use crate::model::time::{Time, ms};

/// If no member has answered for so long, all members are pinged one after the other, one per round.
const LONELY: Duration = ms(300);

/// Failure detection of one node.
#[derive(Debug)]
pub struct Detector {
    pub(super) links: BTreeMap<LinkId, LinkState>,
    pub(super) presences: Presences,
    pub(super) alarms: Alarms,
    pub(super) watches: Vec<Watch>,
    /// Members, alarms or links changed since the watches were chosen.
    pub(super) ring_changed: bool,
    pub(super) times: Times,
    next_round: Time,
    /// When everything that could contradict a suspicion is asked next.
    pub(super) next_burst: Option<Time>,
    /// When the silence of a watched member will have lasted long enough to suspect it.
    pub(super) next_judgement: Option<Time>,
    /// Counts the pings of those rounds.
    lonely: usize,
}

impl Detector {
    /// Knows no link yet; the first round is due now.
    #[must_use]
    pub const fn new(now: Time) -> Self {
        Self {
            links: BTreeMap::new(),
            presences: Presences::new(),
            alarms: Alarms::new(),
            watches: Vec::new(),
            ring_changed: true,
            times: Times::of(FailureDetection::Normal),
            next_round: now,
            next_burst: None,
            next_judgement: None,
            lonely: 0,
        }
    }

    /// How soon silence counts, from now on.
    pub const fn set_failure_detection(&mut self, setting: FailureDetection) {
        self.times = Times::of(setting);
    }

    // ---- links ----

    /// A link of this node.
    #[must_use]
    pub fn link(&self, id: LinkId) -> Option<&LinkState> {
        self.links.get(&id)
    }

    /// The first link that has a subnet with the address.
    #[must_use]
    pub fn link_with(&self, address: IpAddr) -> Option<LinkId> {
        self.links.iter().find(|(_, state)| state.link.contains(address)).map(|(id, _)| *id)
    }

    /// Whether this is a hardware address of this node.
    #[must_use]
    pub fn is_own(&self, mac: Mac) -> bool {
        self.links.values().any(|state| state.link.mac == mac)
    }

    /// Whether any link is broken.
    #[must_use]
    pub fn has_broken_link(&self) -> bool {
        self.links.values().any(|state| state.broken)
    }

    /// An interface is there, or changed.
    pub fn update_link(&mut self, link: Link, now: Time) {
        self.links.entry(link.id).or_insert_with(|| LinkState::new(link.clone(), now)).update(link, now);
        self.ring_changed = true;
    }

    /// An interface is gone.
    pub fn remove_link(&mut self, id: LinkId) {
        self.links.remove(&id);
        self.ring_changed = true;
    }

    /// Somebody answered a question of this node on a link; returns whether the link was broken until now.
    pub fn link_answered(&mut self, id: LinkId, by: IpAddr, now: Time) -> bool {
        self.links.get_mut(&id).is_some_and(|state| state.answered(by, now))
    }

    /// A host that is no member asked something on a link: if it belongs there, it is a witness.
    pub fn note_witness(&mut self, id: LinkId, host: IpAddr, now: Time) {
        if let Some(state) = self.links.get_mut(&id).filter(|state| state.link.contains(host)) {
            state.add_witness(host, now);
        }
    }

    /// Whether a free address of a link may be asked for, to tell proxy ARP from a foreign host: one question in so long.
    pub fn may_ask_free(&mut self, id: LinkId, free: IpAddr, interval: Duration, now: Time) -> bool {
        self.links.get_mut(&id).is_some_and(|state| state.may_ask_free(free, interval, now))
    }

    /// A host that is no member answers for an address since a time, and not for this free one: it has the address for
    /// itself.
    pub fn note_foreign(&mut self, id: LinkId, mac: Mac, free: Option<IpAddr>, since: Time, now: Time) {
        if let Some(state) = self.links.get_mut(&id) {
            state.note_foreign(mac, free, since, now);
        }
    }

    /// A host answers for an address of a link; returns whether that is a free one that this node asked for.
    pub fn note_proxy(&mut self, id: LinkId, mac: Mac, free: IpAddr) -> bool {
        self.links.get_mut(&id).is_some_and(|state| state.note_proxy(mac, free))
    }

    /// Another member says that this node does not answer on a subnet, though its agent does.
    pub fn begin_check(&mut self, subnet: IpNetwork, now: Time) {
        for state in self.links.values_mut().filter(|state| state.link.is_on(subnet)) {
            state.begin_check(now);
        }
    }

    /// The links with something due.
    #[must_use]
    pub fn due_links(&self, now: Time) -> Vec<LinkId> {
        let due = self.links.iter().filter(|(_, state)| state.deadline().is_some_and(|at| at <= now));
        due.map(|(id, _)| *id).collect()
    }

    /// Does what is due on a link; returns whether the link is broken from now on.
    pub fn check_link(&mut self, id: LinkId, gossip: &mut Gossip<'_>) -> bool {
        match self.links.get_mut(&id).map(|state| state.check(gossip.now, gossip.late)) {
            Some(CheckResult::Ask) => {
                self.ask_witnesses(id, None, gossip);
                false
            }
            Some(CheckResult::Broken) => true,
            Some(CheckResult::Fine) | None => false,
        }
    }

    // ---- members ----

    /// What was heard of a member on a link.
    #[must_use]
    pub fn presence(&self, node: &NodeId, link: LinkId) -> Presence {
        self.presences.get(node, link)
    }

    /// Whether a member answers on any link at the moment.
    #[must_use]
    pub fn answers_somewhere(&self, node: &NodeId, now: Time) -> bool {
        self.presences.of(node).any(|presence| now.is_within(presence.answer, self.times.silent))
    }

    /// Whether a member does not answer on a link that it is asked on in each round.
    #[must_use]
    pub fn is_silent_on(&self, node: &NodeId, link: LinkId, now: Time) -> bool {
        !now.is_within(self.presence(node, link).answer, self.times.silent)
    }

    /// Whether a member is under alarm on a link.
    #[must_use]
    pub fn has_alarm(&self, node: &NodeId, link: LinkId) -> bool {
        self.alarms.is_raised(node, link)
    }

    /// Whether this node suspects a member on a link: it is silent in every way, and the last questions are out.
    #[must_use]
    pub fn is_suspected(&self, node: &NodeId, link: LinkId) -> bool {
        self.watches.iter().any(|watch| watch.suspected.is_some() && watch.node == *node && watch.link == link)
    }

    /// Members, or their addresses, changed.
    pub const fn change_ring(&mut self) {
        self.ring_changed = true;
    }

    /// The hardware addresses of a member are these now: it is not asked at another one.
    pub fn note_macs(&mut self, node: &NodeId, macs: &[Mac]) {
        self.presences.keep_macs(node, macs);
    }

    /// A member is no member any more.
    pub fn forget(&mut self, node: &NodeId) {
        self.presences.forget(node);
        self.alarms.forget(node);
    }

    /// An address of a member answered on a link; returns whether it is an own address of the member.
    pub fn note_answer(
        &mut self,
        node: &NodeId,
        link: LinkId,
        address: IpAddr,
        mac: Mac,
        members: &Membership,
        now: Time,
    ) -> bool {
        let peer = members.get(node).and_then(|member| member.peer.as_ref());
        if !peer.is_some_and(|peer| peer.places.iter().any(|place| place.address == address)) {
            return false;
        }
        let presence = self.presences.entry(node, link);
        presence.answer = Some(now);
        presence.mac = Some(mac);
        self.ring_changed |= self.alarms.clear(node, link);
        self.end_suspicions(node, Some(link), now);
        true
    }

    /// Another member heard this one, at least by a ping.
    pub fn note_indirect_answer(&mut self, node: &NodeId, on_link: bool, now: Time) {
        if on_link {
            self.presences.heard_indirectly(node, now);
        }
        self.clear_alarms(node, now);
    }

    /// A member answered a question of this time: older alarms and suspicions are over.
    pub fn clear_alarms(&mut self, node: &NodeId, at: Time) {
        self.ring_changed |= self.alarms.clear_older(node, at);
        self.end_suspicions(node, None, at);
    }

    /// A member answered a question of this time, on a link or by gossip: suspicions end where the answer comes, or the
    /// addresses of the member would be asked for once more.
    fn end_suspicions(&mut self, node: &NodeId, on: Option<LinkId>, at: Time) {
        let silent = self.times.silent;
        for watch in self.watches.iter_mut().filter(|watch| watch.node == *node) {
            // An answer that was known when the suspicion began is no news.
            let news = watch.suspected.is_some_and(|suspected| at + silent > suspected);
            if news && on.is_none_or(|link| link == watch.link) {
                watch.suspected = None;
            }
        }
    }

    /// This node takes an address over from a member on a link: what others hear of the member there counts from now on,
    /// and if the member is gone, this node keeps pinging it.
    pub fn note_former_owner(&mut self, node: &NodeId, link: LinkId, gone: bool) {
        self.presences.entry(node, link);
        if gone {
            self.alarms.lose(node, link);
        }
    }

    // ---- rounds ----

    /// When something is due.
    #[must_use]
    pub fn deadline(&self) -> Time {
        let check = self.links.values().filter_map(LinkState::deadline).min();
        let other = [check, self.next_burst, self.next_judgement].into_iter().flatten().min();
        other.map_or(self.next_round, |at| at.min(self.next_round))
    }

    /// Whether a round is due.
    #[must_use]
    pub fn is_round_due(&self, now: Time) -> bool {
        now >= self.next_round
    }

    /// Begins a round; returns the members to ping. Whom this node watches is chosen anew at most once per round.
    pub fn begin_round(&mut self, gossip: &mut Gossip<'_>) -> BTreeSet<NodeId> {
        let now = gossip.now;
        self.next_round = now + self.times.round;
        if std::mem::take(&mut self.ring_changed) {
            let present = std::mem::take(&mut self.watches);
            for (id, state) in &self.links {
                self.watches.extend(watches(*id, &state.link, gossip.members, &self.alarms, &present));
            }
        }
        let mut pings: BTreeSet<NodeId> = self.watches.iter().map(|watch| watch.node.clone()).collect();
        pings.extend(self.alarms.lost().cloned());
        if gossip.members.is_lonely(now, LONELY) {
            self.lonely = self.lonely.wrapping_add(1);
            let count = gossip.members.count().max(1);
            pings.extend(gossip.members.iter().nth(self.lonely % count).map(|(node, _)| node.clone()));
        }
        pings
    }

    /// Forgets suspicions, alarms and answers, after a pause of this node itself; the next round is due now.
    pub fn reset(&mut self, now: Time) {
        self.alarms.clear_all();
        for watch in &mut self.watches {
            watch.suspected = None;
        }
        (self.next_burst, self.next_judgement) = (None, None);
        for state in self.links.values_mut() {
            state.answer = None;
        }
        self.next_round = now;
    }
}
