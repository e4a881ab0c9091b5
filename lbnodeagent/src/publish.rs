//! What this node tells the API server.
//!
//! | Module | Holds |
//! |---|---|
//! | [`lease`] | our own Lease: that we are here, and in which subnets |
//! | [`annotation`] | the text of the annotation that says who announces an address |
//! | [`slots`] | which Services' annotations are to be written, and when |

pub mod annotation;
pub mod lease;
pub mod slots;
