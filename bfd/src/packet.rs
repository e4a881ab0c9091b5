//! The control packet (RFC 5880 4.1) and the checks that need no session (6.8.6).

use std::fmt;
use std::time::Duration;

use crate::state::State;

/// The length of a packet without authentication, which is all that is sent.
pub const LENGTH: usize = 24;

/// The protocol's version.
const VERSION: u8 = 1;

const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const CONTROL_PLANE_INDEPENDENT: u8 = 0x08;
const AUTHENTICATION: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

/// Why a session last left Up (RFC 5880 4.1), five bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Diagnostic(u8);

impl Diagnostic {
    /// 0.
    pub const NONE: Self = Self(0);
    /// 1: nothing was received for the detection time.
    pub const DETECTION_TIME_EXPIRED: Self = Self(1);
    /// 3: the peer's packet had the state Down or `AdminDown`.
    pub const NEIGHBOR_SIGNALED_DOWN: Self = Self(3);

    /// The diagnostic of these five bits; higher ones are ignored.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 0x1f)
    }

    /// The five bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "No Diagnostic",
            1 => "Control Detection Time Expired",
            2 => "Echo Function Failed",
            3 => "Neighbor Signaled Session Down",
            4 => "Forwarding Plane Reset",
            5 => "Path Down",
            6 => "Concatenated Path Down",
            7 => "Administratively Down",
            8 => "Reverse Concatenated Path Down",
            9 => "Mis-Connectivity Defect",
            other => return write!(f, "Diagnostic {other}"),
        })
    }
}

/// A control packet. Authentication, multipoint and echo do not occur in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "the bits of the packet, by their names in RFC 5880")]
pub struct Packet {
    /// The sender's reason for its last leaving Up.
    pub diagnostic: Diagnostic,
    /// The sender's state.
    pub state: State,
    /// The sender wants an answer with Final: its intervals have changed.
    pub poll: bool,
    /// The answer to Poll.
    pub final_: bool,
    /// The C bit: the sender goes on when its control plane fails, so a lost session means a lost forwarding plane
    /// (RFC 5882 4.3).
    pub control_plane_independent: bool,
    /// The sender asks for silence while both are Up.
    pub demand: bool,
    /// Detect Mult, at least 1: how many intervals without a packet mean that the sender is gone.
    pub multiplier: u8,
    /// My Discriminator: the sender's name of the session, never zero.
    pub my_discriminator: u32,
    /// Your Discriminator: the receiver's name of the session, zero if the sender does not know it.
    pub your_discriminator: u32,
    /// Desired Min TX Interval: the sender does not want to send more often.
    pub desired_min_tx: Duration,
    /// Required Min RX Interval: the sender does not want to receive more often; zero: no periodic packets at all.
    pub required_min_rx: Duration,
}

/// Why bytes are no packet for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Below 24 bytes.
    #[error("the packet has {0} bytes, BFD needs at least 24")]
    Short(usize),
    /// Another protocol version.
    #[error("BFD version {0}, only version 1 is understood")]
    Version(u8),
    /// The length field contradicts the datagram.
    #[error("the length field says {0}, which is less than 24 or more than the datagram has")]
    Length(u8),
    /// The router wants authentication.
    #[error("the packet is authenticated; remove authentication from the router's BFD configuration for this node")]
    Authenticated,
    /// Detect Mult is zero.
    #[error("the detection multiplier is zero")]
    Multiplier,
    /// The multipoint bit is set.
    #[error("the multipoint bit is set")]
    Multipoint,
    /// My Discriminator is zero.
    #[error("the sender's discriminator is zero")]
    MyDiscriminator,
    /// Your Discriminator is zero in a state that needs it.
    #[error("the receiver's discriminator is zero, although the state is {0}")]
    YourDiscriminator(State),
}

