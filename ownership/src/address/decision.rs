//! Whether this node acts on an address that it does not have.

use std::time::Duration;

use crate::address::candidates::Rank;
use crate::address::probe::{FEW, MANY};
use crate::address::step::Step;
use crate::address::view::For;
use crate::io::{ClaimReason, Notification};
use crate::model::link::LinkId;
use crate::model::node::NodeId;
use crate::model::spec::AddressSpec;
use crate::model::time::{Time, ms};

/// Between two ranks if nobody has the address.
const RANK: Duration = ms(300);
/// Between two ranks under alarm.
const ALARM_RANK: Duration = ms(100);
/// So many heirs look after the addresses of a silent agent.
const LOOKERS: u32 = 3;

/// What to do about an address that this node does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing.
    None,
    /// Ask the link, and claim if nobody answers.
    Claim(Attempt),
}

/// A claim that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    /// When the link is to be asked.
    pub at: Time,
    pub cause: ClaimReason,
    /// The number of probes.
    pub probes: u8,
    /// The owner is only suspected: the link is asked if it has room, and no more before the alarm.
    pub early: bool,
    /// Who had the address.
    pub from: Option<NodeId>,
}

impl Step<'_, '_> {
    /// Decides about an address that this node does not have.
    pub fn decide(&mut self) -> Decision {
        let now = self.context.now();
        if !self.context.startup.may_begin(now) || self.context.eligibility.stop.is_some() {
            return Decision::None;
        }
        let Some(spec) = self.spec() else { return Decision::None };
        // Somebody alive has it, whoever else also claims it.
        let view = self.context.view();
        if self.context.holdings.is_foreign(self.address) {
            return Decision::None;
        }
        if self.context.claims.rivals(self.address).any(|(node, _)| view.doubted(node, spec.link).is_none()) {
            self.entry.unclaimed_since = None;
            return Decision::None;
        }
        let early = self.is_claimed_by_living(spec.link);
        let purpose = if early { For::Asking } else { For::Claiming };
        let Rank { place, exclusion_ignored } = self.context.view().rank(&spec, purpose);
        // Until the alarm only the first heir asks.
        if early && (place != Some(0) || exclusion_ignored) {
            return Decision::None;
        }
        let reported = std::mem::replace(&mut self.entry.exclusion_ignored, exclusion_ignored);
        if exclusion_ignored && !reported {
            self.context.gossip.out.report(Notification::ExclusionIgnored { address: self.address });
        }
        let Some(rank) = place else { return Decision::None };
        let claimed = self.rival().and_then(|(node, _)| Some((self.context.view().doubted(&node, spec.link)?, node)));
        let owner = claimed.or_else(|| self.unasked_owner_gone(&spec));
        Decision::Claim(match owner {
            // What nobody has may not be wanted any more.
            None if self.context.eligibility.is_stale(self.context.gossip.members) => return Decision::None,
            None => {
                let since = *self.entry.unclaimed_since.get_or_insert(now);
                // Of a member that cannot be asked only its kernel knows whether it has the address.
                let from = self.unasked_owner();
                let probes = if from.is_some() { MANY } else { FEW };
                Attempt { at: since + RANK * rank, cause: ClaimReason::Unclaimed, probes, early, from }
            }
            Some((ClaimReason::AgentSilent, _)) if rank >= LOOKERS => return Decision::None,
            Some((cause, from)) => {
                self.entry.unclaimed_since = None;
                let delay = if cause == ClaimReason::OwnerGone { ALARM_RANK } else { RANK };
                Attempt { at: now + delay * rank, cause, probes: MANY, early, from: Some(from) }
            }
        })
    }

    /// Whether anybody claims the address who need not be assumed gone.
    pub fn is_claimed_by_living(&self, link: LinkId) -> bool {
        let view = self.context.view();
        self.context.claims.rivals(self.address).any(|(node, _)| view.gone(node, link).is_none())
    }

    /// The member that cannot be asked and has the address as `announcing-*` says, if it is silent in every way.
    fn unasked_owner_gone(&self, spec: &AddressSpec) -> Option<(ClaimReason, NodeId)> {
        let node = self.unasked_owner()?;
        self.context.detector.has_alarm(&node, spec.link).then_some((ClaimReason::OwnerGone, node))
    }

    /// Whether this node is the first choice for what it does not have.
    pub fn is_first_choice(&self) -> bool {
        self.entry.spec.as_ref().is_some_and(|spec| self.context.view().rank(spec, For::Claiming).place == Some(0))
    }
}
