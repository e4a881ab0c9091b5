//! The file `state.json`: what the program sees, for the agent's metrics and events, and what its next process needs.
//!
//! It is replaced by renaming a finished one over it: within 50 ms after a change of state, and every 10 s while there
//! are peers, for the counters. Times are microseconds of `CLOCK_MONOTONIC`; a reader on the same node compares them with
//! that clock. Fields may be added in the same version; a reader ignores those that it does not know.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::packet::Diagnostic;
use crate::peer::{Hops, Role};
use crate::remote::Remote;
use crate::state::State;
use crate::timers::Intervals;
use crate::wanted::Wanted;

/// The version of the format.
pub const VERSION: u32 = 1;

/// The file's name.
pub const FILE_NAME: &str = "state.json";

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// When the file was written.
    pub written_at_microseconds: u64,
    /// When the program ended in good order; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_at_microseconds: Option<u64>,
    /// How long the last planned restart took, from the end of one process to the first packet of the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_microseconds: Option<u64>,
    /// `fifo`, `nice`, `short` (a short time slice) or `normal`: what the kernel granted.
    pub scheduling: String,
    /// The ports that peers need.
    pub ports: Vec<PortReport>,
    /// What each source wants, as last read; the next process goes on with it until it can read the source's file.
    pub sources: Vec<SourceReport>,
    /// The peers, in the order of their addresses.
    pub peers: Vec<PeerReport>,
    /// Peers beyond the limit, which are not served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers_beyond_limit: Vec<IpAddr>,
    /// Datagrams from addresses that are no peers.
    pub strangers: u64,
    /// The address of the last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_stranger: Option<IpAddr>,
    /// When the program had to wait for the processor.
    #[serde(default)]
    pub pauses: Pauses,
}

/// When the program did not run although it had something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pauses {
    /// How often, since this process began.
    pub count: u64,
    /// How long, together.
    pub microseconds: u64,
    /// How long the last one was.
    pub last_microseconds: u64,
    /// When it was over.
    pub last_ended_at_microseconds: u64,
}

/// A port that peers need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortReport {
    /// 3784 or 4784.
    pub port: u16,
    /// `IPv4` or `IPv6`.
    pub family: String,
    /// Absent: it is open. Otherwise why it is not, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceReport {
    /// Its name.
    pub name: String,
    /// The last good file.
    pub wanted: Wanted,
    /// Why the present file is no news, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerReport {
    /// Of the peer.
    pub address: IpAddr,
    /// Where its packets come in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Who begins.
    pub role: Role,
    /// Who wants it.
    pub sources: Vec<String>,
    /// Its datagrams that were not accepted.
    pub refused: u64,
    /// Why the last of them was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_refusal: Option<String>,
    /// None before a passive peer has spoken; at most one per kind.
    pub sessions: Vec<SessionReport>,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionReport {
    /// Its kind, which is also its port.
    pub hops: Hops,
    /// The address of this node that the peer speaks with, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_address: Option<IpAddr>,
    /// The port that packets are sent from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// Our state.
    pub state: State,
    /// Since when.
    pub since_microseconds: u64,
    /// The peer's state, as last received.
    pub remote_state: State,
    /// Our name of the session.
    pub local_discriminator: u32,
    /// The peer's name of the session; 0: not known.
    pub remote_discriminator: u32,
    /// Why the session is Down (RFC 5880 4.1).
    pub diagnostic: u8,
    /// Why it was last lost, also after it is Up again.
    pub last_lost_diagnostic: u8,
    /// The peer's reason.
    pub remote_diagnostic: u8,
    /// Our multiplier.
    pub multiplier: u8,
    /// In our packets.
    pub desired_min_tx_microseconds: u64,
    /// In our packets.
    pub required_min_rx_microseconds: u64,
    /// In the peer's packets.
    pub remote_multiplier: u8,
    /// In the peer's packets.
    pub remote_desired_min_tx_microseconds: u64,
    /// In the peer's packets.
    pub remote_required_min_rx_microseconds: u64,
    /// How often packets are sent.
    pub transmit_interval_microseconds: u64,
    /// How long the peer may be silent.
    pub detection_time_microseconds: u64,
    /// After how long without our packets the router notices this node's death.
    pub remote_detection_time_microseconds: u64,
    /// How often the session became Up.
    pub ups: u64,
    /// How often it left Up.
    pub downs: u64,
    /// Packets sent.
    pub sent: u64,
    /// Packets accepted.
    pub received: u64,
}

/// What the table counts of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// How often it became Up.
    pub ups: u64,
    /// How often it left Up.
    pub downs: u64,
    /// Packets sent.
    pub sent: u64,
    /// Packets accepted.
    pub received: u64,
    /// The reason of the last leaving.
    pub last_lost: Diagnostic,
}

impl SessionReport {
    /// The counters that the next process goes on with.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        Counters {
            ups: self.ups,
            downs: self.downs,
            sent: self.sent,
            received: self.received,
            last_lost: Diagnostic::from_bits(self.last_lost_diagnostic),
        }
    }

    /// The peer as it was.
    pub(crate) fn remote(&self) -> Remote {
        Remote {
            state: self.remote_state,
            discriminator: self.remote_discriminator,
            diagnostic: Diagnostic::from_bits(self.remote_diagnostic),
            intervals: Intervals {
                desired_min_tx: Duration::from_micros(self.remote_desired_min_tx_microseconds),
                required_min_rx: Duration::from_micros(self.remote_required_min_rx_microseconds),
            },
            multiplier: self.remote_multiplier.max(1),
            demand: false,
        }
    }

    /// Our intervals as the peer may know them.
    pub(crate) const fn advertised(&self) -> Intervals {
        Intervals {
            desired_min_tx: Duration::from_micros(self.desired_min_tx_microseconds),
            required_min_rx: Duration::from_micros(self.required_min_rx_microseconds),
        }
    }
}

/// A distance as the file has it.
#[must_use]
pub fn micros(distance: Duration) -> u64 {
    u64::try_from(distance.as_micros()).unwrap_or(u64::MAX)
}
