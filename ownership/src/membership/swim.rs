//! SWIM's failure detection: who is pinged when, and when a silent member is suspected and given up.
//!
//! Every [`PERIOD`] one member, in shuffled order, is pinged. If it is silent for [`DIRECT`], three others are asked to
//! ping it. If it is silent until the end of the period, it is suspected; after [`GRACE`] and half a second per doubling
//! of the cluster it is believed silent.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::membership::member::{LivenessChange, Member};
use crate::model::node::NodeId;
use crate::model::rng::Rng;
use crate::model::time::{Time, ms};
use crate::wire::Liveness;

/// One member is pinged per period.
pub const PERIOD: Duration = ms(500);
/// After this long without an answer others are asked.
pub const DIRECT: Duration = ms(200);
/// How long a suspicion lasts before the member is believed silent.
pub const GRACE: Duration = ms(2000);
/// How many others are asked to ping a member.
pub const HELPERS: usize = 3;

#[derive(Debug)]
struct OpenPing {
    target: NodeId,
    sent: Time,
    /// Others are asked already.
    helped: bool,
}

/// What a period brings.
#[derive(Debug, Default)]
pub struct Tick {
    /// Members to ping.
    pub ping: Vec<NodeId>,
    /// Members to be asked, each with the member that it is to ping.
    pub ask: Vec<(NodeId, NodeId)>,
    /// Members that are suspected or believed silent from now on.
    pub changes: Vec<LivenessChange>,
}

/// The pings of this node.
#[derive(Debug)]
pub(super) struct Swim {
    round: Vec<NodeId>,
    open: Option<OpenPing>,
    /// When the next period begins.
    pub next: Time,
}

impl Swim {
    pub const fn new(now: Time) -> Self {
        Self { round: Vec::new(), open: None, next: now }
    }

    /// A ping to a member, sent at this time or before, was answered.
    pub fn answered(&mut self, node: &NodeId, sent: Time) {
        if self.open.as_ref().is_some_and(|open| open.target == *node && open.sent <= sent) {
            self.open = None;
        }
    }

    /// Forgets the open ping to a member.
    pub fn close(&mut self, node: &NodeId) {
        if self.open.as_ref().is_some_and(|open| open.target == *node) {
            self.open = None;
        }
    }

    /// Forgets the open ping.
    pub fn reset(&mut self) {
        self.open = None;
    }

    /// When [`Swim::tick`] is due.
    pub fn deadline(&self) -> Time {
        match &self.open {
            Some(open) if !open.helped => self.next.min(open.sent + DIRECT),
            _ => self.next,
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, members: &mut BTreeMap<NodeId, Member>, now: Time, rng: &mut Rng) -> Tick {
        let mut tick = Tick::default();
        if let Some(open) = self.open.as_mut().filter(|open| !open.helped && now >= open.sent + DIRECT) {
            open.helped = true;
            let helpers = helpers(members, &open.target, rng);
            tick.ask = helpers.into_iter().map(|helper| (helper, open.target.clone())).collect();
        }
        if now < self.next {
            return tick;
        }
        self.next = now + PERIOD;
        if let Some(open) = self.open.take() {
            tick.changes.extend(suspect(members, &open.target, now));
        }
        tick.changes.extend(give_up(members, now));
        if let Some(target) = self.next_target(members, rng) {
            if members.get(&target).is_some_and(|member| member.liveness == Liveness::Alive) {
                self.open = Some(OpenPing { target: target.clone(), sent: now, helped: false });
            }
            tick.ping.push(target);
        }
        tick
    }

    fn next_target(&mut self, members: &BTreeMap<NodeId, Member>, rng: &mut Rng) -> Option<NodeId> {
        while let Some(node) = self.round.pop() {
            if members.contains_key(&node) {
                return Some(node);
            }
        }
        self.round = members.keys().cloned().collect();
        rng.shuffle(&mut self.round);
        self.round.pop()
    }
}

/// Suspects a living member that did not answer within the period.
fn suspect(members: &mut BTreeMap<NodeId, Member>, node: &NodeId, now: Time) -> Option<LivenessChange> {
    let member = members.get_mut(node).filter(|member| member.liveness == Liveness::Alive)?;
    if now.is_within(member.last_ack(), PERIOD) {
        return None;
    }
    member.liveness = Liveness::Suspect;
    member.since = now;
    Some(LivenessChange { node: node.clone(), liveness: Liveness::Suspect })
}

/// Believes those silent whose suspicion is old.
fn give_up(members: &mut BTreeMap<NodeId, Member>, now: Time) -> Vec<LivenessChange> {
    let grace = GRACE + PERIOD * members.len().max(1).ilog2();
    let overdue = members
        .iter_mut()
        .filter(|(_, member)| member.liveness == Liveness::Suspect && now.since(member.since) >= grace);
    overdue
        .map(|(node, member)| {
            member.liveness = Liveness::Silent;
            member.since = now;
            LivenessChange { node: node.clone(), liveness: Liveness::Silent }
        })
        .collect()
}

/// Some living members other than the target, at random.
pub(super) fn helpers(members: &BTreeMap<NodeId, Member>, target: &NodeId, rng: &mut Rng) -> Vec<NodeId> {
    let live = |member: &Member| member.liveness == Liveness::Alive;
    let mut nodes: Vec<_> =
        members.iter().filter(|(node, m)| *node != target && live(m)).map(|(node, _)| node.clone()).collect();
    rng.shuffle(&mut nodes);
    nodes.truncate(HELPERS);
    nodes
}
