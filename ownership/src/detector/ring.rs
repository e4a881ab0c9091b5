//! Whom this node watches.
//!
//! On each subnet the members form a ring by their place in the order; each is watched by the next [`WATCHERS`] live
//! ones. Seen from one node: walk back from its own place until so many live ones were passed. A member that speaks
//! another version is watched by the questions on the link alone, and so are all while gossip is silent altogether.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::detector::alarms::Alarms;
use crate::membership::{Member, Membership};
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
    /// When everybody was last asked for it there.
    pub asked_all: Option<Time>,
}

/// A member of a ring.
struct Candidate<'a> {
    /// Its place in the order.
    at: [u8; 32],
    node: &'a NodeId,
    address: IpAddr,
    alive: bool,
}

/// Whom this node watches on a link; suspicions of the present watches go on.
pub(super) fn watches(id: LinkId, link: &Link, members: &Membership, alarms: &Alarms, present: &[Watch]) -> Vec<Watch> {
    // While gossip is silent altogether, Leases say who is there.
    let leased =
        |member: &Member| members.is_gossip_silent() && member.peer.as_ref().is_some_and(|peer| peer.lease_alive);
    let known = |member: &Member| member.heard.is_some() || member.speaks_other_version() || leased(member);
    let mut rings: BTreeMap<IpNetwork, (Order, Vec<Candidate<'_>>)> = BTreeMap::new();
    for (node, member) in members.iter().filter(|(_, member)| known(member)) {
        let place = member.peer.as_ref().and_then(|peer| peer.place_on(link));
        if let Some((place, subnet)) = place.and_then(|place| Some((place, link.shared(&place)?))) {
            let (order, ring) = rings.entry(subnet).or_insert_with(|| (Order::new(&subnet), Vec::new()));
            let alive = (member.lives() || leased(member)) && !alarms.is_raised(node, id);
            ring.push(Candidate { at: order.place(node), node, address: place.address, alive });
        }
    }
    let mut watches = Vec::new();
    for (subnet, (order, mut ring)) in rings {
        let own = order.place(members.own());
        ring.sort_by_key(|candidate| Reverse(candidate.at));
        let split = ring.iter().position(|candidate| candidate.at < own).unwrap_or(ring.len());
        ring.rotate_left(split);
        let mut passed = 0;
        for Candidate { node, address, alive, .. } in ring {
            if passed >= WATCHERS {
                break;
            }
            passed += usize::from(alive);
            let old = present.iter().find(|watch| watch.node == *node && watch.link == id);
            watches.push(Watch {
                node: node.clone(),
                link: id,
                address,
                subnet,
                suspected: old.and_then(|old| old.suspected),
                asked: old.and_then(|old| old.asked),
                unanswered: old.and_then(|old| old.unanswered),
                asked_all: old.and_then(|old| old.asked_all),
            });
        }
    }
    watches
}
