//! What this node says of itself: to the API server, to Prometheus, and to whoever asks.
//!
//! | Module | Holds |
//! |---|---|
//! | [`metrics`] | the agent's series |
//! | [`state`] | the page `/state` |
//! | [`annotation`] | the text of the annotations that say who announces an address |
//! | [`annotation_queue`] | which Services' annotations are to be written, and when |
//! | [`lease`] | this node's Lease |

pub mod annotation;
pub mod annotation_queue;
pub mod lease;
pub mod metrics;
pub mod state;
