//! Who claims what: each node is the authority for its own set; every other node keeps a replica.
//!
//! Every datagram carries version and digest of its sender's set. A receiver that has another version pulls the changes
//! since then, or pages of everything; a digest that differs at the same version makes it start over. So 10,000 claims
//! cost a few bytes per datagram while nothing changes, and one small frame per change. In a large cluster most members
//! hear of a change by rumour, which carries the version only.
//!
//! | Module | Holds |
//! |---|---|
//! | `own` | this node's claims |
//! | `replica` | what is known of one other node's claims |
//! | `table` | all of them, by node and by address; which of two claims is stronger |
//! | `reading` | taking changes and pages |
//! | `exchange` | what is sent to whom, and what is pulled from whom |
//! | `digest` | the digest of a set |

mod digest;
mod exchange;
mod own;
mod reading;
mod replica;
mod table;
#[cfg(test)]
mod tests;

pub use own::OwnClaims;
pub use table::{Claims, beats};
