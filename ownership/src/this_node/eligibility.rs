//! Whether this node may claim addresses, and keep those it has.

use std::time::Duration;

use crate::io::Stop;
use crate::membership::Membership;
use crate::model::time::{Time, ms};
use crate::wire::{BLIND, BROKEN, EXCLUDED, LEAVING, Liveness, SELECTED, STALE};

/// Watches of the API that are behind for so long: a candidate only for what an owner that is gone had, and only if all
/// others are behind too.
const STALE_AFTER: Duration = ms(10_000);
/// Watches of the API that are behind for so long while those of others are current: hand over.
const BLIND_AFTER: Duration = ms(30_000);

/// What decides whether this node may own addresses.
#[derive(Debug)]
pub struct Eligibility {
    /// An LBNodeAgent selects this node.
    pub selected: bool,
    /// This node carries the exclusion label.
    pub excluded: bool,
    /// How the agent stops, once it does.
    pub stop: Option<Stop>,
    /// Since when the watches of the API are behind.
    stale_since: Option<Time>,
}

impl Default for Eligibility {
    fn default() -> Self {
        Self { selected: true, excluded: false, stop: None, stale_since: None }
    }
}

impl Eligibility {
    /// Whether the watches of the API are current, from now on.
    pub fn set_current(&mut self, current: bool, now: Time) {
        self.stale_since = if current { None } else { self.stale_since.or(Some(now)) };
    }

    /// Whether the watches of the API are current.
    #[must_use]
    pub const fn is_current(&self) -> bool {
        self.stale_since.is_none()
    }

    /// Whether the node leaves.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.stop == Some(Stop::Leaving)
    }

    /// What this node says of itself to others.
    #[must_use]
    pub fn flags(&self, has_broken_link: bool, now: Time) -> u8 {
        let stale = self.stale_since.map(|since| now.since(since)).unwrap_or_default();
        let flags = [
            (self.selected, SELECTED),
            (self.excluded, EXCLUDED),
            (stale >= STALE_AFTER, STALE),
            (stale >= BLIND_AFTER, BLIND),
            (self.is_leaving(), LEAVING),
            (has_broken_link, BROKEN),
        ];
        flags.into_iter().filter(|(set, _)| *set).fold(0, |flags, (_, flag)| flags | flag)
    }

    /// Whether this node is a candidate for what it does not have: exclusion, links and the age of what it knows left aside.
    #[must_use]
    pub fn may_claim(&self) -> bool {
        self.selected && !self.is_leaving()
    }

    /// Whether its watches of the API are so far behind that others come first.
    #[must_use]
    pub const fn is_stale(&self, members: &Membership) -> bool {
        self.stale_since.is_some() && members.status.flags & STALE != 0
    }

    /// Whether this node is a candidate for what it has, exclusion and links left aside.
    #[must_use]
    pub fn may_keep(&self, members: &Membership) -> bool {
        self.selected && !self.is_leaving() && !Self::must_hand_over(members)
    }

    /// Whether this node may keep what it has, whoever else could take it.
    #[must_use]
    pub fn keeps_all(&self, members: &Membership) -> bool {
        self.may_keep(members) && !self.excluded
    }

    /// Whether the watches of this node are far behind while those of others are current.
    fn must_hand_over(members: &Membership) -> bool {
        members.status.flags & BLIND != 0
            && members.iter().any(|(_, member)| member.liveness == Liveness::Alive && member.is_able())
    }
}
