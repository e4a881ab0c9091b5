//! Whom this node watches.
//!
//! On each subnet the members form a ring by their place in the order; each is watched by the next [`WATCHERS`] live
//! ones. Seen from one node: walk back from its own place until so many live ones were passed.

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
use crate::wire::Liveness;

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
}

/// Whom this node watches on a link; suspicions of the present watches go on.
pub(super) fn watches(id: LinkId, link: &Link, members: &Membership, alarms: &Alarms, present: &[Watch]) -> Vec<Watch> {
    let mut ring = Vec::new();
    let mut orders = BTreeMap::new();
    for (node, member) in members.iter().filter(|(_, member)| member.heard.is_some()) {
        if let Some(place) = member.peer.as_ref().and_then(|peer| peer.place_on(link)) {
            let alive = member.liveness == Liveness::Alive && !alarms.is_raised(node, id);
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
        });
    }
    watches
}