impl Packet {
    /// Reads a datagram. The order of the checks is that of RFC 5880 6.8.6; bytes after the packet's own length are
    /// ignored.
    ///
    /// # Errors
    /// When the RFC says that the packet must be discarded, or when it is authenticated.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let Some(head) = bytes.first_chunk::<LENGTH>() else { return Err(Malformed::Short(bytes.len())) };
        let [vd, flags, multiplier, length, m0, m1, m2, m3, y0, y1, y2, y3, t0, t1, t2, t3, r0, r1, r2, r3, ..] = *head;
        let set = |bit: u8| flags & bit != 0;
        if vd >> 5 != VERSION {
            return Err(Malformed::Version(vd >> 5));
        }
        if usize::from(length) < LENGTH || usize::from(length) > bytes.len() {
            return Err(Malformed::Length(length));
        }
        if multiplier == 0 {
            return Err(Malformed::Multiplier);
        }
        if set(MULTIPOINT) {
            return Err(Malformed::Multipoint);
        }
        let state = State::from_bits(flags >> 6);
        let my_discriminator = u32::from_be_bytes([m0, m1, m2, m3]);
        let your_discriminator = u32::from_be_bytes([y0, y1, y2, y3]);
        if my_discriminator == 0 {
            return Err(Malformed::MyDiscriminator);
        }
        if your_discriminator == 0 && matches!(state, State::Init | State::Up) {
            return Err(Malformed::YourDiscriminator(state));
        }
        if set(AUTHENTICATION) {
            return Err(Malformed::Authenticated);
        }
        let interval = |bytes| Duration::from_micros(u64::from(u32::from_be_bytes(bytes)));
        Ok(Self {
            diagnostic: Diagnostic::from_bits(vd),
            state,
            poll: set(POLL),
            final_: set(FINAL),
            control_plane_independent: set(CONTROL_PLANE_INDEPENDENT),
            demand: set(DEMAND),
            multiplier,
            my_discriminator,
            your_discriminator,
            desired_min_tx: interval([t0, t1, t2, t3]),
            required_min_rx: interval([r0, r1, r2, r3]),
        })
    }

    /// The bytes of the packet. Required Min Echo RX is zero: echo is not offered.
    #[must_use]
    pub fn encode(&self) -> [u8; LENGTH] {
        let bit = |set, bit| if set { bit } else { 0 };
        let flags = self.state.bits() << 6
            | bit(self.poll, POLL)
            | bit(self.final_, FINAL)
            | bit(self.control_plane_independent, CONTROL_PLANE_INDEPENDENT)
            | bit(self.demand, DEMAND);
        let [m0, m1, m2, m3] = self.my_discriminator.to_be_bytes();
        let [y0, y1, y2, y3] = self.your_discriminator.to_be_bytes();
        let [t0, t1, t2, t3] = micros(self.desired_min_tx).to_be_bytes();
        let [r0, r1, r2, r3] = micros(self.required_min_rx).to_be_bytes();
        [
            VERSION << 5 | self.diagnostic.bits(),
            flags,
            self.multiplier,
            24,
            m0,
            m1,
            m2,
            m3,
            y0,
            y1,
            y2,
            y3,
            t0,
            t1,
            t2,
            t3,
            r0,
            r1,
            r2,
            r3,
            0,
            0,
            0,
            0,
        ]
    }
}

/// The interval as the wire has it.
fn micros(interval: Duration) -> u32 {
    u32::try_from(interval.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// A packet as FRR sends it: Up, Poll, 300 ms and 300 ms, multiplier 3, echo 50 ms.
    const FRR: [u8; 24] = [
        0x20, 0xe0, 3, 24, 0x11, 0x22, 0x33, 0x44, 0xaa, 0xbb, 0xcc, 0xdd, 0, 4, 0x93, 0xe0, 0, 4, 0x93, 0xe0, 0, 0,
        0xc3, 0x50,
    ];

    #[test]
    fn a_routers_packet() {
        let packet = Packet::decode(&FRR).unwrap();
        assert_eq!((packet.state, packet.poll, packet.final_), (State::Up, true, false));
        assert!(!packet.control_plane_independent && !packet.demand);
        assert_eq!((packet.my_discriminator, packet.your_discriminator), (0x1122_3344, 0xaabb_ccdd));
        assert_eq!(packet.desired_min_tx, Duration::from_millis(300));
        assert_eq!(packet.required_min_rx, Duration::from_millis(300));
        assert_eq!(packet.encode()[..20], FRR[..20]);
    }

    #[rstest]
    #[case::version(0, 0x40, Malformed::Version(2))]
    #[case::length_below_24(3, 23, Malformed::Length(23))]
    #[case::length_beyond_the_datagram(3, 25, Malformed::Length(25))]
    #[case::multiplier(2, 0, Malformed::Multiplier)]
    #[case::multipoint(1, 0xc1, Malformed::Multipoint)]
    #[case::authentication(1, 0xc4, Malformed::Authenticated)]
    fn discarded(#[case] at: usize, #[case] value: u8, #[case] why: Malformed) {
        let mut bytes = FRR;
        bytes[at] = value;
        assert_eq!(Packet::decode(&bytes), Err(why));
    }

    #[rstest]
    #[case(State::AdminDown, true)]
    #[case(State::Down, true)]
    #[case(State::Init, false)]
    #[case(State::Up, false)]
    fn no_discriminator_of_ours(#[case] state: State, #[case] fine: bool) {
        let mut packet = Packet::decode(&FRR).unwrap();
        (packet.state, packet.your_discriminator) = (state, 0);
        assert_eq!(Packet::decode(&packet.encode()).is_ok(), fine);
        packet.my_discriminator = 0;
        assert_eq!(Packet::decode(&packet.encode()), Err(Malformed::MyDiscriminator));
    }

    #[test]
    fn short() {
        for length in 0..LENGTH {
            assert_eq!(Packet::decode(&FRR[..length]), Err(Malformed::Short(length)));
        }
    }

    #[test]
    fn an_interval_beyond_the_wire_is_the_longest() {
        assert_eq!(micros(Duration::from_secs(10_000)), u32::MAX);
    }

    proptest! {
        #[test]
        fn whatever_is_understood_is_written_the_same(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(packet) = Packet::decode(&bytes) {
                prop_assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
            }
        }

        #[test]
        fn a_damaged_packet_does_no_harm(at in 0_usize..24, value: u8) {
            let mut bytes = FRR;
            bytes[at] = value;
            if let Ok(packet) = Packet::decode(&bytes) {
                prop_assert!(packet.multiplier > 0 && packet.my_discriminator > 0);
            }
        }
    }
}
