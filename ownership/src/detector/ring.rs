//! Whom this node watches.
//!
//! On each subnet the members form a ring by their place in the order; each is watched by the next [`WATCHERS`] live
//! ones. Seen from one node: walk back from its own place until so many live ones were passed. A member that speaks
//! another version is watched by the questions on the link alone.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::detector::alarms::Alarms;
use crate::membership::Membership;
use crate::model::link::{Link, LinkId};
use crate::model::node::NodeId;
use crate::model::order::Order;
use crate::model::time::Time;

/// So many live nodes watch a member.
const WATCHERS: usize = 3;

/// A member that is watched on a link.
#[derive(Debug)]
pub(super) struct Watch {
    pub node: NodeId,
    pub link: LinkId,
    /// The member's own address there.
    pub address: IpAddr,
    pub subnet: IpNetwork,
    /// Since when the member is suspected.
    pub suspected: Option<Time>,
    /// When it was last asked on the link.
    pub asked: Option<Time>,
    /// Since when it is asked there without an answer.
    pub unanswered: Option<Time>,
}

/// Whom this node watches on a link; suspicions of the present watches go on.
pub(super) fn watches(id: LinkId, link: &Link, members: &Membership, alarms: &Alarms, present: &[Watch]) -> Vec<Watch> {
    let mut ring = Vec::new();
    let mut orders = BTreeMap::new();
    for (node, member) in members.iter().filter(|(_, member)| member.heard.is_some() || member.speaks_other_version()) {
        if let Some(place) = member.peer.as_ref().and_then(|peer| peer.place_on(link)) {
            let alive = member.lives() && !alarms.is_raised(node, id);
            let (order, own) = orders.entry(place.subnet).or_insert_with(|| {
                let order = Order::new(&place.subnet);
                let own = order.place(members.own());
                (order, own)
            });
            ring.push((order.place(node), *own, node, place, alive));
        }
    }
    ring.sort_by_key(|(at, ..)| Reverse(*at));
    let split = ring.iter().position(|(at, own, ..)| at < own).unwrap_or(ring.len());
    ring.rotate_left(split);
    let mut watches = Vec::new();
    let mut passed = 0;
    for (_, _, node, place, alive) in ring {
        if passed >= WATCHERS {
            break;
        }
        passed += usize::from(alive);
        let old = present.iter().find(|watch| watch.node == *node && watch.link == id);
        watches.push(Watch {
            node: node.clone(),
            link: id,
            address: place.address,
            subnet: place.subnet,
            suspected: old.and_then(|old| old.suspected),
            asked: old.and_then(|old| old.asked),
            unanswered: old.and_then(|old| old.unanswered),
        });
    }
    watches
}
