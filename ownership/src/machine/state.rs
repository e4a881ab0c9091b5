//! What `/state` shows.

use std::net::IpAddr;
use std::ops::Bound;
use std::time::Duration;

use crate::machine::Machine;
use crate::machine::slot::State;
use crate::node::NodeId;
use crate::wire::{Epoch, Vital};

/// Everything that people ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The members, this node left out.
    pub members: Vec<MemberState>,
    /// Datagrams refused, by reason.
    pub refused: Vec<(crate::envelope::Refusal, u64)>,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberState {
    /// Its name.
    pub node: NodeId,
    /// What is believed of it.
    pub vital: Vital,
    /// How long ago it last answered us.
    pub answered: Option<Duration>,
    /// Whether anything was ever heard of it: without, its flags are a guess.
    pub heard: bool,
    /// Whether its Lease is valid.
    pub lease_alive: bool,
    /// How many claims of it are known.
    pub claims: usize,
    /// Its flags ([`crate::wire::SELECTED`] and so on).
    pub flags: u8,
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressState {
    /// Which.
    pub address: IpAddr,
    /// Who has it.
    pub owner: Option<NodeId>,
    /// By which epoch.
    pub epoch: Epoch,
    /// Who would have it next.
    pub heir: Option<NodeId>,
    /// What this node does about it.
    pub doing: &'static str,
    /// The last thing that happened to it here.
    pub last: &'static str,
}

impl Machine {
    /// A picture of now; the addresses are shown by [`Machine::addresses`].
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let members = self.member_states().collect();
        let refused = self.opener.refused.iter().map(|(refusal, count)| (*refusal, *count)).collect();
        Snapshot { members, refused }
    }

    /// Some addresses that are wanted here, in their order, after this one. Each costs a sort of the members, so an
    /// edge that must not be late asks for some at a time.
    pub fn addresses(&self, after: Option<IpAddr>) -> impl Iterator<Item = AddressState> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.slots.range((from, Bound::Unbounded)).filter_map(|(address, _)| self.address(*address))
    }

    /// The members, this node left out.
    pub fn member_states(&self) -> impl Iterator<Item = MemberState> {
        self.members.iter().map(|(node, member)| MemberState {
            node: node.clone(),
            vital: member.vital,
            answered: member.last_ack().map(|at| self.now.since(at)),
            heard: member.heard.is_some(),
            lease_alive: member.peer.as_ref().is_some_and(|peer| peer.lease_alive),
            claims: self.ledger.of(node).count(),
            flags: member.status.flags,
        })
    }

    /// Whether there are peers and none of them has answered for 5 s: Leases tell who lives.
    #[must_use]
    pub const fn is_gossip_silent(&self) -> bool {
        self.gossip_silent
    }

    /// One address; nothing if it is not wanted here.
    #[must_use]
    pub fn address(&self, address: IpAddr) -> Option<AddressState> {
        let slot = self.slots.get(&address)?;
        let want = slot.want.as_ref()?;
        let (owner, epoch) = match (slot.held(), self.strongest(address)) {
            (Some(held), _) => (Some(self.node.clone()), held.epoch),
            (None, Some((node, epoch))) => (Some(node), epoch),
            (None, None) => (None, slot.seen),
        };
        let heir = self.candidates(want, false).nodes.into_iter().find(|node| Some(node) != owner.as_ref());
        let doing = match &slot.state {
            State::Idle if owner.is_some() => "another node has it",
            State::Idle => "nothing: this node is no candidate, or knows no reason to act",
            State::Waiting(_) => "waits for its turn",
            State::Probing(_) => "asks the link",
            State::Held(held) if held.contest.is_some() => "holds it, contested",
            State::Held(held) if held.departure.is_some() => "hands it over",
            State::Held(_) => "holds it",
            State::Accepted(_) => "takes it over",
        };
        Some(AddressState { address, owner, epoch, heir, doing, last: slot.last })
    }
}
