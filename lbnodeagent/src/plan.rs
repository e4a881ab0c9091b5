//! From what should be and what is to the operations that make them agree, and how often to try.
//!
//! | Module | Holds |
//! |---|---|
//! | [`operations`] | the operations for a set of addresses |
//! | `order` | the order in which they are done |
//! | [`record`] | the file that remembers which addresses are ours |
//! | [`retries`] | backoff after operations that failed |
//! | [`repair_limit`] | the limit for repairs of an address that somebody keeps removing |

pub mod operations;
mod order;
pub mod record;
pub mod repair_limit;
pub mod retries;
