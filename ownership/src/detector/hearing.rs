//! Whether this node hears: a deaf node must not claim.
//!
//! Hearing means an answer to a question of this node on that link. What merely arrives would also arrive at a node that
//! cannot send. Witnesses are live members, the gateways, and hosts that lately asked for something. A link without any
//! witness has nobody who could answer this node, and nobody who is served either; as soon as a client asks, it is a
//! witness. A gateway that has not answered once since the link came up is a route to nowhere, and no witness either.
//! There is one exception: if nobody at all has answered and some member should, it may be the switch that does not
//! forward yet (spanning tree).

use std::net::IpAddr;
use std::time::Duration;

use crate::detector::detector::Detector;
use crate::detector::link_state::LinkState;
use crate::io::Notification;
use crate::membership::{Gossip, Member, Membership};
use crate::model::link::LinkId;
use crate::model::node::NodeId;
use crate::model::time::{Time, ms};

/// A link with carrier for so long and no witness at all counts as heard.
const ALONE: Duration = ms(1000);
/// A gateway that never answered counts as a witness for so long after the link came up.
const GATEWAY: Duration = ms(3000);
/// Witnesses are not asked more often than this,
const ASK_INTERVAL: Duration = ms(10);
/// and if none has answered for [`ALONE`], not more often than this: up to four questions go to everybody on the link.
const ASK_SELDOM: Duration = ms(400);
/// So many gateways, and as many hosts, are asked at a time.
const HOSTS: usize = 2;
/// So many members are asked at a time.
const MEMBERS: usize = 3;

impl Detector {
    /// Asks on a link whether an own address is there: a gateway's, a host's or a member's.
    pub fn reach(&self, link: LinkId, target: IpAddr, member: Option<&NodeId>, gossip: &mut Gossip<'_>) {
        let to = member.and_then(|node| self.presence(node, link).mac);
        gossip.out.reach(link, target, to);
    }

    /// As [`Detector::reach`], once in so long; returns whether the member is asked now.
    pub fn reach_once(
        &mut self,
        link: LinkId,
        target: IpAddr,
        member: &NodeId,
        interval: Duration,
        gossip: &mut Gossip<'_>,
    ) -> bool {
        let may = self.links.get_mut(&link).is_some_and(|state| state.may_reach(target, interval, gossip.now));
        if may {
            self.reach(link, target, Some(member), gossip);
        }
        may
    }

    /// Asks some witnesses on a link, all but this member.
    pub fn ask_witnesses(&mut self, id: LinkId, except: Option<&NodeId>, gossip: &mut Gossip<'_>) {
        let now = gossip.now;
        let Some(state) = self.links.get_mut(&id) else { return };
        let in_vain = state.unanswered.is_some_and(|since| now.since(since) >= ALONE);
        if now.is_within(state.asked, if in_vain { ASK_SELDOM } else { ASK_INTERVAL }) {
            return;
        }
        state.asked = Some(now);
        state.unanswered = state.unanswered.or(Some(now));
        let mut targets: Vec<_> = state.link.gateways.iter().take(HOSTS).copied().collect();
        targets.extend(state.witnesses(now).take(HOSTS));
        for target in targets {
            gossip.out.reach(id, target, None);
        }
        let mut members = gossip.members.neighbours(&state.link);
        members.retain(|(node, _)| Some(node) != except);
        gossip.rng.shuffle(&mut members);
        for (node, address) in members.into_iter().take(MEMBERS) {
            self.reach(id, address, Some(&node), gossip);
        }
    }

    /// Whether somebody answered this node on the link lately, or nobody is there who could. A link that stays silent is
    /// reported once.
    pub fn hears(&mut self, id: LinkId, within: Duration, gossip: &mut Gossip<'_>) -> bool {
        let now = gossip.now;
        let Some(state) = self.links.get_mut(&id) else { return false };
        if now.is_within(state.answer, within) || state.is_alone(gossip.members, now) {
            return true;
        }
        if !state.deaf_reported && now.since(state.since) >= ALONE {
            state.deaf_reported = true;
            gossip.out.report(Notification::Deaf { link: id });
        }
        false
    }
}

impl LinkState {
    /// Whether nobody is there who could answer, and carrier has been there for a while.
    fn is_alone(&self, members: &Membership, now: Time) -> bool {
        let expected = |member: &Member| {
            let peer = member.peer.as_ref();
            // A member that was never heard since the start and whose Lease has run out is no witness.
            let expected = member.heard.is_some() || peer.is_some_and(|peer| peer.lease_alive);
            expected && peer.is_some_and(|peer| peer.place_on(&self.link).is_some())
        };
        let known = members.iter().filter(|(_, member)| expected(member)).count();
        let up = now.since(self.since);
        let nowhere = up >= GATEWAY && !self.gateway_answered && (self.answer.is_some() || known == 0);
        let gateway = !self.link.gateways.is_empty() && !nowhere;
        let witness = self.witnesses(now).next().is_some();
        let lone = !witness && !gateway && known <= 1;
        let answered = now.is_within(self.answer, ALONE) || !members.is_lonely(now, ALONE);
        lone && self.link.carrier && up >= ALONE && !answered
    }
}
