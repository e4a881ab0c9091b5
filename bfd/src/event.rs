//! What goes into the table of sessions, and what comes out.

use std::net::IpAddr;
use std::time::Duration;

use crate::packet::{LENGTH, Malformed};
use crate::peer::{Hops, MAX_SESSIONS, Peer, PeerKey};
use crate::session::Transition;

/// A received datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Its source address.
    pub source: IpAddr,
    /// Where it came in.
    pub interface: &'a str,
    /// Its destination address.
    pub destination: IpAddr,
    /// By its destination port.
    pub hops: Hops,
    /// Its TTL or hop limit.
    pub ttl: u8,
    /// The payload.
    pub bytes: &'a [u8],
}

/// What happens to the table.
#[derive(Debug)]
pub enum Event<'a> {
    /// All peers, with the names of the sources that want each.
    Peers(Vec<(Peer, Vec<String>)>),
    /// A datagram.
    Datagram(Datagram<'a>),
    /// [`crate::Table::next_deadline`] has come. Datagrams that wait in a socket go first.
    Tick,
    /// The program will end: peers are to be patient for so long.
    SlowDown(Duration),
}

/// What the table wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a packet with TTL 255 from the session's own source port.
    Send(Outgoing),
    /// A session has changed its state.
    Changed {
        /// Of the session.
        peer: PeerKey,
        /// Its kind.
        hops: Hops,
        /// From and to.
        transition: Transition,
    },
    /// A peer's datagram was refused for another reason than the one before.
    Refused {
        /// Of the datagram.
        peer: PeerKey,
        /// Why.
        refusal: Refusal,
    },
    /// A session has ended or goes on from another address of this node; its socket is not needed any more.
    Close {
        /// Our discriminator of it.
        discriminator: u32,
    },
}

/// A packet to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Our discriminator, which names the session.
    pub discriminator: u32,
    /// Where to.
    pub peer: PeerKey,
    /// The source address, where it is known.
    pub local_address: Option<IpAddr>,
    /// The destination port.
    pub hops: Hops,
    /// The payload.
    pub bytes: [u8; LENGTH],
}

/// Why a datagram is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// From an address that is no peer, or to a port that is not for it.
    #[error("no peer has this address and port")]
    Stranger,
    /// From too far away.
    #[error("its TTL is {ttl} and must be at least {least}: it was routed, or the router does not send with TTL 255; {}", farther(*hops))]
    Ttl {
        /// Received.
        ttl: u8,
        /// Accepted.
        least: u8,
        /// By its port.
        hops: Hops,
    },
    /// No packet of this protocol, or one that we do not speak.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// To another address of this node.
    #[error("it is for another address of this node than the session")]
    LocalAddress,
    /// Of a session that does not exist.
    #[error("its discriminator {0} names no session with this peer")]
    Discriminator(u32),
    /// Too many.
    #[error("the peer sends more packets than it may")]
    Rate,
    /// All sessions are in use.
    #[error("{MAX_SESSIONS} sessions exist, which is the limit")]
    Full,
}

/// What to do if the router is farther away than that.
const fn farther(hops: Hops) -> &'static str {
    match hops {
        Hops::Single => "a router that is several hops away uses UDP port 4784 (its setting for multihop)",
        Hops::Multi => {
            "if more routers are in between, say so by ttlSecurity in the BGPPeer or minimumTtl in the LBNodeAgent"
        }
    }
}
