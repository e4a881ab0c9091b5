//! What a machine is made from.

use std::time::Duration;

use crate::io::{ConflictPolicy, FailureDetection};
use crate::model::node::{BootId, NodeId};
use crate::model::time::ms;
use crate::session::Keys;
use crate::this_node::PROBE_INTERVAL;

/// What a machine is made from.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// This run of the agent: 16 bytes from the system's random source.
    pub boot: BootId,
    /// The gossip keys.
    pub keys: Keys,
    /// What to do about foreign hosts.
    pub policy: ConflictPolicy,
    /// When to announce an address, counted from its claim.
    pub announcements: Vec<Duration>,
    /// Between two probes before a claim, and from the last to the decision; brought into
    /// [`PROBE_INTERVALS`](crate::this_node::PROBE_INTERVALS).
    pub probe_interval: Duration,
    /// What takeovers send on a link in any second, at most: probes, announcements, and questions to hosts.
    pub frames_per_second: u32,
    /// How soon a member that is silent is believed gone.
    pub failure_detection: FailureDetection,
}

/// [`Config::frames_per_second`] unless it is configured otherwise: less than what the storm control of switches begins
/// at.
const FRAMES_PER_SECOND: u32 = 2000;

impl Config {
    /// With the defaults: conflicts are enforced, announcements at 0, 0.1, 0.5, 2, 10 s, probes 10 ms apart.
    #[must_use]
    pub fn new(node: NodeId, boot: BootId, keys: Keys) -> Self {
        let announcements = [0, 100, 500, 2000, 10_000].map(ms).to_vec();
        Self {
            node,
            boot,
            keys,
            policy: ConflictPolicy::default(),
            announcements,
            probe_interval: PROBE_INTERVAL,
            frames_per_second: FRAMES_PER_SECOND,
            failure_detection: FailureDetection::default(),
        }
    }
}
