//! Members, links and this node as the choice of an owner sees them.

use crate::address::candidates::{Candidates, Contender, Rank};
use crate::detector::Detector;
use crate::io::ClaimReason;
use crate::membership::Membership;
use crate::model::link::LinkId;
use crate::model::node::NodeId;
use crate::model::spec::AddressSpec;
use crate::model::time::Time;
use crate::this_node::Eligibility;
use crate::wire::{BROKEN, Liveness, STALE};

/// Whether candidates are sought for an address that has an owner here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// This node has the address: stale watches are no reason to give it up.
    Keeping,
    /// This node does not have it.
    Claiming,
    /// As before, and the owner is suspected: who asks the link meanwhile. Whoever is suspected does not.
    Asking,
}

/// What a choice among members needs.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Now.
    pub now: Time,
    /// The members.
    pub members: &'a Membership,
    /// Links, and what was heard there.
    pub detector: &'a Detector,
    /// What this node may do.
    pub eligibility: &'a Eligibility,
}

impl View<'_> {
    /// The candidates for an address.
    #[must_use]
    pub fn candidates(&self, spec: &AddressSpec, purpose: For) -> Candidates {
        Candidates::new(self.contenders(spec, purpose), &spec.qualified, spec.address)
    }

    /// The place of this node among the candidates for what it does not have.
    #[must_use]
    pub fn rank(&self, spec: &AddressSpec, purpose: For) -> Rank {
        Rank::new(self.contenders(spec, purpose), &spec.qualified, spec.address, self.members.own())
    }

    fn contenders(&self, spec: &AddressSpec, purpose: For) -> Vec<Contender> {
        let by_lease = self.members.is_gossip_silent();
        let mut contenders = Vec::new();
        for (node, member) in self.members.iter() {
            let Some(peer) = member.peer.as_ref().filter(|peer| peer.reaches(spec.address)) else { continue };
            // A member that speaks another version may claim, and cannot be offered anything.
            let other = purpose != For::Keeping && member.speaks_other_version();
            let alive = member.liveness == Liveness::Alive || by_lease && peer.lease_alive || other;
            let able = alive
                && (purpose != For::Keeping && member.may_own() || member.is_able())
                && !self.detector.has_alarm(node, spec.link)
                && !(purpose == For::Asking && self.detector.is_suspected(node, spec.link))
                && !(member.has(BROKEN) && self.detector.is_silent_on(node, spec.link, self.now));
            // Of a member that was never heard nothing is known; it counts as excluded if this node is. One that speaks
            // another version serves what this node is excluded from.
            let unknown = member.heard.is_none() && !other;
            let excluded = member.is_excluded() || unknown && self.eligibility.excluded;
            let stale = member.has(STALE);
            contenders.push(Contender { node: node.clone(), able, stale, excluded });
        }
        if let Some(link) = self.detector.link(spec.link).filter(|state| state.link.contains(spec.address)) {
            let may = match purpose {
                For::Keeping => self.eligibility.may_keep(self.members),
                For::Claiming | For::Asking => self.eligibility.may_claim(),
            };
            let able = may && link.link.carrier && !link.broken;
            let stale = purpose != For::Keeping && self.eligibility.is_stale(self.members);
            let (node, excluded) = (self.members.own().clone(), self.eligibility.excluded);
            contenders.push(Contender { node, able, stale, excluded });
        }
        contenders
    }

    /// Why a claimant must be assumed gone; nothing if it must not.
    #[must_use]
    pub fn gone(&self, owner: &NodeId, link: LinkId) -> Option<ClaimReason> {
        match self.members.get(owner) {
            None => Some(ClaimReason::OwnerGone),
            Some(_) if self.detector.has_alarm(owner, link) => Some(ClaimReason::OwnerGone),
            Some(member) if member.liveness == Liveness::Silent => Some(ClaimReason::AgentSilent),
            Some(_) => None,
        }
    }

    /// Why a claimant is assumed gone, or will be if nothing contradicts: then the link may be asked, and no more.
    #[must_use]
    pub fn doubted(&self, owner: &NodeId, link: LinkId) -> Option<ClaimReason> {
        let suspected = self.detector.is_suspected(owner, link).then_some(ClaimReason::OwnerGone);
        self.gone(owner, link).or(suspected)
    }
}
