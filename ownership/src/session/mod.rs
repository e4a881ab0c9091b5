//! Sessions: from whom a datagram is, and whether to believe it.
//!
//! | Module | Holds |
//! |---|---|
//! | `keys` | the cluster's gossip keys, and the key of each boot |
//! | `envelope` | sealing and opening of datagrams |
//! | `replay` | each sequence number counts once |
//! | `challenge` | a boot proves that it is not a recording |
//! | `refusal` | why a datagram is dropped |
//! | `session` | all of this for one node |

mod challenge;
mod envelope;
mod keys;
mod refusal;
mod replay;
#[expect(clippy::module_inception, reason = "the struct that ties this room together")]
mod session;
#[cfg(test)]
mod tests;

pub use envelope::{Opened, Opener, Sealer};
pub use keys::Keys;
pub use refusal::{MAX_DATAGRAM, Refusal};
pub use session::{Received, Session};
