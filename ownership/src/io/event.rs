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
    /// The members that the state file of this node's former agent names: they are met before the Leases are listed, and
    /// also while the API server is down.
    Remembered(Vec<Peer>),
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
    /// What the kernel has that the machine did not put there: each address whose state is new. Addresses on which a
    /// service proxy keeps VIPs of the whole cluster (`kube-ipvs0`) are left out: they say nothing.
    KernelHolds(Vec<(IpAddr, Option<KernelHolding>)>),
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
    /// How soon a member that is silent is believed gone, from now on.
    FailureDetection(FailureDetection),
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

/// How the kernel has an address that the machine did not put there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelHolding {
    /// From this agent, on the dummy interface: the node announces it as a route.
    Remote,
    /// From somebody else: the node's own address, or another program's.
    Foreign,
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

/// How soon a member that is silent is believed gone (`spec.local.failureDetection`). Only the watcher's setting counts,
/// so nodes may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FailureDetection {
    /// Alarm after about 200 ms, with twice the pings. Not for virtual machines or busy nodes: an agent that waits for a
    /// processor for so long is taken for dead, and its addresses move if its kernel does not answer either.
    Fast,
    /// Alarm after about 300 ms.
    #[default]
    Normal,
    /// Alarm after about 1.3 s: for Wi-Fi and overcommitted virtual machines.
    Relaxed,
}
