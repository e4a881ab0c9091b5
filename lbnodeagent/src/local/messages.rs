//! What the agent and the protocol's thread send each other.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ownership::machine::MemberStatus;
use ownership::{ConflictPolicy, FailureDetection, Keys, NodeId, Notification, Peer};
use tokio::sync::oneshot;

use crate::local::interfaces::LocalInterfaces;
use crate::model::address::AddressKey;
use crate::model::candidacy::Candidacy;
use crate::model::operation::{Failure, Purpose};
use crate::model::placement::Placement;
use crate::report::state::ProtocolState;

/// What the protocol is given at its start.
#[derive(Debug, Clone)]
pub struct Start {
    /// This node.
    pub node: NodeId,
    /// The gossip keys.
    pub keys: Keys,
    /// UDP port of the gossip. Other nodes use the same one, unless their Leases name another.
    pub port: u16,
    /// The time between two probes before a claim.
    pub probe_interval: Duration,
    /// Probes and announcements that takeovers send on an interface in any second, at most.
    pub frames_per_second: u32,
    /// Directory of the state file.
    pub run_dir: PathBuf,
    /// How long addresses outlive this program.
    pub stop_grace: Duration,
    /// Addresses that are ours, also if the kernel could not mark them or somebody has taken the mark away.
    pub recorded: BTreeSet<AddressKey>,
    /// The interfaces for local addresses.
    pub interfaces: LocalInterfaces,
    /// The settings that apply to this node.
    pub settings: ProtocolSettings,
}

/// What follows from this node's configuration and its Node object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProtocolSettings {
    /// What to do about hosts that are not members.
    pub policy: ConflictPolicy,
    /// How soon a silent member is believed gone.
    pub failure_detection: FailureDetection,
    /// When an address is announced, counted from its claim.
    pub announcements: Vec<Duration>,
    /// An LBNodeAgent, or the built-in configuration, applies to this node.
    pub selected: bool,
    /// The node has the label that excludes it from load balancers.
    pub excluded: bool,
    /// The watches of the API server are current.
    pub current: bool,
}

/// What the agent sends to the thread.
#[derive(Debug)]
pub enum Command {
    /// The interfaces changed.
    Interfaces(Box<LocalInterfaces>),
    /// The settings changed.
    Settings(ProtocolSettings),
    /// The complete list of the other members.
    Members(Vec<Peer>),
    /// This node is a candidate for an address, or its candidacy changed.
    Candidate(Box<Candidacy>),
    /// This node is no candidate for an address any more.
    NoCandidate(IpAddr),
    /// All candidacies that follow from the first lists were sent.
    CandidatesComplete,
    /// The gossip keys changed.
    Keys(Box<Keys>),
    /// A question for the protocol's state.
    State(oneshot::Sender<ProtocolState>),
    /// The end. The answer comes when everything that can be handed over has been.
    Stop(ownership::Stop, oneshot::Sender<()>),
}

/// What the thread reports to the agent.
#[derive(Debug)]
pub enum Update {
    /// The thread added an address to the kernel or changed it.
    Applied(Applied),
    /// The thread removed an address from the kernel.
    Withdrawn(AddressKey),
    /// The kernel refused an operation.
    Failed(Failure),
    /// The protocol noticed something.
    Notification(Notification),
    /// The members changed.
    Members {
        /// All members but this node.
        members: Vec<MemberStatus>,
        /// There are other members, and none has answered for seconds, so that Leases show who lives.
        silent: bool,
    },
    /// The gossip port could be bound, or why not.
    Port(Result<(), String>),
}

/// An address that the kernel has because of us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Where it is.
    pub placement: Placement,
    /// The purpose of the operation; nothing if the address was there already.
    pub purpose: Option<Purpose>,
    /// Whether somebody else had removed or changed it.
    pub repaired: bool,
    /// The previous owner, if the address was taken over from one.
    pub from: Option<NodeId>,
}
