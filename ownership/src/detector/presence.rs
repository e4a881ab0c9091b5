//! What was heard of members on the links of this node.

use std::collections::BTreeMap;

use crate::model::link::LinkId;
use crate::model::node::{Mac, NodeId};
use crate::model::time::Time;

/// What was heard of a member on one link.
#[derive(Debug, Clone, Copy, Default)]
pub struct Presence {
    /// When the member's own address last answered there.
    pub answer: Option<Time>,
    /// The hardware address that it answered with.
    pub mac: Option<Mac>,
    /// When another member last reported an answer there.
    pub indirect: Option<Time>,
}

/// What was heard of all members.
#[derive(Debug, Default)]
pub(super) struct Presences(BTreeMap<NodeId, BTreeMap<LinkId, Presence>>);

impl Presences {
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub fn get(&self, node: &NodeId, link: LinkId) -> Presence {
        self.0.get(node).and_then(|links| links.get(&link)).copied().unwrap_or_default()
    }

    /// What was heard of a member on a link, to be changed.
    pub fn entry(&mut self, node: &NodeId, link: LinkId) -> &mut Presence {
        self.0.entry(node.clone()).or_default().entry(link).or_default()
    }

    /// What was heard of a member on each link where it matters.
    pub fn of(&self, node: &NodeId) -> impl Iterator<Item = &Presence> {
        self.0.get(node).into_iter().flat_map(BTreeMap::values)
    }

    /// Another member heard this one on a link; nobody says on which.
    pub fn heard_indirectly(&mut self, node: &NodeId, now: Time) {
        for presence in self.0.get_mut(node).into_iter().flat_map(BTreeMap::values_mut) {
            presence.indirect = Some(now);
        }
    }

    /// Hardware addresses of a member that are not among these are forgotten.
    pub fn keep_macs(&mut self, node: &NodeId, macs: &[Mac]) {
        for presence in self.0.get_mut(node).into_iter().flat_map(BTreeMap::values_mut) {
            presence.mac = presence.mac.filter(|mac| macs.contains(mac));
        }
    }

    pub fn forget(&mut self, node: &NodeId) {
        self.0.remove(node);
    }
}
