//! The address book: which Service holds which address, and which address is the next free one.
//!
//! | Part | Holds |
//! |---|---|
//! | [`Book`] | every address that some Service holds, and the ranges to hand out from |
//! | [`Claim`] | what a holder says about sharing: its key and its ports |
//! | `intervals` | the taken addresses of one range, as a set of intervals |

mod book;
mod claim;
mod intervals;

pub use book::Book;
pub use claim::{Claim, Conflict, Port, Protocol, Refusal};
