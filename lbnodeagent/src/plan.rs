//! From what should be and what is to the operations that make them agree, and how often to try.
//!
//! | Module | Holds |
//! |---|---|
//! | [`adoption`] | which addresses in the kernel are taken over as ours at the start |
//! | [`guard`] | changes of the VIP guard |
//! | [`interfaces`] | the file that remembers the default choice of interfaces |
//! | [`operations`] | the operations for a set of addresses |
//! | `order` | the order in which they are done |
//! | [`record`] | the file that remembers which addresses are ours |
//! | [`holders`] | the file that remembers for which Services they were put here |
//! | [`retries`] | backoff after operations that failed |
//! | [`repair_limit`] | the limit for repairs of an address that somebody keeps removing |

pub mod adoption;
pub mod guard;
pub mod holders;
pub mod interfaces;
pub mod operations;
mod order;
pub mod record;
pub mod repair_limit;
pub mod retries;
