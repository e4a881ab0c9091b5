//! What the machine reports to people: logs, metrics, Kubernetes events.

use std::net::IpAddr;
use std::time::Duration;

use crate::model::link::LinkId;
use crate::model::node::{Mac, NodeId};
use crate::session::Refusal;
use crate::wire::{Epoch, Liveness};

/// Something that people are to know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notification {
    /// A member's state changed.
    Member {
        /// The member.
        node: NodeId,
        /// What is believed of it now.
        liveness: Liveness,
    },
    /// This node claimed an address.
    Claimed {
        /// The address.
        address: IpAddr,
        /// The epoch of the claim.
        epoch: Epoch,
        /// Why.
        cause: ClaimReason,
        /// Who had it before, if known.
        from: Option<NodeId>,
        /// How long it took since its owner was last known to answer (histogram of failovers).
        without: Option<Duration>,
    },
    /// This node gave up an address.
    Released {
        /// The address.
        address: IpAddr,
        /// Why.
        why: ReleaseReason,
        /// Who has it now, if known.
        to: Option<NodeId>,
    },
    /// The result of asking the link.
    Probed {
        /// The address.
        address: IpAddr,
        /// The result.
        result: ProbeResult,
    },
    /// A foreign host uses an address (`AddressConflict`).
    AddressConflict {
        /// The address.
        address: IpAddr,
        /// The host's hardware address.
        mac: Mac,
        /// Whether this node has the address and announced it against the host.
        defended: bool,
    },
    /// A member's kernel has an address from somebody else (`AddressConflict`).
    ConflictOnNode {
        /// The address.
        address: IpAddr,
        /// The member.
        node: NodeId,
        /// Whether this node had the address and gave it up.
        yielded: bool,
    },
    /// A member's kernel answers on a link for an address that it does not hold there (`StrictARPNeeded`).
    StrictArpNeeded {
        /// The member.
        node: NodeId,
        /// The address.
        address: IpAddr,
        /// Whether its kernel has the address on the dummy interface, as a route.
        routed: bool,
    },
    /// A host answers for free addresses too (proxy ARP): its answers do not count.
    ProxyArp {
        /// The link.
        link: LinkId,
        /// The host's hardware address.
        mac: Mac,
    },
    /// Two members claimed the same address.
    TwoClaims {
        /// The address.
        address: IpAddr,
        /// The other member.
        rival: NodeId,
        /// Whether this node kept it; then `rival` is this node.
        kept: bool,
    },
    /// A member's agent is silent and its kernel answers: its addresses stay with it.
    AgentSilent {
        /// The member.
        node: NodeId,
    },
    /// A member is silent in every way on a link: its heirs act.
    Alarm {
        /// The member.
        node: NodeId,
        /// The link.
        link: LinkId,
        /// Whether this node found it silent; if not, another one sent the alarm.
        own: bool,
    },
    /// Nothing answers this node on a link: nothing is claimed there.
    Deaf {
        /// The link.
        link: LinkId,
    },
    /// No other member answers pings though there are Leases (a blocked port?). Leases say who is alive.
    GossipSilent,
    /// Every member of a subnet is excluded: the label is ignored there.
    ExclusionIgnored {
        /// The address for which it was noticed.
        address: IpAddr,
    },
    /// A planned move found no successor: the owner keeps the address.
    NoSuccessor {
        /// The address.
        address: IpAddr,
    },
    /// A planned move was given up half-way and taken back.
    MoveFailed {
        /// The address.
        address: IpAddr,
        /// The successor that did not claim.
        to: NodeId,
    },
    /// The agent did not run for so long.
    Paused(Duration),
    /// A datagram was refused (counter).
    Refused(Refusal),
    /// Every address is handed over: the process may end.
    Left,
}

/// Why an address was released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReleaseReason {
    /// No Service uses it.
    Unwanted,
    /// A planned move.
    Moved,
    /// Another claim is stronger.
    Yielded,
    /// The link is down or broken.
    LinkBroken,
    /// The kernel refused it.
    AddFailed,
    /// It left the kernel, and it is not sure that this node still owns it.
    KernelLost,
    /// A member's kernel has it from somebody else.
    HeldForeign,
    /// A member's kernel still answers for it, and its agent is silent.
    KernelServes,
}

/// The result of asking the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeResult {
    /// Nobody answered.
    Free,
    /// A member holds it.
    Held,
    /// A silent agent's kernel answers.
    KernelServes,
    /// A foreign host answers.
    Foreign,
    /// A candidate with a better rank probed at the same time.
    Contention,
}

/// Why an address is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClaimReason {
    /// Nobody has it.
    Unclaimed,
    /// Its owner is gone from the link.
    OwnerGone,
    /// Its owner's agent is silent.
    AgentSilent,
    /// The successor of a planned move heard no go.
    Move,
    /// This node had it, and it left the kernel.
    Lost,
}
