//! Who is there: discovery by Leases, life by SWIM (Das, Gupta, Motivala 2002), over the protocol's own datagrams.
//!
//! Why not a library: `foca`, the one made for this style, was read. It keeps acknowledgements to itself (the watches
//! and every claim here need to know *when* each member last answered *us*), its messages have no room for the status
//! that every datagram must carry, and a member once declared down must come back under a new identity, which would
//! void its claims. Join and roster, the larger half of such a library, are the Leases' work here. What is left is
//! this file.
//!
//! Every [`PERIOD`] one member (in shuffled order) is pinged; silent for [`DIRECT`], three others are asked to ping it;
//! silent until the end of the period, it is suspected, and after [`GRACE`] believed silent. Rumours travel on the
//! datagrams that are sent anyway, each about 3 log2(n) times, and say which version a member's claims have. A member
//! contradicts with a higher incarnation. Silence here never moves an address by itself: it only makes heirs ask the
//! link (see [`crate::machine`]).
//!
//! What it costs at rest does not grow with the cluster: each of 1,000 simulated members sends 67 datagrams of 4.8 kB
//! together per second (`thousand_nodes` in `tests/schedules.rs`; sealed, without UDP and IP headers), 60 of them
//! pings of the watches and their answers, and 30 link questions.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::link::{LinkId, Peer};
use crate::node::{Mac, NodeId};
use crate::rng::Rng;
use crate::time::{Time, ms};
use crate::wire::{EXCLUDED, LEAVING, Message, SELECTED, STALE, Status, Vital};

/// One member is pinged per period.
pub const PERIOD: Duration = ms(500);
/// After this long without an answer others are asked.
pub const DIRECT: Duration = ms(200);
/// How long a suspicion lasts before it becomes a belief.
pub const GRACE: Duration = ms(2000);
/// To how many members a change of our claims is told at once; in larger clusters the others hear by rumour.
pub const EAGER: usize = 16;
/// Rumours per datagram.
const RUMOURS: usize = 6;

/// What was heard from a member on one link.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sense {
    /// When the question was asked that its own address last answered.
    pub answer: Option<Time>,
    /// The hardware address it answered with.
    pub mac: Option<Mac>,
    /// Somebody else heard it there.
    pub indirect: Option<Time>,
    /// It was found silent in every way at this time.
    pub alarm: Option<Time>,
    /// We took addresses over from it: keep looking for it.
    pub missed: bool,
}

/// A member.
#[derive(Debug, Clone)]
pub struct Member {
    /// What its Lease says.
    pub peer: Option<Peer>,
    /// What its last datagram said; incarnation and flags may be of a rumour since.
    pub status: Status,
    /// What is believed of it.
    pub vital: Vital,
    /// Since when.
    pub since: Time,
    /// When the ping was sent that it last acknowledged.
    pub ack: Option<Time>,
    /// When any authentic datagram of it last came.
    pub heard: Option<Time>,
    /// When another member last reported its acknowledgement.
    pub indirect: Option<Time>,
    /// Where its last datagram came from.
    pub from: Option<SocketAddr>,
    /// The newest version of its claims that was a rumour, after the incarnation. Only such a pair is told on: a
    /// version of its own datagram may be a former boot's, while the incarnation is the new one's already.
    told: (u32, u64),
    /// The incarnation of its last datagram.
    said: u32,
    /// Which of its endpoints is used.
    pub endpoint: usize,
    /// Its links.
    pub senses: BTreeMap<LinkId, Sense>,
}

impl Member {
    const fn new(now: Time) -> Self {
        Self {
            peer: None,
            status: Status { incarnation: 0, flags: SELECTED, version: 0, digest: 0 },
            vital: Vital::Silent,
            since: now,
            ack: None,
            heard: None,
            indirect: None,
            from: None,
            told: (0, 0),
            said: 0,
            endpoint: 0,
            senses: BTreeMap::new(),
        }
    }

    /// Whether any of the flags is set.
    #[must_use]
    pub const fn has(&self, flags: u8) -> bool {
        self.status.flags & flags != 0
    }

    /// Whether it may take new claims, exclusion left aside.
    #[must_use]
    pub const fn is_able(&self) -> bool {
        self.has(SELECTED) && !self.has(STALE | LEAVING)
    }

    /// Whether it carries the exclusion label.
    #[must_use]
    pub const fn is_excluded(&self) -> bool {
        self.has(EXCLUDED)
    }

