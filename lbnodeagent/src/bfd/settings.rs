//! What this module needs of the agent, and what it shows of BFD.

use api_types::BfdConfig;
use calico::Labels;
use tokio::sync::watch;

use super::exports::Routed;
use super::view::PeerEntry;

/// This node and its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The configuration; nothing while it cannot be used, and then what was wanted before stays.
    pub config: Option<BfdConfig>,
    /// The UID of the Node object.
    pub uid: String,
    /// The labels of the node.
    pub labels: Labels,
    /// The annotations of calico-node.
    pub calico: Labels,
    /// The routes of the groups' addresses that nodes announce.
    pub routed: Vec<Routed>,
    /// The host is shut down.
    pub shutting_down: bool,
}

/// The agent's end.
#[derive(Debug, Clone)]
pub struct Handle {
    settings: watch::Sender<Option<Settings>>,
    peers: watch::Receiver<Vec<PeerEntry>>,
}

/// The task's end.
#[derive(Debug)]
pub struct TaskEnd {
    /// Nothing before the agent knows them.
    pub(super) settings: watch::Receiver<Option<Settings>>,
    pub(super) peers: watch::Sender<Vec<PeerEntry>>,
}

/// Both ends.
#[must_use]
pub fn channel() -> (Handle, TaskEnd) {
    let (settings, received) = watch::channel(None);
    let (sender, peers) = watch::channel(Vec::new());
    (Handle { settings, peers }, TaskEnd { settings: received, peers: sender })
}

impl Handle {
    /// Hands over the settings if they have changed.
    pub fn set(&self, new: Settings) {
        self.settings.send_if_modified(|settings| {
            let changed = settings.as_ref() != Some(&new);
            if changed {
                *settings = Some(new);
            }
            changed
        });
    }

    /// The peers, for `/state`.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerEntry> {
        self.peers.borrow().clone()
    }
}
