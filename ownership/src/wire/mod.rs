//! What members send each other, as types and as bytes.
//!
//! The body of a datagram is a [`Status`] followed by [`Frame`]s until its end. Decoding never panics, allocates no more
//! than the bytes it was given can justify, and refuses a body as a whole if any part of it is not understood.
//!
//! | Module | Holds |
//! |---|---|
//! | `frame` | the frames and the status |
//! | `codec` | each frame's bytes |
//! | `bytes` | numbers, names, addresses and lists |
//! | `error` | why a body is refused |

mod bytes;
mod codec;
mod error;
mod frame;
#[cfg(test)]
mod tests;

pub use codec::{decode, encode, pack};
pub use error::WireError;
pub use frame::{
    BLIND, BROKEN, Change, EXCLUDED, Epoch, Frame, LEAVING, Liveness, MAX_BODY, MAX_CLAIMS, Move, SELECTED, STALE,
    Status,
};
