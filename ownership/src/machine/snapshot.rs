//! What people see of a machine.

use std::net::IpAddr;
use std::time::Duration;

use crate::address::AddressStatus;
use crate::machine::machine::Machine;
use crate::model::node::NodeId;
use crate::session::Refusal;
use crate::wire::Liveness;

/// The members, and the datagrams refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The members, this node left out.
    pub members: Vec<MemberStatus>,
    /// Datagrams refused, by reason.
    pub refused: Vec<(Refusal, u64)>,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its name.
    pub node: NodeId,
    /// What is believed of it.
    pub liveness: Liveness,
    /// How long ago it last answered this node.
    pub answered: Option<Duration>,
    /// Whether anything was ever heard of it: without, its flags are a guess.
    pub heard: bool,
    /// Whether its Lease is valid.
    pub lease_alive: bool,
    /// How many claims of it are known.
    pub claims: usize,
    /// Its flags ([`SELECTED`](crate::wire::SELECTED) and so on).
    pub flags: u8,
}

impl Machine {
    /// The members and refusals now; the addresses are shown by [`Machine::addresses`].
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { members: self.member_statuses().collect(), refused: self.session.refused().collect() }
    }

    /// The members, this node left out.
    pub fn member_statuses(&self) -> impl Iterator<Item = MemberStatus> {
        self.members.iter().map(|(node, member)| MemberStatus {
            node: node.clone(),
            liveness: member.liveness,
            answered: member.last_ack().map(|at| self.now.since(at)),
            heard: member.heard.is_some(),
            lease_alive: member.peer.as_ref().is_some_and(|peer| peer.lease_alive),
            claims: self.claims.of(node).count(),
            flags: member.status.flags,
        })
    }

    /// Some addresses that are wanted here, in their order, after this one. Each costs a sort of the members, so an
    /// edge that must not be late asks for some at a time.
    pub fn addresses(&self, after: Option<IpAddr>) -> impl Iterator<Item = AddressStatus> {
        self.addresses.wanted(after).filter_map(|address| self.address(address))
    }

    /// One address; nothing if it is not wanted here.
    #[must_use]
    pub fn address(&self, address: IpAddr) -> Option<AddressStatus> {
        self.addresses.status(address, self.view(), &self.claims)
    }

    /// Whether there are peers and none of them has answered for 5 s: Leases tell who lives.
    #[must_use]
    pub const fn is_gossip_silent(&self) -> bool {
        self.members.is_gossip_silent()
    }
}
