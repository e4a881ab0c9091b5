//! The members of the cluster, this node left out: who they are, and when they were last heard.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::membership::member::{LivenessChange, Member};
use crate::membership::rumours::Rumours;
use crate::membership::swim::{Swim, Tick, helpers};
use crate::model::link::{Link, Peer};
use crate::model::node::{Mac, NodeId};
use crate::model::rng::Rng;
use crate::model::time::{Time, ms};
use crate::wire::{Liveness, SELECTED, Status, VERSION};

/// To how many members a change of this node's claims is sent at once; in larger clusters the others hear by rumour.
pub const EAGER: usize = 16;
/// If no member has answered for so long, Leases say who is alive.
const GOSSIP_SILENT: Duration = ms(5000);

/// The members, this node left out.
#[derive(Debug)]
pub struct Membership {
    pub(super) own: NodeId,
    pub(super) members: BTreeMap<NodeId, Member>,
    pub(super) rumours: Rumours,
    swim: Swim,
    /// Whose hardware addresses these are.
    macs: BTreeMap<Mac, NodeId>,
    /// When the last ping was sent that any of the members acknowledged.
    answered: Option<Time>,
    gossip_silent: bool,
    /// This node's status, as in its last datagram: what rumours say of this boot is never newer.
    pub status: Status,
}

impl Membership {
    /// Knows nobody.
    #[must_use]
    pub const fn new(own: NodeId, incarnation: u32, now: Time) -> Self {
        let status = Status { incarnation, flags: SELECTED, version: 0, digest: 0 };
        Self {
            own,
            members: BTreeMap::new(),
            rumours: Rumours::new(),
            swim: Swim::new(now),
            macs: BTreeMap::new(),
            answered: None,
            gossip_silent: false,
            status,
        }
    }

    /// This node.
    #[must_use]
    pub const fn own(&self) -> &NodeId {
        &self.own
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

    /// Where to send to a member; nothing if no place is known.
    #[must_use]
    pub fn endpoint(&self, node: &NodeId) -> Option<SocketAddr> {
        self.members.get(node).and_then(Member::endpoint)
    }

    /// The member that has an interface with this hardware address.
    #[must_use]
    pub fn owner_of(&self, mac: Mac) -> Option<&NodeId> {
        self.macs.get(&mac)
    }

    /// The hardware addresses of a member.
    pub fn macs_of(&self, node: &NodeId) -> impl Iterator<Item = Mac> {
        self.macs.iter().filter(move |(_, owner)| *owner == node).map(|(mac, _)| *mac)
    }

    /// The members that live and have an own address on a link, with that address.
    #[must_use]
    pub fn neighbours(&self, link: &Link) -> Vec<(NodeId, IpAddr)> {
        let on_link = |member: &Member| {
            let place = member.peer.as_ref()?.place_on(link)?;
            member.lives().then_some(place.address)
        };
        self.members.iter().filter_map(|(node, member)| Some((node.clone(), on_link(member)?))).collect()
    }

    /// How many members there are beside this node.
    #[must_use]
    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// Living members, at most [`EAGER`]: those whose names come after the last one, then the first ones.
    #[must_use]
    pub fn some_alive(&self, last: Option<&NodeId>) -> Vec<NodeId> {
        let alive = |(node, member): (&NodeId, &Member)| (member.liveness == Liveness::Alive).then(|| node.clone());
        let told = |node: &NodeId| last.is_some_and(|last| node <= last);
        let after = self.members.iter().skip_while(|(node, _)| told(node));
        let before = self.members.iter().take_while(|(node, _)| told(node));
        after.chain(before).filter_map(alive).take(EAGER).collect()
    }

    /// Takes over the list of Leases; returns who is new and who is gone.
    pub fn discover(&mut self, peers: Vec<Peer>, now: Time) -> (Vec<NodeId>, Vec<NodeId>) {
        let listed: BTreeSet<_> = peers.iter().map(|peer| peer.node.clone()).collect();
        // A member that gossips needs no Lease: its Lease may be late, or the API server down.
        let silent = |member: &Member| member.liveness != Liveness::Alive;
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
        // Those of a member whose Lease is gone while it gossips, too: it is no foreign host.
        let macs = |(node, member): (&NodeId, &Member)| {
            let node = node.clone();
            member.peer.iter().flat_map(|peer| &peer.macs).map(move |mac| (*mac, node.clone())).collect::<Vec<_>>()
        };
        self.macs = self.members.iter().flat_map(macs).collect();
        (new, gone)
    }

    /// An authentic datagram came; returns whether it is the first in a while (then claims are exchanged).
    pub fn heard(&mut self, node: &NodeId, status: Status, from: SocketAddr, now: Time) -> bool {
        let member = self.members.entry(node.clone()).or_insert_with(|| Member::new(now));
        let contact = !now.is_within(member.heard, ms(300));
        member.heard = Some(now);
        member.incarnation = status.incarnation;
        member.from = Some(from);
        let flags = member.status.flags;
        if status.incarnation >= member.status.incarnation || member.liveness == Liveness::Silent {
            member.status = status;
        }
        if flags != member.status.flags {
            self.spread(node);
        }
        contact
    }

    /// A ping of ours, sent at this time, was acknowledged.
    pub fn acknowledged(&mut self, node: &NodeId, sent: Time, now: Time) -> Option<LivenessChange> {
        self.swim.answered(node, sent);
        let member = self.members.get_mut(node)?;
        let first = member.ack.is_none();
        member.ack = member.ack.max(Some(sent));
        self.answered = self.answered.max(member.ack);
        if member.liveness == Liveness::Alive {
            return None;
        }
        member.liveness = Liveness::Alive;
        member.since = now;
        // A member that starts pings everybody, so everybody hears from itself that it is there. In a large cluster that
        // starts, rumours of it would be as many as there are pairs, and say nothing new.
        if !first || self.members.len() <= EAGER {
            self.spread(node);
        }
        Some(LivenessChange { node: node.clone(), liveness: Liveness::Alive })
    }

    /// A helper heard a member.
    pub fn reported(&mut self, node: &NodeId, now: Time) {
        self.swim.close(node);
        if let Some(member) = self.members.get_mut(node) {
            member.indirect = member.indirect.max(Some(now));
        }
    }

    /// Forgets the open ping and all suspicions, after a pause of this node itself.
    pub fn end_suspicions(&mut self, now: Time) {
        self.swim.reset();
        for member in self.members.values_mut() {
            if member.liveness == Liveness::Suspect {
                member.liveness = Liveness::Alive;
                member.since = now;
            }
        }
    }

    /// Changes this node's flags; returns whether they are others than before.
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

    /// A new boot counts its versions anew, perhaps within the same incarnation.
    pub fn rebooted(&mut self, node: &NodeId) {
        if let Some(member) = self.members.get_mut(node) {
            member.rumoured = (0, 0);
        }
    }

    /// Begins a period of pings now.
    pub const fn ping_now(&mut self, now: Time) {
        self.swim.next = now;
    }

    /// When [`Membership::tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Time {
        self.swim.deadline()
    }

