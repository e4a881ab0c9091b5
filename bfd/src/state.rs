//! The states of a session and the transitions between them (RFC 5880 6.2 and 6.8.6).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of a session, with its number on the wire (RFC 5880 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// Held down by an operator. A session of ours is never in it; a router's may be.
    AdminDown,
    /// No session, or a session that was lost.
    Down,
    /// The peer is there; it does not yet know that we are.
    Init,
    /// Each end receives the other's packets.
    Up,
}

impl State {
    /// All states, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::AdminDown, Self::Down, Self::Init, Self::Up];

    /// The two bits of the packet.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::AdminDown => 0,
            Self::Down => 1,
            Self::Init => 2,
            Self::Up => 3,
        }
    }

    /// The state of these two bits; higher ones are ignored.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::AdminDown,
            1 => Self::Down,
            2 => Self::Init,
            _ => Self::Up,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What moves a session from one state to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// A packet with this state of the peer was accepted.
    Received(State),
    /// No packet was accepted for the detection time.
    Expired,
}

/// The state after a signal: the table of RFC 5880 6.2, with the rules of 6.8.6 where the diagram is silent.
///
/// | in state | receives `AdminDown` | `Down` | `Init` | `Up` | detection time expires |
/// |---|---|---|---|---|---|
/// | `AdminDown` | `AdminDown` | `AdminDown` | `AdminDown` | `AdminDown` | `AdminDown` |
/// | `Down` | `Down` | `Init` | `Up` | `Down` | `Down` |
/// | `Init` | `Down` | `Init` | `Up` | `Up` | `Down` |
/// | `Up` | `Down` | `Down` | `Up` | `Up` | `Down` |
#[must_use]
#[allow(clippy::match_same_arms, reason = "one line per state, as in the table")]
pub const fn next(state: State, signal: Signal) -> State {
    use Signal::{Expired, Received};
    use State::{AdminDown, Down, Init, Up};
    match (state, signal) {
        (AdminDown, _) => AdminDown,
        (Down, Received(AdminDown | Up) | Expired) => Down,
        (Down, Received(Down)) => Init,
        (Down, Received(Init)) => Up,
        (Init, Received(AdminDown) | Expired) => Down,
        (Init, Received(Down)) => Init,
        (Init, Received(Init | Up)) => Up,
        (Up, Received(AdminDown | Down) | Expired) => Down,
        (Up, Received(Init | Up)) => Up,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::State::{AdminDown, Down, Init, Up};
    use super::*;

    #[rstest]
    #[case::admin_down(AdminDown, [AdminDown, AdminDown, AdminDown, AdminDown], AdminDown)]
    #[case::down(Down, [Down, Init, Up, Down], Down)]
    #[case::init(Init, [Down, Init, Up, Up], Down)]
    #[case::up(Up, [Down, Down, Up, Up], Down)]
    fn every_cell(#[case] state: State, #[case] received: [State; 4], #[case] expired: State) {
        for (signal, expected) in State::ALL.into_iter().zip(received) {
            assert_eq!(next(state, Signal::Received(signal)), expected, "{state} receives {signal}");
        }
        assert_eq!(next(state, Signal::Expired), expired);
    }

    #[test]
    fn bits() {
        for state in State::ALL {
            assert_eq!(State::from_bits(state.bits() | 0xfc), state);
        }
    }
}
