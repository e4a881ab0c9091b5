//! The exchange of claims: whom changes are sent to, and whose claims are pulled.

use std::ops::Bound;
use std::time::Duration;

use crate::claims::table::Claims;
use crate::membership::{EAGER, Gossip, Member, ping_number};
use crate::model::node::NodeId;
use crate::model::order;
use crate::model::time::ms;
use crate::wire::{Frame, Liveness, MAX_CLAIMS};

/// Claims are pulled from so many members per round, of which there are ten per second.
const PULLS: usize = 8;
/// Between two pulls from a member that does not answer.
const PULL_AGAIN: Duration = ms(1000);
/// In a large cluster the first so many in the order of the address hear of a change at once; the rest of [`EAGER`] is
/// drawn by chance.
const HEIRS: usize = 4;
/// The most frames of changes to one member at once; a member that misses the rest pulls it.
const MAX_CHANGES: usize = 4;
/// A member that is believed silent receives changes all the same if it was heard within so long.
const HEARD: Duration = ms(5000);

impl Claims {
    /// Notes that a node's claims are newer by rumour.
    pub fn note_behind(&mut self, node: NodeId) {
        self.behind.insert(node);
    }

    /// Pulls from those members whose claims are newer by rumour. Each node begins with the members after itself, so
    /// that a member with news is not asked by all at once.
    pub fn catch_up(&mut self, gossip: &mut Gossip<'_>) {
        let members = &*gossip.members;
        let mut behind = std::mem::take(&mut self.behind);
        behind.retain(|node| members.get(node).is_some_and(|member| self.is_outdated(node, member)));
        let after = behind.range::<NodeId, _>((Bound::Excluded(members.own()), Bound::Unbounded));
        let before = behind.range::<NodeId, _>(..members.own());
        let asked = |node: &&NodeId| self.is_asked(node, gossip.now, PULL_AGAIN);
        let next: Vec<_> = after.chain(before).filter(|node| !asked(node)).take(PULLS).cloned().collect();
        self.behind = behind;
        for node in next {
            // What is being read of the member has the version of its own datagrams, if that is newer.
            let newest = |member: &Member| member.rumoured_version().max(member.status.version);
            let version = gossip.members.get(&node).map_or(0, newest);
            let pull = self.pull(&node, version, gossip.now);
            gossip.send(&node, pull);
            // If the rumour is of a former boot there is nothing to send; the answer to this ping says so.
            gossip.ping_once(&node);
        }
    }

    fn is_outdated(&self, node: &NodeId, member: &Member) -> bool {
        let rumoured = member.rumoured_version();
        // Fewer claims after a higher incarnation: they are of a new boot that was not heard, so the replica is old.
        let reborn = rumoured > 0 && member.is_ahead_by_rumour() && !self.is_at(node, rumoured);
        member.liveness == Liveness::Alive && (self.is_behind(node, rumoured) || reborn)
    }

    /// Sends the changes of this node's claims: to everybody in a small cluster, else to the first heirs and to some
    /// others. The rest hear by rumour that there is something to pull. Without the rumour they would notice at the
    /// next datagram, half a second per member later; a candidate that acts before that has to ask the link, and a
    /// switch that snoops does not carry the question for IPv6. Members that are not believed silent count even if
    /// nothing was heard of them lately: from a dozen members on, two may exchange no datagram for over five seconds.
    pub fn send_changes(&mut self, gossip: &mut Gossip<'_>) {
        let Some(changes) = self.own.take_changes() else { return };
        gossip.members.spread_version();
        if changes.is_empty() {
            return;
        }
        let reachable =
            |member: &Member| member.liveness != Liveness::Silent || gossip.now.is_within(member.heard, HEARD);
        let mut nodes: Vec<NodeId> =
            gossip.members.iter().filter(|(_, member)| reachable(member)).map(|(node, _)| node.clone()).collect();
        if nodes.len() > EAGER {
            let subject = changes.iter().find_map(|frame| match frame {
                Frame::Changes { changes, .. } => changes.first().map(|(address, _)| *address),
                _ => None,
            });
            if let Some(address) = subject {
                order::sort(&mut nodes, &address);
            }
            let mut others = nodes.split_off(HEIRS);
            gossip.rng.shuffle(&mut others);
            nodes.extend(others.into_iter().take(EAGER - HEIRS));
        }
        for node in nodes {
            for change in changes.iter().take(MAX_CHANGES) {
                gossip.send(&node, change.clone());
            }
        }
    }

    /// What to send at the first datagram in a while: which addresses both nodes claim, and a ping.
    #[must_use]
    pub fn greeting(&self, node: &NodeId, gossip: &Gossip<'_>) -> Vec<Frame> {
        let both = self.of(node).filter_map(|(address, _)| Some((address, self.own.epoch(address)?)));
        both.map(|(address, epoch)| Frame::ClaimReply { address, epoch: Some(epoch) })
            .chain([Frame::Ping(ping_number(gossip.now))])
            .collect()
    }

    /// What to send to a new boot: what its former boot claimed, and a ping.
    #[must_use]
    pub fn former_claims(&self, node: &NodeId, gossip: &Gossip<'_>) -> Vec<Frame> {
        let held: Vec<_> = self.of(node).collect();
        held.chunks(MAX_CLAIMS)
            .map(|chunk| Frame::FormerClaims(chunk.to_vec()))
            .chain([Frame::Ping(ping_number(gossip.now))])
            .collect()
    }
}
