//! What the watches deliver.

use ::ownership::Keys;
use api_types::{LBNodeAgent, ServiceGroup};
use kube::runtime::watcher::Event;
use tokio::sync::mpsc;

use crate::cluster::endpoints::SliceView;
use crate::cluster::lease::LeaseView;
use crate::cluster::node::NodeView;
use crate::cluster::service::ServiceView;

/// The watches that decisions depend on. Endpoints matter to some Services only, and the key to nobody who has one.
pub const REQUIRED: [&str; 5] = ["services", "servicegroups", "lbnodeagents", "nodes", "leases"];

/// Where inputs go.
pub type Inputs = mpsc::Sender<Input>;

/// Something that happened outside.
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
    /// The gossip's key, when it changes; nothing if there is none.
    Keys(Option<Keys>),
    /// A watch shows what there is, or it does not any more.
    Watch {
        /// Which: one of the names in [`crate::cluster::watches`].
        name: &'static str,
        /// Whether it shows what there is.
        current: bool,
    },
}
