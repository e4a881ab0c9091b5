//! Whether an address is announced, and why not.
//!
//! Nobody tells the allocator so directly. It follows from the agents' Leases and from what agents note on Services.
//!
//! | Part | Holds |
//! |---|---|
//! | `decision` | from what is known of the nodes to the answer |
//! | `text` | the answer as a sentence |

mod decision;
mod text;

#[cfg(test)]
mod tests;

pub use decision::{AgentState, Announcement, Announcer, Cause, Finding, NodeFacts, Obstacle, Place, Question, decide};
