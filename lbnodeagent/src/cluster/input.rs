//! What the watches deliver.

use ::ownership::Keys;
use api_types::{LBNodeAgent, ServiceGroup};
use kube::runtime::watcher::Event;
use tokio::sync::mpsc;

use crate::cluster::endpoints::SliceView;
use crate::cluster::lease::LeaseView;
use crate::cluster::node::NodeView;
use crate::cluster::service::ServiceView;

/// The watches that decisions depend on. Endpoints matter to some Services only, and a new gossip key is not
/// urgent.
pub const REQUIRED: [&str; 5] = ["services", "servicegroups", "lbnodeagents", "nodes", "leases"];

/// Where inputs go.
pub type Inputs = mpsc::Sender<Input>;

/// A change in the cluster.
#[derive(Debug)]
pub enum Input {
    /// A Service.
    Service(Event<ServiceView>),
    /// A ServiceGroup of the install namespace.
    Group(Event<Box<ServiceGroup>>),
    /// An LBNodeAgent of any namespace.
    Agent(Event<Box<LBNodeAgent>>),
    /// This node's Node.
    Node(Event<NodeView>),
    /// An agent's Lease.
    Lease(Event<LeaseView>),
    /// An EndpointSlice.
    Slice(Event<SliceView>),
    /// New gossip keys; nothing if the Secret has none.
    Keys(Option<Keys>),
    /// A watch has become current, or is not current any more.
    Watch {
        /// Its name.
        name: &'static str,
        /// Whether it shows the present objects.
        current: bool,
    },
}
