//! How this node is configured.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::io::ConflictPolicy;
use crate::model::time::ms;

/// Between two probes, and from the last to the decision, unless it is configured otherwise.
pub const PROBE_INTERVAL: Duration = ms(10);
/// The interval may be set within these bounds. A shorter one leaves an answer no time to come. With a longer one,
/// what a claimer must have heard lately would be too old before its last probes are sent.
pub const PROBE_INTERVALS: RangeInclusive<Duration> = ms(5)..=ms(100);

/// What configuration says.
#[derive(Debug, Clone)]
pub struct Policy {
    /// What to do about foreign hosts.
    pub conflicts: ConflictPolicy,
    /// When to announce an address, counted from its claim.
    pub announcements: Vec<Duration>,
    /// Between two probes, and from the last to the decision.
    pub probe_interval: Duration,
}

impl Policy {
    /// The interval is brought into [`PROBE_INTERVALS`].
    #[must_use]
    pub fn new(conflicts: ConflictPolicy, announcements: Vec<Duration>, probe_interval: Duration) -> Self {
        let probe_interval = probe_interval.clamp(*PROBE_INTERVALS.start(), *PROBE_INTERVALS.end());
        Self { conflicts, announcements, probe_interval }
    }
}
