//! How long a member may be silent.

use std::time::Duration;

use crate::model::time::ms;

/// Between two rounds.
pub const ROUND: Duration = ms(100);
/// Three rounds without an answer, less the jitter of timers.
pub(super) const SILENT: Duration = ms(285);
/// A member that answers pings and is silent on the link for so long does not reach the link.
pub const LINK_SILENT: Duration = ms(285);
