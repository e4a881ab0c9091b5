//! One member, as this node knows it.

use std::net::SocketAddr;

use crate::model::link::Peer;
use crate::model::node::NodeId;
use crate::model::time::Time;
use crate::wire::{EXCLUDED, Frame, LEAVING, Liveness, SELECTED, STALE, Status, VERSION};

/// A member.
#[derive(Debug, Clone)]
pub struct Member {
    /// What its Lease says; nothing while only its datagrams are known.
    pub peer: Option<Peer>,
    /// The status in its last datagram; incarnation and flags may come from a later rumour.
    pub status: Status,
    /// What is believed of it.
    pub liveness: Liveness,
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
    /// The newest version of its claims that came by rumour, after the incarnation. Only such a pair is passed on: the
    /// version in its own datagram may be a former boot's, while the incarnation is the new one's already.
    pub(super) rumoured: (u32, u64),
    /// The incarnation in its last datagram.
    pub(super) incarnation: u32,
    /// Which of its endpoints is used.
    pub endpoint: usize,
}

impl Member {
    pub(super) const fn new(now: Time) -> Self {
        Self {
            peer: None,
            status: Status { incarnation: 0, flags: SELECTED, version: 0, digest: 0 },
            liveness: Liveness::Silent,
            since: now,
            ack: None,
            heard: None,
            indirect: None,
            from: None,
            rumoured: (0, 0),
            incarnation: 0,
            endpoint: 0,
        }
    }

    /// Whether its agent lives and speaks a version of the wire that this one does not: its Lease is valid, and it does
    /// not answer the last pings. It counts at once, not when the member is believed silent: an agent that was replaced by
    /// one of another release has not stopped serving.
    #[must_use]
    pub fn speaks_other_version(&self) -> bool {
        let other = |peer: &Peer| peer.lease_alive && peer.wire_version != u16::from(VERSION);
        self.liveness != Liveness::Alive && self.peer.as_ref().is_some_and(other)
    }

    /// Whether its agent lives, as far as this node can know.
    #[must_use]
    pub fn lives(&self) -> bool {
        self.liveness == Liveness::Alive || self.speaks_other_version()
    }

    /// Whether any of the flags is set.
    #[must_use]
    pub const fn has(&self, flags: u8) -> bool {
        self.status.flags & flags != 0
    }

    /// Whether it may take new claims, exclusion left aside.
    #[must_use]
    pub const fn is_able(&self) -> bool {
        self.may_own() && !self.has(STALE)
    }

    /// Whether it may own addresses, exclusion and the age of what it knows left aside.
    #[must_use]
    pub const fn may_own(&self) -> bool {
        self.has(SELECTED) && !self.has(LEAVING)
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

    /// The version of its claims by rumour; 0 if no rumour gave one for this incarnation.
    #[must_use]
    pub const fn rumoured_version(&self) -> u64 {
        let (incarnation, version) = self.rumoured;
        if incarnation == self.status.incarnation { version } else { 0 }
    }

    /// Whether rumours are of a higher incarnation than the member's own datagrams, perhaps of another boot.
    #[must_use]
    pub const fn is_ahead_by_rumour(&self) -> bool {
        self.status.incarnation > self.incarnation
    }

    /// What is passed on of it.
    pub(super) fn rumour(&self, node: NodeId) -> Frame {
        let Status { incarnation, flags, .. } = self.status;
        Frame::Rumour { node, incarnation, liveness: self.liveness, flags, version: self.rumoured_version() }
    }

    /// The last sign, by anybody, that its agent answers.
    #[must_use]
    pub fn last_ack(&self) -> Option<Time> {
        self.ack.max(self.indirect)
    }
}

/// A member is alive, suspected, or silent from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LivenessChange {
    /// The member.
    pub node: NodeId,
    /// What is believed of it.
    pub liveness: Liveness,
}
