//! Errors of decoding.

use thiserror::Error;

/// Why a body is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WireError {
    /// It ends in the middle.
    #[error("the message ends too early")]
    Truncated,
    /// A part that is known has an impossible value.
    #[error("the message has an impossible part")]
    Malformed,
}
