//! What goes into the machine.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::model::link::{Link, LinkId, Peer};
use crate::model::node::Mac;
use crate::model::spec::AddressSpec;
use crate::session::Keys;
use crate::wire::Epoch;

/// What happened.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "given by value once and never stored")]
pub enum Event {
    /// Time passed; nothing else happened.
    Tick,
    /// A datagram arrived.
    Datagram {
        /// The endpoint that it came from.
        from: SocketAddr,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A frame of another host was seen on a link.
    Seen {
        /// The link.
        link: LinkId,
        /// The sender's hardware address in the ARP or ND payload.
        mac: Mac,
        /// What it says.
        frame: NeighborFrame,
    },
    /// The complete list of Leases, after each change. The first one also says that the list was read.
    Members(Vec<Peer>),
    /// An interface is there, or changed.
    Link(Link),
    /// An interface is gone.
    LinkGone(LinkId),
    /// An address must be served, or how it is to be served changed.
    ApplyAddress(AddressSpec),
    /// An address need not be served any more.
    DeleteAddress(IpAddr),
    /// Every [`Event::ApplyAddress`] of the first lists was given: an address that was not among them is not wanted.
    AddressesListed,
    /// The VIPs that are in the kernel on local links, marked as ours, with the epochs of the state file: at start
    /// (before everything else), after [`Action::ReadKernel`](crate::Action::ReadKernel), and whenever the kernel's
    /// state was read anew.
    Kernel(Vec<(IpAddr, Option<Epoch>)>),
    /// An address of this node is no longer in its kernel, and not by an action of the machine.
    KernelLost(IpAddr),
    /// An [`Action::Add`](crate::Action::Add) failed.
    AddFailed(IpAddr),
    /// Whether an LBNodeAgent selects this node.
    Selected(bool),
    /// Whether this node carries the exclusion label.
    Excluded(bool),
    /// Whether the watches of the API are current (a watch event or bookmark within its time). Given when it changes.
    Watches {
        /// Whether they are current.
        current: bool,
    },
    /// What to do about foreign hosts.
    Policy(ConflictPolicy),
    /// When to announce, after claiming.
    Announcements(Vec<Duration>),
    /// The Secret changed.
    Keys(Keys),
    /// The process is asked to end.
    Stop(Stop),
}

/// A frame of ARP or neighbour discovery that was seen on a link, about a VIP or a node's own address. Frames that
/// this host sent itself are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeighborFrame {
    /// An answer to this node: an ARP reply with its MAC as destination, or a solicited NA.
    Reply(IpAddr),
    /// A host says unasked that it has the address: gratuitous ARP, unsolicited NA, or an ARP request sent from it.
    Announcement(IpAddr),
    /// A host asks for the address.
    Request {
        /// The address that it asks for.
        target: IpAddr,
        /// The address that it asks from; nothing for an ARP probe (sender 0.0.0.0).
        sender: Option<IpAddr>,
    },
}

/// How an agent stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The node leaves: every address is handed over.
    Leaving,
    /// The agent comes back: every address stays.
    Restart,
}

/// What to do about foreign hosts that use an address (`conflictDetection`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConflictPolicy {
    /// Do not claim while they answer.
    #[default]
    Enforce,
    /// Claim, and report the conflict.
    Warn,
    /// Claim, and report nothing.
    Off,
}
