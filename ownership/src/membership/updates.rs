//! Rumours in and out: what members say of each other, and how a member contradicts.

use crate::membership::member::{LivenessChange, Member};
use crate::membership::members::{EAGER, Membership};
use crate::model::node::NodeId;
use crate::model::time::{Time, ms};
use crate::wire::{Frame, Liveness, Status};

/// Rumours per datagram.
const RUMOURS: usize = 6;

impl Membership {
    /// Whether a rumour says nothing new of a member that this node believes alive.
    #[must_use]
    pub fn is_known(&self, node: &NodeId, incarnation: u32, liveness: Liveness, flags: u8, version: u64) -> bool {
        liveness == Liveness::Alive
            && self.members.get(node).is_some_and(|member| {
                let known = member.status;
                member.liveness == Liveness::Alive
                    && known.flags == flags
                    && (known.incarnation > incarnation
                        || known.incarnation == incarnation
                            && (member.rumoured_version() >= version || self.members.len() <= EAGER))
            })
    }

    /// The rumour of a member that goes beyond what its own datagram says. It is of a former boot; the member must see it
    /// and contradict, or others believe neither its flags nor the versions of its claims.
    #[must_use]
    pub fn outdated(&self, node: &NodeId, said: &Status) -> Option<Frame> {
        let member = self.members.get(node)?;
        let beyond = (member.status.incarnation, member.rumoured_version()) > (said.incarnation, said.version);
        beyond.then(|| member.rumour(node.clone()))
    }

    /// Takes a rumour; returns the change if it changes what is believed of the member.
    pub fn rumour(
        &mut self,
        node: &NodeId,
        incarnation: u32,
        liveness: Liveness,
        flags: u8,
        version: u64,
        now: Time,
    ) -> Option<LivenessChange> {
        if *node == self.own {
            // This contradicts rumours of a former boot too: without a higher incarnation nobody believes the new one.
            let wrong = liveness != Liveness::Alive || flags != self.status.flags || version > self.status.version;
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
        let news = if liveness == Liveness::Alive {
            // Only an answer to this node makes a member alive; a rumour brings its flags.
            incarnation > known
        } else {
            (incarnation, liveness) > (known, member.liveness) && !direct
        };
        if !news {
            return None;
        }
        member.status.incarnation = incarnation;
        member.status.flags = flags;
        let before = member.liveness;
        if liveness != Liveness::Alive || (before == Liveness::Suspect) {
            member.liveness = liveness;
            member.since = now;
        }
        let liveness = member.liveness;
        self.spread(node);
        (before != liveness).then(|| LivenessChange { node: node.clone(), liveness })
    }

    /// Takes the version of a member's claims from a rumour; returns whether it is news, which is then passed on.
    ///
    /// A node that has received the claims themselves passes the rumour on all the same; otherwise it would end with
    /// the few that have. A version of another incarnation than the believed one is no news: it is old, or a former
    /// boot's.
    pub fn note_version(&mut self, node: &NodeId, incarnation: u32, version: u64) -> bool {
        let large = self.members.len() > EAGER;
        let news = |member: &Member| member.status.incarnation == incarnation && member.rumoured_version() < version;
        let Some(member) = self.members.get_mut(node).filter(|member| large && news(member)) else { return false };
        member.rumoured = (incarnation, version);
        self.spread(node);
        true
    }

    /// This node's claims changed: in a large cluster everybody is to hear of it by rumour.
    pub fn spread_version(&mut self) {
        if self.members.len() > EAGER {
            let own = self.own.clone();
            self.spread(&own);
        }
    }

    /// Rumours for a datagram, the least sent first.
    pub fn rumours(&mut self) -> Vec<Frame> {
        let mut out = Vec::new();
        for node in self.rumours.take(RUMOURS) {
            if node == self.own {
                let Status { incarnation, flags, version, .. } = self.status;
                out.push(Frame::Rumour { node, incarnation, liveness: Liveness::Alive, flags, version });
            } else if let Some(member) = self.members.get(&node) {
                out.push(member.rumour(node));
            }
        }
        out
    }
}