    /// Where to send to.
    #[must_use]
    pub fn endpoint(&self) -> Option<SocketAddr> {
        let endpoints = self.peer.as_ref().map(|peer| peer.endpoints.as_slice()).unwrap_or_default();
        self.endpoint.checked_rem(endpoints.len()).and_then(|index| endpoints.get(index)).copied().or(self.from)
    }

    /// What was heard on a link.
    #[must_use]
    pub fn sense(&self, link: LinkId) -> Sense {
        self.senses.get(&link).copied().unwrap_or_default()
    }

    /// The version of its claims by rumour; 0 if none was told of this incarnation.
    #[must_use]
    pub const fn told_version(&self) -> u64 {
        let (incarnation, version) = self.told;
        if incarnation == self.status.incarnation { version } else { 0 }
    }

    /// Whether rumours tell of another incarnation than the member itself did, perhaps of another boot.
    #[must_use]
    pub const fn is_hearsay(&self) -> bool {
        self.status.incarnation > self.said
    }

    fn rumour(&self, node: NodeId) -> Message {
        let Status { incarnation, flags, .. } = self.status;
        Message::Rumour { node, incarnation, vital: self.vital, flags, version: self.told_version() }
    }

    /// The last sign, by anybody, that its agent answers.
    #[must_use]
    pub fn last_ack(&self) -> Option<Time> {
        self.ack.max(self.indirect)
    }
}

/// What is to be told, in the order of telling: a few of perhaps a thousand go with each datagram.
#[derive(Debug)]
struct Rumours {
    /// Whom a rumour is of, by how often it is still to be told, and by its place among those of the same number.
    order: BTreeMap<(Reverse<usize>, i64), NodeId>,
    keys: BTreeMap<NodeId, (Reverse<usize>, i64)>,
    first: i64,
    last: i64,
}

impl Rumours {
    const fn new() -> Self {
        Self { order: BTreeMap::new(), keys: BTreeMap::new(), first: 0, last: 0 }
    }

    /// To be told so often, after others of the same number; what was to be told before is replaced.
    fn add(&mut self, node: &NodeId, left: usize) {
        self.last += 1;
        self.insert(node.clone(), (Reverse(left), self.last));
    }

    fn insert(&mut self, node: NodeId, key: (Reverse<usize>, i64)) {
        if let Some(old) = self.keys.insert(node.clone(), key) {
            self.order.remove(&old);
        }
        self.order.insert(key, node);
    }

    /// The least told ones, told once more by this; they keep their order before others of the same number.
    fn tell(&mut self, count: usize) -> Vec<NodeId> {
        let told: Vec<_> = std::iter::from_fn(|| self.order.pop_first()).take(count).collect();
        for ((Reverse(left), _), node) in told.iter().rev() {
            if *left > 1 {
                self.first -= 1;
                self.insert(node.clone(), (Reverse(left - 1), self.first));
            } else {
                self.keys.remove(node);
            }
        }
        told.into_iter().map(|(_, node)| node).collect()
    }
}

#[derive(Debug)]
struct Question {
    target: NodeId,
    sent: Time,
    asked: bool,
}

/// A change that others care about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Of whom.
    pub node: NodeId,
    /// To what.
    pub vital: Vital,
}

/// The members, this node left out.
#[derive(Debug)]
pub struct Membership {
    own: NodeId,
    members: BTreeMap<NodeId, Member>,
    round: Vec<NodeId>,
    question: Option<Question>,
    /// When the last ping was sent that any of the members acknowledged.
    answered: Option<Time>,
    rumours: Rumours,
    /// This node's status, as its last datagram said it: what others tell of this boot is never newer.
    pub status: Status,
    /// When the next period begins.
    pub next: Time,
}

impl Membership {
    /// Knows nobody.
    #[must_use]
    pub const fn new(own: NodeId, incarnation: u32, now: Time) -> Self {
        let status = Status { incarnation, flags: SELECTED, version: 0, digest: 0 };
        Self {
            own,
            members: BTreeMap::new(),
            round: Vec::new(),
            question: None,
            answered: None,
            rumours: Rumours::new(),
            status,
            next: now,
        }
    }

    /// A member.
    #[must_use]
    pub fn get(&self, node: &NodeId) -> Option<&Member> {
        self.members.get(node)
    }

    /// A member, to be changed.
    pub fn get_mut(&mut self, node: &NodeId) -> Option<&mut Member> {
        self.members.get_mut(node)
    }

