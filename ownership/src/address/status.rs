//! What people see of an address.

use std::net::IpAddr;
use std::ops::Bound;

use crate::address::state::{Handover, State};
use crate::address::table::Addresses;
use crate::address::view::{For, View};
use crate::claims::Claims;
use crate::model::node::NodeId;
use crate::wire::Epoch;

/// An address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressStatus {
    /// Which.
    pub address: IpAddr,
    /// Who has it.
    pub owner: Option<NodeId>,
    /// The epoch of the owner's claim.
    pub epoch: Epoch,
    /// Who would have it next.
    pub heir: Option<NodeId>,
    /// What this node does about it.
    pub doing: &'static str,
    /// The last thing that happened to it here.
    pub last: &'static str,
}

impl Addresses {
    /// The addresses that are wanted here, in their order, after this one.
    pub fn wanted(&self, after: Option<IpAddr>) -> impl Iterator<Item = IpAddr> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.entries.range((from, Bound::Unbounded));
        entries.filter(|(_, entry)| entry.spec.is_some()).map(|(address, _)| *address)
    }

    /// One address; nothing if it is not wanted here.
    #[must_use]
    pub fn status(&self, address: IpAddr, view: View<'_>, claims: &Claims) -> Option<AddressStatus> {
        let entry = self.entries.get(&address)?;
        let spec = entry.spec.as_ref()?;
        let (owner, epoch) = match (entry.state.owned(), claims.strongest(address)) {
            (Some(claim), _) => (Some(view.members.own().clone()), claim.epoch),
            (None, Some((node, epoch))) => (Some(node.clone()), epoch),
            (None, None) => (None, entry.highest_epoch),
        };
        let candidates = view.candidates(spec, For::Claiming).nodes;
        let heir = candidates.into_iter().find(|node| Some(node) != owner.as_ref());
        let doing = match &entry.state {
            State::Idle if owner.is_some() => "another node has it",
            State::Idle => "nothing: this node is no candidate, or knows no reason to act",
            State::Waiting { .. } => "waits for its turn",
            State::Probing(_) => "asks the link",
            State::Accepted(_) => "takes it over",
            State::Owned(claim) if claim.dispute.contest().is_some() => "holds it, contested",
            State::Owned(claim) => match claim.handover {
                Handover::Offering(_) | Handover::Gone(_) => "hands it over",
                Handover::None | Handover::Retry(_) => "holds it",
            },
        };
        Some(AddressStatus { address, owner, epoch, heir, doing, last: entry.last })
    }
}
