//! Alarms: members that are silent in every way on a link, and those whose addresses this node took over.

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;

use crate::model::link::LinkId;
use crate::model::node::NodeId;
use crate::model::time::Time;

/// An alarm of this node is said again in so many rounds, as long as it stands: a datagram may be lost.
const REPEATS: u8 = 2;

/// An alarm that this node raised by itself.
#[derive(Debug, Clone)]
pub(super) struct OwnAlarm {
    pub node: NodeId,
    pub link: LinkId,
    pub subnet: IpNetwork,
}

/// The alarms that stand, by link.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    raised: BTreeMap<LinkId, BTreeMap<NodeId, Time>>,
    /// Those of this node that are to be said again, and how often.
    own: Vec<(OwnAlarm, u8)>,
    /// Members whose addresses on these links this node took over: it keeps pinging them, so that it notices the end of
    /// a partition at once.
    lost: BTreeMap<NodeId, BTreeSet<LinkId>>,
}

impl Alarms {
    pub const fn new() -> Self {
        Self { raised: BTreeMap::new(), own: Vec::new(), lost: BTreeMap::new() }
    }

    pub fn is_raised(&self, node: &NodeId, link: LinkId) -> bool {
        self.raised.get(&link).is_some_and(|nodes| nodes.contains_key(node))
    }

    /// Raises an alarm; returns whether there was none.
    pub fn raise(&mut self, node: &NodeId, link: LinkId, now: Time) -> bool {
        if self.is_raised(node, link) {
            return false;
        }
        self.raised.entry(link).or_default().insert(node.clone(), now);
        true
    }

    /// Notes an alarm that this node raises by itself.
    pub fn note_own(&mut self, alarm: OwnAlarm) {
        self.own.push((alarm, REPEATS));
    }

    /// The alarms of this node that are to be said again in this round.
    pub fn repeat_own(&mut self) -> Vec<OwnAlarm> {
        let mut own = std::mem::take(&mut self.own);
        own.retain(|(alarm, _)| self.is_raised(&alarm.node, alarm.link));
        let due = own.iter().map(|(alarm, _)| alarm.clone()).collect();
        own.retain_mut(|(_, repeats)| {
            *repeats = repeats.saturating_sub(1);
            *repeats > 0
        });
        self.own = own;
        due
    }

    /// The member answered on a link; returns whether an alarm ended.
    pub fn clear(&mut self, node: &NodeId, link: LinkId) -> bool {
        let cleared = self.raised.get_mut(&link).is_some_and(|nodes| nodes.remove(node).is_some());
        if cleared {
            self.find(node, link);
        }
        cleared
    }

    /// The member answered a question of this time: older alarms end, on whatever link. Returns whether one did.
    pub fn clear_older(&mut self, node: &NodeId, at: Time) -> bool {
        let older = self.raised.iter().filter(|(_, nodes)| nodes.get(node).is_some_and(|alarm| at >= *alarm));
        let older: Vec<_> = older.map(|(link, _)| *link).collect();
        for link in &older {
            self.clear(node, *link);
        }
        !older.is_empty()
    }

    /// Ends all alarms, after a pause of this node itself.
    pub fn clear_all(&mut self) {
        self.raised.clear();
    }

    /// Notes that this node took over an address of the member on a link.
    pub fn lose(&mut self, node: &NodeId, link: LinkId) {
        self.lost.entry(node.clone()).or_default().insert(link);
    }

    fn find(&mut self, node: &NodeId, link: LinkId) {
        if let Some(links) = self.lost.get_mut(node) {
            links.remove(&link);
            if links.is_empty() {
                self.lost.remove(node);
            }
        }
    }

    /// Members whose addresses this node took over.
    pub fn lost(&self) -> impl Iterator<Item = &NodeId> {
        self.lost.keys()
    }

    pub fn forget(&mut self, node: &NodeId) {
        self.lost.remove(node);
        for nodes in self.raised.values_mut() {
            nodes.remove(node);
        }
    }
}