    /// All members, in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, &Member)> {
        self.members.iter()
    }

    /// All members, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&NodeId, &mut Member)> {
        self.members.iter_mut()
    }

    /// Takes the list of Leases over; returns who is new and who is gone.
    pub fn discover(&mut self, peers: Vec<Peer>, now: Time) -> (Vec<NodeId>, Vec<NodeId>) {
        let listed: BTreeSet<_> = peers.iter().map(|peer| peer.node.clone()).collect();
        // A member that gossips needs no Lease: its Lease may be late, or the API server down.
        let silent = |member: &Member| member.vital != Vital::Alive;
        let gone: Vec<_> = self
            .members
            .iter()
            .filter(|(node, m)| !listed.contains(*node) && silent(m))
            .map(|(node, _)| node.clone())
            .collect();
        for node in &gone {
            self.members.remove(node);
        }
        if !gone.is_empty() {
            self.answered = self.members.values().filter_map(|member| member.ack).max();
        }
        let mut new = Vec::new();
        for peer in peers.into_iter().filter(|peer| peer.node != self.own) {
            let node = peer.node.clone();
            let member = self.members.entry(node.clone()).or_insert_with(|| {
                new.push(node);
                Member::new(now)
            });
            member.peer = Some(peer);
        }
        (new, gone)
    }

    /// An authentic datagram came; returns whether it is the first in a while (then claims are exchanged).
    pub fn heard(&mut self, node: &NodeId, status: Status, from: SocketAddr, now: Time) -> bool {
        let member = self.members.entry(node.clone()).or_insert_with(|| Member::new(now));
        let contact = !now.is_within(member.heard, ms(300));
        member.heard = Some(now);
        member.said = status.incarnation;
        member.from = Some(from);
        let flags = member.status.flags;
        if status.incarnation >= member.status.incarnation || member.vital == Vital::Silent {
            member.status = status;
        }
        if flags != member.status.flags {
            self.spread(node);
        }
        contact
    }

    /// A ping of ours, sent at this time, was acknowledged.
    pub fn acknowledged(&mut self, node: &NodeId, sent: Time, now: Time) -> Option<Turn> {
        if self.question.as_ref().is_some_and(|question| question.target == *node && question.sent <= sent) {
            self.question = None;
        }
        let member = self.members.get_mut(node)?;
        let first = member.ack.is_none();
        member.ack = member.ack.max(Some(sent));
        self.answered = self.answered.max(member.ack);
        if member.vital == Vital::Alive {
            return None;
        }
        member.vital = Vital::Alive;
        member.since = now;
        // That a member is there at all everybody hears from itself, for who starts pings all: in a large cluster that
        // starts, as many rumours as pairs would say nothing new.
        if !first || self.members.len() <= EAGER {
            self.spread(node);
        }
        Some(Turn { node: node.clone(), vital: Vital::Alive })
    }

    /// A helper heard a member.
    pub fn reported(&mut self, node: &NodeId, now: Time) {
        if self.question.as_ref().is_some_and(|question| question.target == *node) {
            self.question = None;
        }
        if let Some(member) = self.members.get_mut(node) {
            member.indirect = member.indirect.max(Some(now));
        }
    }

    /// Whether a rumour is that a member that lives for us lives, with nothing that we did not know.
    #[must_use]
    pub fn is_known(&self, node: &NodeId, incarnation: u32, vital: Vital, flags: u8, version: u64) -> bool {
        vital == Vital::Alive
            && self.members.get(node).is_some_and(|member| {
                let known = member.status;
                member.vital == Vital::Alive
                    && known.flags == flags
                    && (known.incarnation > incarnation
                        || known.incarnation == incarnation
                            && (member.told_version() >= version || self.members.len() <= EAGER))
            })
    }

    /// What is told of a member and goes beyond what it says itself: it is of a former boot, and the member is to
    /// contradict, or neither its flags nor the versions of its claims are believed.
    #[must_use]
    pub fn outdated(&self, node: &NodeId, said: &Status) -> Option<Message> {
        let member = self.members.get(node)?;
        let beyond = (member.status.incarnation, member.told_version()) > (said.incarnation, said.version);
        beyond.then(|| member.rumour(node.clone()))
    }

    /// Takes a rumour.
    pub fn rumour(
        &mut self,
        node: &NodeId,
        incarnation: u32,
        vital: Vital,
        flags: u8,
        version: u64,
        now: Time,
    ) -> Option<Turn> {
        if *node == self.own {
            // What is said of our former boot too: nobody would believe ours before it has a higher incarnation.
            let wrong = vital != Vital::Alive || flags != self.status.flags || version > self.status.version;
            let own = self.status.incarnation;
            if incarnation > own || incarnation == own && wrong {
                self.status.incarnation = incarnation.saturating_add(1);
                self.spread(node);
            }
            return None;
        }
        let member = self.members.get_mut(node)?;
        let direct = now.is_within(member.last_ack(), ms(1000));
        let known = member.status.incarnation;
        let news = if vital == Vital::Alive {
            // Only who has answered us is alive for us; others' word brings flags.
            incarnation > known
        } else {
            (incarnation, vital) > (known, member.vital) && !direct
        };
        if !news {
            return None;
        }
        member.status.incarnation = incarnation;
        member.status.flags = flags;
        let before = member.vital;
        if vital != Vital::Alive || (before == Vital::Suspect) {
            member.vital = vital;
            member.since = now;
        }
        let vital = member.vital;
        self.spread(node);
        (before != vital).then(|| Turn { node: node.clone(), vital })
    }

    /// A rumour that was taken told of the claims of a member too: whether that is news, to be told on. Who was told
    /// of the claims themselves tells the rumour on all the same, or it would end with those. What is said of another
    /// incarnation than the one believed in is not: of an older one it is old, or a former boot's.
    pub fn newer(&mut self, node: &NodeId, incarnation: u32, version: u64) -> bool {
        let large = self.members.len() > EAGER;
        let news = |member: &Member| member.status.incarnation == incarnation && member.told_version() < version;
        let Some(member) = self.members.get_mut(node).filter(|member| large && news(member)) else { return false };
        member.told = (incarnation, version);
        self.spread(node);
        true
    }

    /// A new boot counts its versions anew, perhaps within the same incarnation.
    pub fn rebooted(&mut self, node: &NodeId) {
        if let Some(member) = self.members.get_mut(node) {
            member.told = (0, 0);
        }
    }

    /// Our claims changed: in a large cluster everybody is to hear of it by rumour.
    pub fn tell_version(&mut self) {
        if self.members.len() > EAGER {
            let own = self.own.clone();
            self.spread(&own);
        }
    }

    /// Changes this node's flags.
    pub fn set_flags(&mut self, flags: u8) -> bool {
        if self.status.flags == flags {
            return false;
        }
        self.status.flags = flags;
        self.status.incarnation = self.status.incarnation.saturating_add(1);
        let own = self.own.clone();
        self.spread(&own);
        true
    }

    fn spread(&mut self, node: &NodeId) {
        let left = 3 * usize::try_from(self.members.len().max(1).ilog2() + 1).unwrap_or(1);
        self.rumours.add(node, left);
    }

    /// Rumours for a datagram, the least told first.
    pub fn rumours(&mut self) -> Vec<Message> {
        let mut out = Vec::new();
        for node in self.rumours.tell(RUMOURS) {
            if node == self.own {
                let Status { incarnation, flags, version, .. } = self.status;
                out.push(Message::Rumour { node, incarnation, vital: Vital::Alive, flags, version });
            } else if let Some(member) = self.members.get(&node) {
                out.push(member.rumour(node));
            }
        }
        out
    }

    /// Forgets open questions and suspicions, after a pause of our own.
    pub fn forgive(&mut self, now: Time) {
        self.question = None;
        for member in self.members.values_mut() {
            if member.vital == Vital::Suspect {
                member.vital = Vital::Alive;
                member.since = now;
            }
            for sense in member.senses.values_mut() {
                sense.alarm = None;
            }
        }
    }

    /// When [`Membership::tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Time {
        match &self.question {
            Some(question) if !question.asked => self.next.min(question.sent + DIRECT),
            _ => self.next,
        }
    }

    /// Does what is due: whom to ping, whom to ask to ping whom, and who changed.
    pub fn tick(&mut self, now: Time, rng: &mut Rng) -> Tick {
        let mut tick = Tick::default();
        if let Some(question) =
            self.question.as_mut().filter(|question| !question.asked && now >= question.sent + DIRECT)
        {
            question.asked = true;
            let target = question.target.clone();
            tick.ask = self.helpers(&target, 3, rng).into_iter().map(|helper| (helper, target.clone())).collect();
        }
        if now < self.next {
            return tick;
        }
        self.next = now + PERIOD;
        if let Some(question) = self.question.take() {
            self.suspect(&question.target, now, &mut tick);
        }
        let grace = GRACE + PERIOD * self.members.len().max(1).ilog2();
        let overdue: Vec<_> = self
            .members
            .iter()
            .filter(|(_, member)| member.vital == Vital::Suspect && now.since(member.since) >= grace)
            .map(|(node, _)| node.clone())
            .collect();
        for node in overdue {
            if let Some(member) = self.members.get_mut(&node) {
                member.vital = Vital::Silent;
                member.since = now;
            }
            self.spread(&node);
            tick.turns.push(Turn { node, vital: Vital::Silent });
        }
        if let Some(target) = self.next_target(rng) {
            if self.members.get(&target).is_some_and(|member| member.vital == Vital::Alive) {
                self.question = Some(Question { target: target.clone(), sent: now, asked: false });
            }
            tick.ping.push(target);
        }
        tick
    }

    fn suspect(&mut self, node: &NodeId, now: Time, tick: &mut Tick) {
        let Some(member) = self.members.get_mut(node).filter(|member| member.vital == Vital::Alive) else { return };
        if now.is_within(member.last_ack(), PERIOD) {
            return;
        }
        member.vital = Vital::Suspect;
        member.since = now;
        self.spread(node);
        tick.turns.push(Turn { node: node.clone(), vital: Vital::Suspect });
    }

    fn next_target(&mut self, rng: &mut Rng) -> Option<NodeId> {
        while let Some(node) = self.round.pop() {
            if self.members.contains_key(&node) {
                return Some(node);
            }
        }
        self.round = self.members.keys().cloned().collect();
        rng.shuffle(&mut self.round);
        self.round.pop()
    }

    /// Live members other than the target, at random.
    pub fn helpers(&self, target: &NodeId, count: usize, rng: &mut Rng) -> Vec<NodeId> {
        let live = |member: &Member| member.vital == Vital::Alive;
        let mut nodes: Vec<_> =
            self.members.iter().filter(|(node, m)| *node != target && live(m)).map(|(node, _)| node.clone()).collect();
        rng.shuffle(&mut nodes);
        nodes.truncate(count);
        nodes
    }

    /// Whether nobody answered us for so long.
    #[must_use]
    pub fn is_lonely(&self, now: Time, within: Duration) -> bool {
        !now.is_within(self.answered, within)
    }
}

