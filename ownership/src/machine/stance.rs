//! Candidates for an address, and whether to act on it.

use std::net::IpAddr;

use crate::choice::{Candidates, Contender, Rank, Want};
use crate::event::Fact;
use crate::link::LinkId;
use crate::machine::Machine;
use crate::machine::slot::beats;
use crate::machine::watching::LINK_SILENT;
use crate::node::NodeId;
use crate::probe::{Cause, FEW, LOOK, MANY};
use crate::time::{Time, ms};
use crate::wire::{BLIND, BROKEN, Epoch, Vital};

/// Between two ranks when nobody has the address.
const RANK: std::time::Duration = ms(300);
/// Between two ranks under alarm.
const ALARM_RANK: std::time::Duration = ms(100);
/// So many heirs look after the addresses of a silent agent.
const LOOKERS: u32 = 3;
/// The most looks per second.
const LOOKS: u32 = 1000;

/// What to do about an address that is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stance {
    /// Nothing.
    Leave,
    /// Ask the link at this time, and claim if nobody answers.
    Begin { at: Time, cause: Cause, total: u8, from: Option<NodeId> },
}

impl Machine {
    /// Whether this node may keep what it has.
    pub(super) fn may_stay(&self) -> bool {
        self.selected && self.stop != Some(crate::event::Stop::Leaving) && !self.must_hand_over() && !self.excluded
    }

    /// Our watches are far behind while others' are current.
    fn must_hand_over(&self) -> bool {
        self.members.status.flags & BLIND != 0
            && self.members.iter().any(|(_, member)| member.vital == Vital::Alive && member.is_able())
    }

    /// The candidates. `staying` asks whether an owner may stay: stale watches are no reason to go.
    pub(super) fn candidates(&self, want: &Want, staying: bool) -> Candidates {
        Candidates::new(self.contenders(want, staying), &want.qualified, want.address)
    }

    /// The place of this node among the candidates for what it does not have.
    pub(super) fn rank(&self, want: &Want) -> Rank {
        Rank::new(self.contenders(want, false), &want.qualified, want.address, &self.node)
    }

    fn contenders(&self, want: &Want, staying: bool) -> Vec<Contender> {
        let leases = self.gossip_silent;
        let link = self.links.get(&want.link);
        let mut contenders = Vec::new();
        for (node, member) in self.members.iter() {
            let Some(peer) = member.peer.as_ref().filter(|peer| peer.reaches(want.address)) else { continue };
            let alive = member.vital == Vital::Alive || leases && peer.lease_alive;
            let sense = member.sense(want.link);
            let broken = member.has(BROKEN) && !self.now.is_within(sense.answer, LINK_SILENT);
            let able = alive && member.is_able() && sense.alarm.is_none() && !broken;
            // Of whom nothing was ever heard nothing is known; then it is as we are.
            let excluded = member.is_excluded() || member.heard.is_none() && self.excluded;
            contenders.push(Contender { node: node.clone(), able, excluded });
        }
        if let Some(link) = link.filter(|state| state.link.contains(want.address)) {
            let current =
                if staying { !self.must_hand_over() } else { self.stale_since.is_none_or(|_| !self.is_stale()) };
            let leaving = self.stop == Some(crate::event::Stop::Leaving);
            let able = self.selected && !leaving && current && link.link.carrier && !link.broken;
            contenders.push(Contender { node: self.node.clone(), able, excluded: self.excluded });
        }
        contenders
    }

    const fn is_stale(&self) -> bool {
        self.members.status.flags & crate::wire::STALE != 0
    }

    /// Whether a claimant must be assumed gone, and why.
    fn orphaned(&self, owner: &NodeId, link: LinkId) -> Option<Cause> {
        let Some(member) = self.members.get(owner) else { return Some(Cause::OwnerGone) };
        if member.sense(link).alarm.is_some() {
            Some(Cause::OwnerGone)
        } else if member.vital == Vital::Silent {
            Some(Cause::AgentSilent)
        } else {
            None
        }
    }

    /// The strongest claim of another node.
    pub(super) fn strongest(&self, address: IpAddr) -> Option<(NodeId, Epoch)> {
        let mut best: Option<(&NodeId, Epoch)> = None;
        for (node, epoch) in self.ledger.rivals(address) {
            if best.is_none_or(|(old, old_epoch)| beats((epoch, node), (old_epoch, old), address)) {
                best = Some((node, epoch));
            }
        }
        best.map(|(node, epoch)| (node.clone(), epoch))
    }

    /// Decides about an address that is not ours.
    pub(super) fn stance(&mut self, address: IpAddr) -> Stance {
        let now = self.now;
        if !self.open || now < self.quiet_until || self.stop.is_some() {
            return Stance::Leave;
        }
        let Some(want) = self.slots.get(&address).and_then(|slot| slot.want.clone()) else { return Stance::Leave };
        let owner = self.strongest(address);
        // Somebody alive has it, whoever else also says so.
        let living = |machine: &Self| {
            machine.ledger.rivals(address).any(|(node, _)| machine.orphaned(node, want.link).is_none())
        };
        if owner.is_some() && living(self) {
            if let Some(slot) = self.slots.get_mut(&address) {
                slot.unclaimed = None;
            }
            return Stance::Leave;
        }
        let Rank { place, exclusion_ignored } = self.rank(&want);
        let told =
            self.slots.get_mut(&address).map(|slot| std::mem::replace(&mut slot.exclusion_ignored, exclusion_ignored));
        if exclusion_ignored && told == Some(false) {
            self.tell(Fact::ExclusionIgnored { address });
        }
        let Some(rank) = place else { return Stance::Leave };
        let cause = owner.as_ref().and_then(|(node, _)| self.orphaned(node, want.link));
        let from = owner.map(|(node, _)| node);
        let Some(slot) = self.slots.get_mut(&address) else { return Stance::Leave };
        match cause {
            Some(Cause::AgentSilent) if rank >= LOOKERS => Stance::Leave,
            Some(cause) => {
                slot.unclaimed = None;
                let delay = if cause == Cause::OwnerGone { ALARM_RANK } else { RANK };
                Stance::Begin { at: now + delay * rank, cause, total: MANY, from }
            }
            None => {
                let since = *slot.unclaimed.get_or_insert(now);
                let at = since + RANK * rank;
                Stance::Begin { at, cause: Cause::Unclaimed, total: FEW, from: None }
            }
        }
    }

    /// When to look again at an address that a silent agent's kernel serves: every 250 ms, or less often if there are
    /// very many.
    pub(super) fn look_interval(&self, owner: &NodeId) -> std::time::Duration {
        let many = u32::try_from(self.ledger.of(owner).count()).unwrap_or(u32::MAX);
        LOOK.max(ms(1000) * many / LOOKS)
    }
}
