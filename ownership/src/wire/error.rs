//! Errors of decoding.

use thiserror::Error;

/// Why a body is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WireError {
    /// It ends in the middle.
    #[error("the message ends too early")]
    Truncated,
    /// It has something unknown.
    #[error("the message has an unknown or impossible part (a newer release?)")]
    Malformed,
}