    /// Does what is due: whom to ping, whom to ask to ping whom, and whose liveness changed.
    pub fn tick(&mut self, now: Time, rng: &mut Rng) -> Tick {
        let tick = self.swim.tick(&mut self.members, now, rng);
        for change in &tick.changes {
            self.spread(&change.node);
        }
        tick
    }

    /// Some living members other than the target, at random.
    pub fn helpers(&self, target: &NodeId, rng: &mut Rng) -> Vec<NodeId> {
        helpers(&self.members, target, rng)
    }

    /// Whether no member has answered this node for so long.
    #[must_use]
    pub fn is_lonely(&self, now: Time, within: Duration) -> bool {
        !now.is_within(self.answered, within)
    }

    /// Whether there are members and none of them answers: then Leases say who is alive.
    #[must_use]
    pub const fn is_gossip_silent(&self) -> bool {
        self.gossip_silent
    }

    /// Notes whether gossip is silent; returns whether that is new.
    pub fn note_gossip(&mut self, started: Time, now: Time) -> bool {
        // A member whose Lease has run out, or that speaks another version, is not expected to answer.
        let speaks = |peer: &Peer| peer.lease_alive && peer.wire_version == u16::from(VERSION);
        let expected = |member: &Member| member.peer.as_ref().is_some_and(speaks);
        let lonely = self.members.values().any(expected) && self.is_lonely(now, GOSSIP_SILENT);
        let before = self.gossip_silent;
        self.gossip_silent = lonely && now.since(started) > GOSSIP_SILENT;
        self.gossip_silent && !before
    }

    /// Passes news of a member on, as often as it takes to reach everybody.
    pub(super) fn spread(&mut self, node: &NodeId) {
        let left = 3 * usize::try_from(self.members.len().max(1).ilog2() + 1).unwrap_or(1);
        self.rumours.add(node, left);
    }
}