/// What a period brings.
#[derive(Debug, Default)]
pub struct Tick {
    /// To ping.
    pub ping: Vec<NodeId>,
    /// Helpers and targets.
    pub ask: Vec<(NodeId, NodeId)>,
    /// Who changed.
    pub turns: Vec<Turn>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_told_rumours_come_first() {
        let [a, b, c] = ["a", "b", "c"].map(|name| NodeId::new(name).unwrap());
        let mut rumours = Rumours::new();
        rumours.add(&a, 2);
        rumours.add(&b, 2);
        assert_eq!(rumours.tell(2), [a.clone(), b.clone()]);
        rumours.add(&c, 1);
        assert_eq!(rumours.tell(1), std::slice::from_ref(&a));
        // News of the same member replaces what was to be told of it.
        rumours.add(&c, 3);
        assert_eq!(rumours.tell(9), [c.clone(), b]);
        assert_eq!(rumours.tell(9), std::slice::from_ref(&c));
        assert_eq!(rumours.tell(9), [c]);
        assert!(rumours.tell(9).is_empty() && rumours.keys.is_empty());
    }

    #[test]
    fn in_a_large_cluster_a_new_version_of_claims_is_told_on_once() {
        let nodes = |count: usize| (0..count).map(|number| NodeId::new(&format!("node-{number}")).unwrap());
        let from = "192.0.2.2:7475".parse().unwrap();
        for (count, large) in [(EAGER, false), (EAGER + 1, true)] {
            let mut members = Membership::new(NodeId::new("own").unwrap(), 1, Time::default());
            for node in nodes(count) {
                members.heard(&node, Status { incarnation: 1, version: 7, ..Status::default() }, from, Time::default());
            }
            let node = nodes(1).next().unwrap();
            // It told us itself, and the rumour goes on all the same.
            assert_eq!(members.newer(&node, 1, 7), large);
            assert!(!members.newer(&node, 1, 7) && !members.newer(&node, 1, 6));
            members.rebooted(&node);
            assert_eq!(members.newer(&node, 1, 3), large);
            // Another incarnation counts once it is believed.
            assert!(!members.newer(&node, 2, 2) && !members.newer(&node, 0, 9));
            members.rumour(&node, 2, Vital::Alive, SELECTED, 2, Time::default());
            assert_eq!(members.newer(&node, 2, 2), large);
            assert!(!members.newer(&node, 1, 9));
            assert_eq!(members.get(&node).unwrap().status.version, 7);
        }
    }

