//! What goes into the machine, and what comes out.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::choice::Want;
use crate::envelope::{Keys, Refusal};
use crate::link::{Link, LinkId, Peer};
use crate::node::{Mac, NodeId};
use crate::probe::Cause;
use crate::wire::{Epoch, Vital};

/// What was seen on a link, ARP and neighbour discovery alike; VIPs and own addresses alike. Frames that this host
/// sent itself are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// An answer to us: ARP reply with our MAC as destination, solicited NA.
    Answer(IpAddr),
    /// Somebody says unasked that it has the address: gratuitous ARP, unsolicited NA, or an ARP request sent from it.
    Announcement(IpAddr),
    /// Somebody asks for the address.
    Question {
        /// For which.
        target: IpAddr,
        /// From which; nothing for an ARP probe (sender 0.0.0.0).
        sender: Option<IpAddr>,
    },
}

/// How an agent stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The node leaves: hand everything over.
    Leaving,
    /// It comes back: everything stays.
    Restart,
}

/// What happened.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "given by value once and never stored")]
pub enum Event {
    /// Nothing: time passed.
    Tick,
    /// A datagram came.
    Datagram {
        /// From where.
        from: SocketAddr,
        /// What.
        bytes: Vec<u8>,
    },
    /// A frame was seen.
    Seen {
        /// Where.
        link: LinkId,
        /// Whose: the sender's hardware address in the ARP or ND payload.
        mac: Mac,
        /// What.
        frame: Frame,
    },
    /// The complete list of Leases, after each change; the first one says that it is complete.
    Members(Vec<Peer>),
    /// An interface is there, or changed.
    Link(Link),
    /// An interface is gone.
    LinkGone(LinkId),
    /// An address must be served, or its conditions changed.
    Want(Want),
    /// An address need not be served any more.
    Unwant(IpAddr),
    /// Every [`Event::Want`] of the first lists was given: what is not wanted now may be swept.
    WantsComplete,
    /// The VIPs that are in the kernel on local links, marked as ours, with the epochs of the state file: at start
    /// (before everything else), after [`Action::ReadKernel`], and whenever the kernel's state was read anew.
    Kernel(Vec<(IpAddr, Option<Epoch>)>),
    /// Somebody took an address of ours out of the kernel.
    KernelLost(IpAddr),
    /// An [`Action::Add`] failed.
    AddFailed(IpAddr),
    /// An LBNodeAgent selects this node, or not.
    Selected(bool),
    /// This node carries the exclusion label, or not.
    Excluded(bool),
    /// Whether our watches are current (a watch event or bookmark within its time): the edge only says when it changes.
    Watches {
        /// Whether they are.
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

/// What to do about foreign hosts that use an address (`conflictDetection`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConflictPolicy {
    /// Do not claim while they answer.
    #[default]
    Enforce,
    /// Claim, and say so.
    Warn,
    /// Claim.
    Off,
}

/// What is asked by a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Does anybody have this VIP? ARP probe (sender 0.0.0.0); NS from an own link-local or global source, to the
    /// solicited-node group, and to the MAC too if one is given.
    Duplicate,
    /// Are you there? ARP request from the own address; NS. Unicast if a MAC is given.
    Reach,
}

/// What to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send by UDP.
    Send {
        /// To where.
        to: SocketAddr,
        /// What.
        bytes: Vec<u8>,
    },
    /// Ask the link.
    Probe {
        /// Where.
        link: LinkId,
        /// For which address.
        target: IpAddr,
        /// The MAC to send it to; nothing: broadcast, or the solicited-node group.
        to: Option<Mac>,
        /// How.
        ask: Ask,
    },
    /// Put the address into the kernel (`nodad`); must be done before the next action is begun.
    Add {
        /// The address.
        address: IpAddr,
        /// Where.
        link: LinkId,
    },
    /// Take the address out of the kernel; must be done before the next action is begun.
    Remove {
        /// The address.
        address: IpAddr,
        /// Where, if known; else wherever it is.
        link: Option<LinkId>,
    },
    /// Renew the lifetime of every adopted address now.
    Renew,
    /// Gratuitous ARP (request and reply form) or unsolicited NA, once.
    Announce {
        /// The address.
        address: IpAddr,
        /// Where.
        link: LinkId,
    },
    /// Read the VIPs in the kernel and give [`Event::Kernel`].
    ReadKernel,
    /// To be told to people: log, metric, event.
    Tell(Fact),
}

/// What people want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A member's state changed.
    Member {
        /// Whose.
        node: NodeId,
        /// To what.
        vital: Vital,
    },
    /// An address is ours.
    Claimed {
        /// Which.
        address: IpAddr,
        /// By which epoch.
        epoch: Epoch,
        /// Why.
        cause: Cause,
        /// Who had it before, if known.
        from: Option<NodeId>,
        /// How long it took since its owner was last known to answer (histogram of failovers).
        without: Option<Duration>,
    },
    /// An address is no longer ours.
    Released {
        /// Which.
        address: IpAddr,
        /// Why.
        why: Why,
        /// Who has it, if known.
        to: Option<NodeId>,
    },
    /// The result of asking the link.
    Probed {
        /// For which address.
        address: IpAddr,
        /// With which result.
        result: ProbeResult,
    },
    /// A foreign host uses an address (`AddressConflict`).
    AddressConflict {
        /// Which.
        address: IpAddr,
        /// Whose.
        mac: Mac,
        /// Whether we hold it and defended it.
        defended: bool,
    },
    /// A member's kernel answers for an address that it does not hold (`StrictARPNeeded`).
    StrictArpNeeded {
        /// Which member.
        node: NodeId,
        /// For which address.
        address: IpAddr,
    },
    /// Somebody answers for free addresses too: its answers are not counted.
    ProxyArp {
        /// Where.
        link: LinkId,
        /// Whose.
        mac: Mac,
    },
    /// Two members claimed the same address.
    TwoClaims {
        /// Which.
        address: IpAddr,
        /// The other one.
        rival: NodeId,
        /// Whether we kept it.
        kept: bool,
    },
    /// A member's agent is silent and its kernel answers: its addresses stay with it.
    AgentSilent {
        /// Which member.
        node: NodeId,
    },
    /// A member is silent in every way on a link: its heirs act.
    Alarm {
        /// Which member.
        node: NodeId,
        /// Where.
        link: LinkId,
        /// Whether we found it, or were told.
        own: bool,
    },
    /// Nothing answers us on a link: nothing is claimed there.
    Deaf {
        /// Where.
        link: LinkId,
    },
    /// Nobody else answers our pings, though there are Leases (a blocked port?); Leases tell who lives.
    GossipSilent,
    /// Every member of a subnet is excluded: the label is ignored there.
    ExclusionIgnored {
        /// For which address it was noticed.
        address: IpAddr,
    },
    /// A planned move found no successor: the owner keeps the address.
    NoSuccessor {
        /// Which.
        address: IpAddr,
    },
    /// A planned move was given up half-way and taken back.
    MoveFailed {
        /// Which.
        address: IpAddr,
        /// The successor that did not claim.
        to: NodeId,
    },
    /// The agent did not run for so long.
    Paused(Duration),
    /// A datagram was refused (counter).
    Refused(Refusal),
    /// Everything is handed over: the process may end.
    Left,
}

/// Why an address was released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
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
    /// It left the kernel, and it is not sure that it is still ours.
    KernelLost,
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
    /// A better candidate probed at the same time.
    Contention,
}
