//! What this node knows of one address.

use std::sync::Arc;

use crate::address::state::State;
use crate::model::node::NodeId;
use crate::model::spec::AddressSpec;
use crate::model::time::Time;
use crate::wire::Epoch;

/// An address that this node knows of.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// How it is to be served; nothing while no Service is known to use it.
    pub spec: Option<Arc<AddressSpec>>,
    /// Whether it is in the kernel of this node, as far as is known.
    pub in_kernel: bool,
    pub state: State,
    /// The highest epoch ever seen.
    pub highest_epoch: Epoch,
    /// Since when nobody claims it.
    pub unclaimed_since: Option<Time>,
    pub backoff: Backoff,
    /// Whether it was reported that exclusion is ignored for it.
    pub exclusion_ignored: bool,
    /// The value of the rebalance annotation that was dealt with.
    pub rebalanced: u64,
    /// Who had it before this node, or whom it went to.
    pub other_owner: Option<NodeId>,
    /// The last thing that happened to it here, for people.
    pub last: &'static str,
    /// When it is next due in the queue.
    pub wake: Option<Time>,
    /// It is to be looked at once more before the call of the machine ends.
    pub look_again: bool,
}

/// Why nothing is begun yet: a contention, a foreign host, a kernel that serves or refuses.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// Nothing is begun before this time.
    pub until: Option<Time>,
    /// Consecutive refusals by a foreign host.
    pub conflicts: u32,
}