    #[test]
    fn what_a_former_boot_claimed_is_not_told_of_the_new_one() {
        let now = Time::default();
        let from = "192.0.2.2:7475".parse().unwrap();
        let reborn = NodeId::new("reborn").unwrap();
        let mut members = Membership::new(NodeId::new("own").unwrap(), 1, now);
        for number in 0..=EAGER {
            members.heard(&NodeId::new(&format!("node-{number}")).unwrap(), Status::default(), from, now);
        }
        let told = |members: &mut Membership| {
            let of_it = members.rumours().into_iter().find_map(|message| match message {
                Message::Rumour { node, incarnation, version, .. } if node == reborn => Some((incarnation, version)),
                _ => None,
            });
            members.rumours.keys.clear();
            members.rumours.order.clear();
            of_it
        };
        let take = |members: &mut Membership, incarnation, version| {
            members.rumour(&reborn, incarnation, Vital::Alive, SELECTED, version, now);
            members.newer(&reborn, incarnation, version)
        };
        let says =
            |incarnation: u32, version: u64| Status { incarnation, flags: SELECTED, version, ..Status::default() };
        members.heard(&reborn, says(3, 500), from, now);
        members.acknowledged(&reborn, now, now);
        assert!(take(&mut members, 3, 500));
        assert_eq!(told(&mut members), Some((3, 500)));
        // The new boot's claims are fewer; it has not been heard itself.
        assert!(take(&mut members, 4, 12));
        assert_eq!(told(&mut members), Some((4, 12)));
        assert!(take(&mut members, 4, 13) && !take(&mut members, 3, 501));
        // Nothing but the incarnation is known.
        assert!(!take(&mut members, 5, 0));
        assert_eq!(told(&mut members), Some((5, 0)));
        assert!(take(&mut members, 5, 13));

        // Another new boot, and a late rumour of the former one within the same incarnation.
        members.rebooted(&reborn);
        members.heard(&reborn, says(5, 2), from, now);
        assert_eq!(members.outdated(&reborn, &says(5, 2)), None);
        assert!(take(&mut members, 5, 13));
        let Some(Message::Rumour { incarnation, vital, flags, version, .. }) = members.outdated(&reborn, &says(5, 2))
        else {
            panic!("it is not told");
        };
        let mut itself = Membership::new(reborn.clone(), 5, now);
        itself.status = says(5, 2);
        itself.rumour(&reborn, incarnation, vital, flags, version, now);
        assert_eq!(itself.status, says(6, 2));
        members.heard(&reborn, itself.status, from, now);
        assert_eq!(members.outdated(&reborn, &itself.status), None);
        assert!(take(&mut members, 6, 2));
        // What it said itself it does not contradict.
        itself.rumour(&reborn, 6, Vital::Alive, SELECTED, 2, now);
        assert_eq!(itself.status, says(6, 2));
    }

