//! The frames that members send each other, and the status that every datagram carries.
//!
//! A new frame type is a variant of [`Frame`] here, a number with its fields in both directions in `wire::codec`, a row in
//! the examples of `wire::tests`, and an arm where the machine receives frames (`machine::receive`). Members of releases
//! that do not know it skip it. What they cannot skip is a new [`VERSION`].

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::model::node::NodeId;

/// The version of the wire: the third byte of each datagram, and what the Lease says. Members speak to each other only if
/// theirs are the same.
pub const VERSION: u8 = 2;
/// The largest body that is sent, so that a datagram fits an IPv6 packet of 1,280 bytes with its envelope.
pub const MAX_BODY: usize = 900;
/// The most claims in one message.
pub const MAX_CLAIMS: usize = 28;

/// An epoch of a claim: grows with every new claim for the address, on whatever node.
pub type Epoch = u64;

/// A member may own addresses.
pub const SELECTED: u8 = 1;
/// The node carries the exclusion label.
pub const EXCLUDED: u8 = 2;
/// Its watches are 10 s behind: no candidate for new claims.
pub const STALE: u8 = 4;
/// Its watches are 30 s behind: hands over what it has, if others are current.
pub const BLIND: u8 = 8;
/// It is leaving: no candidate.
pub const LEAVING: u8 = 16;
/// One of its links is broken: no candidate where it does not answer on the link.
pub const BROKEN: u8 = 32;

/// What every datagram says about its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// Grows when the sender contradicts a suspicion or changes its flags.
    pub incarnation: u32,
    /// [`SELECTED`] and so on.
    pub flags: u8,
    /// The version of its claim set.
    pub version: u64,
    /// The digest of its claim set.
    pub digest: u64,
}

/// What is believed of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Liveness {
    /// It answers.
    Alive,
    /// It did not answer lately.
    Suspect,
    /// It is not there: its agent, perhaps its node.
    Silent,
}

/// A claim, or its end.
pub type Change = (IpAddr, Option<Epoch>);

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Send this number back: it proves that a new boot is not a recording.
    Challenge(u64),
    /// The number of a challenge.
    Response(u64),
    /// Are you there?
    Ping(u32),
    /// I am.
    Ack(u32),
    /// Ping this member for me, and ask the link for this address of it.
    PingRequest {
        /// Names the question.
        id: u32,
        /// The member.
        target: NodeId,
        /// Its own address on the link.
        reach: Option<IpAddr>,
    },
    /// The target of an [`Frame::PingRequest`] answered me.
    IndirectAck {
        /// Names the question.
        id: u32,
        /// Who answered.
        target: NodeId,
        /// Whether by a link answer (else by an acknowledgement).
        link: bool,
    },
    /// News of a member.
    Rumour {
        /// The member.
        node: NodeId,
        /// The incarnation that the news is of.
        incarnation: u32,
        /// What is believed of it.
        liveness: Liveness,
        /// Its flags.
        flags: u8,
        /// The version of its claim set.
        version: u64,
    },
    /// Send me your claims: the changes since a version, or all from an address on.
    Pull {
        /// The version I have; zero if none.
        since: u64,
        /// The last address I have of the version that I am reading.
        after: Option<IpAddr>,
    },
    /// A part of all my claims, in order of address.
    Page {
        /// Of this version.
        version: u64,
        /// After which address it begins.
        after: Option<IpAddr>,
        /// The claims.
        claims: Vec<(IpAddr, Epoch)>,
        /// Whether this is the end.
        last: bool,
    },
    /// What changed in my claims.
    Changes {
        /// From this version,
        from: u64,
        /// to this one.
        to: u64,
        /// What changed.
        changes: Vec<Change>,
    },
    /// What do you have to do with this address?
    ClaimQuery(IpAddr),
    /// This.
    ClaimReply {
        /// The address.
        address: IpAddr,
        /// What the sender has to do with it.
        answer: ClaimAnswer,
    },
    /// What your former boot claimed, as far as I know.
    FormerClaims(Vec<(IpAddr, Epoch)>),
    /// An owner is silent on a subnet, in every way we can ask.
    Alarm {
        /// The owner.
        owner: NodeId,
        /// The subnet.
        subnet: IpNetwork,
    },
    /// You answer pings, but not on this subnet.
    Unreachable(IpNetwork),
    /// Take this address.
    Offer(Move),
    /// I take it when you say go.
    Accept(Move),
    /// I cannot.
    Decline(Move),
    /// Claim it now: my kernel no longer has it.
    Go(Move),
}

impl Frame {
    /// Whether this says nothing but who the sender is: all that a stranger is sent.
    #[must_use]
    pub const fn is_greeting(&self) -> bool {
        matches!(self, Self::Challenge(_) | Self::Response(_))
    }
}

/// What a member has to do with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimAnswer {
    /// It claims the address by this epoch.
    Claimed(Epoch),
    /// It announces the address as a route: its kernel has it from the agent, on the dummy interface.
    HeldRemote,
    /// Its kernel has the address, and not from the agent.
    HeldForeign,
    /// It knows nothing of the address.
    Nothing,
}

impl ClaimAnswer {
    /// The epoch of the claim, if it is one.
    #[must_use]
    pub const fn epoch(self) -> Option<Epoch> {
        match self {
            Self::Claimed(epoch) => Some(epoch),
            Self::HeldRemote | Self::HeldForeign | Self::Nothing => None,
        }
    }
}

/// A planned move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// The address.
    pub address: IpAddr,
    /// The epoch of the present owner's claim.
    pub epoch: Epoch,
    /// Names the move.
    pub id: u64,
}
