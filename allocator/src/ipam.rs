//! External groups: addresses that an IPAM sidecar hands out (specification, api.md 11 and allocation.md 12).
//!
//! The index never waits for a sidecar. What it wants is noted in the [`Ledger`], which says what to call; the
//! controller calls by the [`Desk`], and the answer goes back into the ledger as one more input.
//!
//! | Part | Holds |
//! |---|---|
//! | `call` | calls and answers as data; what of an answer can be believed |
//! | `lease` | what one Service has, wants and gives back of one group |
//! | `sidecar` | whether a sidecar answers, and how much it is asked at a time |
//! | `ledger` | all leases and sidecars: what to call next, what an answer means |
//! | `desk` | the connections, with a deadline over each call |

mod call;
mod desk;
mod lease;
mod ledger;
mod sidecar;

pub use call::{Ask, Call, Reply, Request, Stats, Trouble, usable};
pub use desk::Desk;
pub use ledger::{Effects, Grant, Ledger, Standing};