    #[test]
    fn a_new_boot_is_believed_as_soon_as_it_has_heard_of_the_former_one() {
        let [a, b] = ["a", "b"].map(|name| NodeId::new(name).unwrap());
        let from = "192.0.2.2:7475".parse().unwrap();
        let mut seen_by_a = Membership::new(a, 1, Time::default());
        let former = Status { incarnation: 5, flags: SELECTED | LEAVING, ..Status::default() };
        seen_by_a.heard(&b, former, from, Time::default());
        seen_by_a.acknowledged(&b, Time::default(), Time::default());
        // Somebody else still tells what the former boot said.
        let mut reborn = Membership::new(b.clone(), 1, Time::default());
        reborn.set_flags(SELECTED);
        seen_by_a.heard(&b, reborn.status, from, Time::default());
        assert!(seen_by_a.get(&b).unwrap().has(LEAVING));
        assert_eq!(reborn.rumour(&b, 5, Vital::Alive, SELECTED | LEAVING, 0, Time::default()), None);
        seen_by_a.heard(&b, reborn.status, from, Time::default());
        assert!(seen_by_a.get(&b).unwrap().is_able());
        assert_eq!(seen_by_a.rumour(&b, 5, Vital::Alive, SELECTED | LEAVING, 0, Time::default()), None);
        assert!(seen_by_a.get(&b).unwrap().is_able());
        // What is right is not contradicted.
        let before = reborn.status;
        reborn.rumour(&b, before.incarnation, Vital::Alive, SELECTED, 0, Time::default());
        assert_eq!(reborn.status, before);
    }
}
