//! Why datagrams are dropped.

use thiserror::Error;

/// The largest datagram that is looked at, in bytes.
pub const MAX_DATAGRAM: usize = 1400;

/// Why a datagram is dropped; each is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum Refusal {
    /// Larger than [`MAX_DATAGRAM`].
    #[error("oversized datagram")]
    Oversized,
    /// Too short for its envelope.
    #[error("truncated datagram")]
    Truncated,
    /// Not ours, or of a version that is not understood.
    #[error("not a datagram of this protocol")]
    Foreign,
    /// Made with a key that we do not have.
    #[error("datagram with another gossip key: is the Secret the same everywhere?")]
    WrongKey,
    /// Damaged or forged.
    #[error("datagram that fails authentication")]
    Forged,
    /// Seen before, or too old.
    #[error("replayed datagram")]
    Replayed,
    /// In our own name.
    #[error("datagram from another agent with our own node name, or our own sent back")]
    Reflected,
    /// Authentic, but not understood.
    #[error("body that is not understood")]
    Malformed,
}
