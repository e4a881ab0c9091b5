//! What this module needs of the agent, and what it shows of BFD.

use api_types::BfdConfig;
use api_types::lease::RouterReport;
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

/// What `/state` shows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Shown {
    /// The peers.
    pub peers: Vec<PeerEntry>,
    /// What is wrong with what this node passes on to routers, and what mends it.
    pub exports: Option<String>,
}

/// The agent's end.
#[derive(Debug, Clone)]
pub struct Handle {
    settings: watch::Sender<Option<Settings>>,
    shown: watch::Receiver<Shown>,
    routers: watch::Receiver<Vec<RouterReport>>,
}

/// The task's end.
#[derive(Debug)]
pub struct TaskEnd {
    /// Nothing before the agent knows them.
    pub(super) settings: watch::Receiver<Option<Settings>>,
    pub(super) shown: watch::Sender<Shown>,
    pub(super) routers: watch::Sender<Vec<RouterReport>>,
}

/// Both ends.
#[must_use]
pub fn channel() -> (Handle, TaskEnd) {
    let (settings, received) = watch::channel(None);
    let (show, shown) = watch::channel(Shown::default());
    let (report, routers) = watch::channel(Vec::new());
    (Handle { settings, shown, routers }, TaskEnd { settings: received, shown: show, routers: report })
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

    /// What `/state` shows.
    #[must_use]
    pub fn shown(&self) -> Shown {
        self.shown.borrow().clone()
    }

    /// What the Lease says of the routers.
    #[must_use]
    pub fn routers(&self) -> watch::Receiver<Vec<RouterReport>> {
        self.routers.clone()
    }
}
