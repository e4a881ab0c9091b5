//! What nodes say to each other, and its compact form.
//!
//! A datagram's body is a [`Status`] followed by messages until its end. Decoding never panics, allocates no more
//! than the bytes it was given can justify, and refuses what it does not understand as a whole.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use thiserror::Error;

use crate::node::NodeId;

mod codec;

pub use codec::{decode, encode};

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
pub enum Vital {
    /// It answers.
    Alive,
    /// It did not answer lately.
    Suspect,
    /// It is not there: its agent, perhaps its node.
    Silent,
}

/// A claim, or its end.
pub type Change = (IpAddr, Option<Epoch>);

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Say this number back: proves that a new boot is not a replay.
    Challenge(u64),
    /// The number said back.
    Response(u64),
    /// Are you there?
    Ping(u32),
    /// I am.
    Ack(u32),
    /// Please ping this member for me, and ask the link for this address of it.
    Ask {
        /// Names the question.
        id: u32,
        /// About whom.
        target: NodeId,
        /// Its own address on the link.
        reach: Option<IpAddr>,
    },
    /// The target of an [`Message::Ask`] answered me.
    Heard {
        /// Names the question.
        id: u32,
        /// Who answered.
        target: NodeId,
        /// Whether by a link answer (else by an acknowledgement).
        link: bool,
    },
    /// News of a member.
    Rumour {
        /// Of whom.
        node: NodeId,
        /// As of which incarnation.
        incarnation: u32,
        /// Its state.
        vital: Vital,
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
    /// What do you hold this address by?
    Query(IpAddr),
    /// I hold it by this epoch, or I do not.
    Holds {
        /// The address.
        address: IpAddr,
        /// The epoch of my claim.
        epoch: Option<Epoch>,
    },
    /// What your former boot held, as far as I know.
    Recall(Vec<(IpAddr, Epoch)>),
    /// An owner is silent on a subnet, in every way we can ask.
    Alarm {
        /// The owner.
        owner: NodeId,
        /// The subnet.
        subnet: IpNetwork,
    },
    /// You answer pings, but not on this subnet.
    Unreachable(IpNetwork),
    /// Take this address, please.
    Offer(Move),
    /// I take it when you say go.
    Accept(Move),
    /// I cannot.
    Decline(Move),
    /// It is yours: I no longer have it.
    Go(Move),
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

/// Why a body is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WireError {
    /// It ends in the middle.
    #[error("the message ends too early")]
    Truncated,
    /// It has something unknown.
    #[error("the message has an unknown or impossible part (a newer release?)")]
    Malformed,
}

#[cfg(test)]
#[path = "wire/tests.rs"]
mod tests;
