//! One address: what is wanted, what is so, what is under way.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::choice::Want;
use crate::node::NodeId;
use crate::probe::Probe;
use crate::time::Time;
use crate::wire::{Epoch, Move};

/// An address that this node knows of.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub want: Option<Want>,
    /// Whether it is in our kernel, as far as we know.
    pub in_kernel: bool,
    pub state: State,
    /// The highest epoch ever seen.
    pub seen: Epoch,
    /// Since when nobody claims it.
    pub unclaimed: Option<Time>,
    /// Nothing is begun before this time: after a contention, a foreign host, a refusal of the kernel.
    pub not_before: Option<Time>,
    /// It was told that exclusion is ignored for it.
    pub exclusion_ignored: bool,
    /// Consecutive refusals by a foreign host.
    pub conflicts: u32,
    /// The value of the rebalance annotation that was dealt with.
    pub rebalanced: u64,
    /// When it is next due in the queue.
    pub wake: Option<Time>,
    /// Who had it before us, or to whom it went.
    pub other: Option<NodeId>,
    /// The last thing that happened to it here, for people.
    pub last: &'static str,
}

/// What is under way.
#[derive(Debug, Default)]
pub(super) enum State {
    /// Another node has it, or we may not.
    #[default]
    Idle,
    /// We act at this time, if nobody else did.
    Waiting(Time),
    /// We ask the link.
    Probing(Probe),
    /// It is ours.
    Held(Held),
    /// We take it when its owner says go.
    Accepted(Accepted),
}

/// It is ours.
#[derive(Debug)]
pub(super) struct Held {
    pub epoch: Epoch,
    /// When it became ours: announcements count from here.
    pub since: Time,
    /// How many announcements were made.
    pub announced: usize,
    pub announce_at: Option<Time>,
    pub contest: Option<Contest>,
    pub departure: Option<Departure>,
    /// When a weaker living rival is told again.
    pub tell_at: Option<Time>,
    /// When moving is tried again.
    pub retry_at: Option<Time>,
    pub defended: Option<Time>,
}

/// A stronger claim was seen: is its owner there?
#[derive(Debug)]
pub(super) struct Contest {
    pub rival: NodeId,
    pub epoch: Epoch,
    pub until: Time,
    pub next: Time,
}

/// A planned move away.
#[derive(Debug)]
pub(super) struct Departure {
    pub to: NodeId,
    pub id: u64,
    pub tried: BTreeSet<NodeId>,
    pub since: Time,
    pub next: Time,
    /// The address is out of our kernel, and the successor told.
    pub gone: bool,
}

/// A planned move to us.
#[derive(Debug)]
pub(super) struct Accepted {
    pub from: NodeId,
    pub step: Move,
    pub until: Time,
}

impl Held {
    pub fn new(epoch: Epoch, now: Time, announce: bool) -> Self {
        Self {
            epoch,
            since: now,
            announced: 0,
            announce_at: announce.then_some(now),
            contest: None,
            departure: None,
            tell_at: None,
            retry_at: None,
            defended: None,
        }
    }

    /// Begins the announcements anew.
    pub const fn announce_again(&mut self, now: Time) {
        self.since = now;
        self.announced = 0;
        self.announce_at = Some(now);
    }

    pub fn is_gone(&self) -> bool {
        self.departure.as_ref().is_some_and(|departure| departure.gone)
    }
}

impl Slot {
    pub fn deadline(&self) -> Option<Time> {
        match &self.state {
            State::Idle => None,
            State::Waiting(until) => Some(*until),
            State::Probing(probe) => Some(probe.next),
            State::Accepted(accepted) => Some(accepted.until),
            State::Held(held) => {
                let contest = held.contest.as_ref().map(|contest| contest.next);
                let departure = held.departure.as_ref().map(|departure| departure.next);
                [held.announce_at, contest, departure, held.tell_at, held.retry_at].into_iter().flatten().min()
            }
        }
    }

    pub const fn held(&self) -> Option<&Held> {
        if let State::Held(held) = &self.state { Some(held) } else { None }
    }
}

/// Whether a claim beats another: by epoch, then by the order of choice.
pub(super) fn beats(left: (Epoch, &NodeId), right: (Epoch, &NodeId), address: IpAddr) -> bool {
    left.0 > right.0 || left.0 == right.0 && crate::order::precedes(left.1, right.1, &address)
}
