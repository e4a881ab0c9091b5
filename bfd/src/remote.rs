//! The peer's variables of a session (RFC 5880 6.8.1).

use std::time::Duration;

use crate::packet::{Diagnostic, Packet};
use crate::state::State;
use crate::timers::{Intervals, SLOW};

/// What the peer's last packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// `bfd.RemoteSessionState`.
    pub state: State,
    /// `bfd.RemoteDiscr`; zero: not known.
    pub discriminator: u32,
    /// The peer's reason for its last leaving Up.
    pub diagnostic: Diagnostic,
    /// Its Desired Min TX, and its Required Min RX (`bfd.RemoteMinRxInterval`).
    pub intervals: Intervals,
    /// Its Detect Mult.
    pub multiplier: u8,
    /// `bfd.RemoteDemandMode`.
    pub demand: bool,
}

impl Remote {
    /// What is assumed of a peer that is not heard.
    pub(crate) const UNKNOWN: Self = Self {
        state: State::Down,
        discriminator: 0,
        diagnostic: Diagnostic::NONE,
        intervals: Intervals { desired_min_tx: SLOW, required_min_rx: Duration::from_micros(1) },
        multiplier: 3,
        demand: false,
    };

    /// What is left of a peer that is not heard any more: what it said last, for whoever asks why.
    pub(crate) const fn silent(self) -> Self {
        Self { state: self.state, diagnostic: self.diagnostic, ..Self::UNKNOWN }
    }

    /// What a packet says.
    pub(crate) const fn of(packet: &Packet) -> Self {
        Self {
            state: packet.state,
            discriminator: packet.my_discriminator,
            diagnostic: packet.diagnostic,
            intervals: Intervals { desired_min_tx: packet.desired_min_tx, required_min_rx: packet.required_min_rx },
            multiplier: packet.multiplier,
            demand: packet.demand,
        }
    }
}
