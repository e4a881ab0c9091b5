//! Local addresses: the protocol of the crate `ownership` on this node's kernel, sockets and clock.
//!
//! It runs on a thread of its own, with its own sockets, so that nothing that the agent does for
//! thousands of Services delays an answer. The agent says what is wanted ([`Command`]); the thread
//! alone puts local addresses into the kernel and takes them out, and says what it did
//! ([`Report`]).
//!
//! | Module | Holds |
//! |---|---|
//! | `driver` | the loop: events to the machine, its actions to the edges |
//! | `carry` | the actions, in order |
//! | `table` | the kernel's local addresses |
//! | `wire` | the interfaces: frames in and out |
//! | [`claims`] | the state file: epochs that outlive the process |

mod carry;
pub mod claims;
mod driver;
mod table;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ownership::machine::{AddressStatus, MemberStatus};
use ownership::{AddressSpec, ConflictPolicy, Keys, NodeId, Notification, Peer, Snapshot};
use tokio::sync::{mpsc, oneshot};

use crate::desired::Placement;
use crate::interfaces::Selection;
use crate::metrics::Metrics;
use crate::observed::AddressKey;
use crate::reconcile::{Failure, Why};

/// How long the thread may take to end.
const END: Duration = Duration::from_secs(2);

/// A local address that this node takes part in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// For the protocol.
    pub want: AddressSpec,
    /// Where and how it goes into the kernel.
    pub placement: Placement,
    /// The values of `purelb.io/rebalance` of the Services that use it. A new one asks for a move.
    pub requests: BTreeSet<u64>,
}

/// Where local addresses may be, and where not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// The interfaces for local addresses.
    pub selection: Selection,
    /// The interfaces for remote addresses: not ours to touch.
    pub remote_links: BTreeSet<u32>,
    /// The node's own addresses: never touched.
    pub node_addresses: BTreeSet<IpAddr>,
    /// The next hops of default routes, by interface.
    pub gateways: BTreeMap<u32, BTreeSet<IpAddr>>,
}

impl Scope {
    /// With the interfaces of an earlier scope too, unless they are for remote addresses now.
    #[must_use]
    pub fn joined(mut self, before: &Self) -> Self {
        for selected in before.selection.iter().filter(|selected| !self.remote_links.contains(&selected.index)) {
            if self.selection.keep(selected) {
                let gateways = before.gateways.get(&selected.index);
                self.gateways.extend(gateways.map(|gateways| (selected.index, gateways.clone())));
            }
        }
        self
    }
}

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
    pub scope: Scope,
    /// What applies to this node.
    pub rules: Rules,
}

/// What the node's configuration and its Node object say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
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
    Scope(Box<Scope>),
    /// Configuration or labels changed.
    Rules(Rules),
    /// The complete list of peers.
    Members(Vec<Peer>),
    /// An address is wanted, or its conditions changed.
    Want(Box<Wanted>),
    /// An address is not wanted any more.
    Unwant(IpAddr),
    /// Every address of the first lists was given.
    WantsComplete,
    /// The Secret changed.
    Keys(Box<Keys>),
    /// What does it look like?
    Show(oneshot::Sender<Picture>),
    /// End; the answer comes when everything that could be handed over is.
    Stop(ownership::Stop, oneshot::Sender<()>),
}

/// What the protocol knows.
#[derive(Debug)]
pub struct Picture {
    /// The members.
    pub snapshot: Snapshot,
    /// The addresses that this node takes part in.
    pub addresses: Vec<AddressStatus>,
}

/// What the thread tells the agent.
#[derive(Debug)]
pub enum Report {
    /// The kernel has the address because of us.
    Placed(Placed),
    /// The kernel does not have it any more.
    Withdrawn(AddressKey),
    /// The kernel refused.
    Failed(Failure),
    /// Something to be told to people.
    Notification(Notification),
    /// The members changed.
    Members {
        /// All but this node.
        members: Vec<MemberStatus>,
        /// There are some, and none has answered for seconds: Leases tell who lives.
        silent: bool,
    },
    /// The gossip port can be used, or why not.
    Port(Result<(), String>),
}

/// An address that the kernel has because of us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Where and how.
    pub placement: Placement,
    /// By which operation; nothing if it was there.
    pub why: Option<Why>,
    /// Somebody had taken it out.
    pub repaired: bool,
    /// The node that answered for it before, if we took over from one.
    pub from: Option<NodeId>,
}

/// The running thread; it ends when this is dropped.
#[derive(Debug)]
pub struct Local {
    commands: mpsc::UnboundedSender<Command>,
}

impl Local {
    /// Starts the thread, in the network namespace of this one.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub fn start(start: Start, metrics: Metrics, reports: mpsc::UnboundedSender<Report>) -> std::io::Result<Self> {
        let (commands, received) = mpsc::unbounded_channel();
        let run = move || driver::run(start, metrics, received, reports);
        std::thread::Builder::new().name("ownership".to_owned()).spawn(run)?;
        Ok(Self { commands })
    }

    /// Tells the thread; returns whether it still runs.
    #[must_use]
    pub fn tell(&self, command: Command) -> bool {
        self.commands.send(command).is_ok()
    }

    /// Asks for a picture of now.
    #[must_use]
    pub fn show(&self) -> oneshot::Receiver<Picture> {
        let (sender, receiver) = oneshot::channel();
        // If the thread has ended the receiver hears so.
        let _ended = self.tell(Command::Show(sender));
        receiver
    }

    /// Ends the protocol, and returns when it has ended; `Leaving` waits until everything is handed over, at most for
    /// `limit`.
    pub async fn stop(self, stop: ownership::Stop, limit: Duration) {
        let (sender, mut receiver) = oneshot::channel();
        if !self.tell(Command::Stop(stop, sender)) {
            return;
        }
        if tokio::time::timeout(limit, &mut receiver).await.is_err() {
            tracing::warn!(op = "stop", "not every local address could be handed over");
            // Ends it at once.
            drop(self);
            if tokio::time::timeout(END, receiver).await.is_err() {
                tracing::error!(op = "stop", "the protocol for local addresses does not end");
            }
        }
    }
}
