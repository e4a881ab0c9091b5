//! What the agent and the protocol's thread send each other.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ownership::machine::MemberState;
use ownership::{ConflictPolicy, Fact, Keys, NodeId, Peer};
use tokio::sync::oneshot;

use crate::local::interfaces::LocalInterfaces;
use crate::model::address::AddressKey;
use crate::model::candidacy::Candidacy;
use crate::model::operation::{Failure, Purpose};
use crate::model::placement::Placement;
use crate::report::state::ProtocolState;

/// What the protocol knows from the beginning.
#[derive(Debug, Clone)]
pub struct Start {
    /// This node.
    pub node: NodeId,
    /// The gossip keys.
    pub keys: Keys,
    /// UDP port of the gossip; the same on every node unless their Leases say otherwise.
    pub port: u16,
    /// Between two questions to the link before a claim.
    pub probe_interval: Duration,
    /// Directory of the state file.
    pub run_dir: PathBuf,
    /// How long addresses outlive this program.
    pub stop_grace: Duration,
    /// Addresses that are ours though the kernel could not mark them.
    pub recorded: BTreeSet<AddressKey>,
    /// The interfaces.
    pub interfaces: LocalInterfaces,
    /// What applies to this node.
    pub settings: ProtocolSettings,
}

/// What the node's configuration and its Node object say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProtocolSettings {
    /// What to do about foreign hosts.
    pub policy: ConflictPolicy,
    /// When to announce an address, counted from its claim.
    pub announcements: Vec<Duration>,
    /// An LBNodeAgent, or the built-in configuration, applies to this node.
    pub selected: bool,
    /// The node carries the exclusion label.
    pub excluded: bool,
    /// The watches of the API are current.
    pub current: bool,
}

/// What the agent tells the thread.
#[derive(Debug)]
pub enum Command {
    /// Interfaces changed.
    Interfaces(Box<LocalInterfaces>),
    /// Configuration or labels changed.
    Settings(ProtocolSettings),
    /// The complete list of peers.
    Members(Vec<Peer>),
    /// An address is wanted, or its conditions changed.
    Candidate(Box<Candidacy>),
    /// An address is not wanted any more.
    NoCandidate(IpAddr),
    /// Every address of the first lists was given.
    CandidatesComplete,
    /// The Secret changed.
    Keys(Box<Keys>),
    /// What does it look like?
    State(oneshot::Sender<ProtocolState>),
    /// End; the answer comes when everything that could be handed over is.
    Stop(ownership::Stop, oneshot::Sender<()>),
}

/// What the thread tells the agent.
#[derive(Debug)]
pub enum Update {
    /// The kernel has the address because of us.
    Applied(Applied),
    /// The kernel does not have it any more.
    Withdrawn(AddressKey),
    /// The kernel refused.
    Failed(Failure),
    /// Something to be told to people.
    Fact(Fact),
    /// The members changed.
    Members {
        /// All but this node.
        members: Vec<MemberState>,
        /// There are some, and none has answered for seconds: Leases tell who lives.
        silent: bool,
    },
    /// The gossip port can be used, or why not.
    Port(Result<(), String>),
}

/// An address that the kernel has because of us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Where and how.
    pub placement: Placement,
    /// By which operation; nothing if it was there.
    pub purpose: Option<Purpose>,
    /// Somebody had taken it out.
    pub repaired: bool,
    /// The node that answered for it before, if we took over from one.
    pub from: Option<NodeId>,
}
