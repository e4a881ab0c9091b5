//! Watches of the API server that never end and back off after errors.
//!
//! | Module | Holds |
//! |---|---|
//! | `retry` | [`events`]: a list and the watch that follows it, again and again |
//! | `observe` | [`updates`]: the same, together with whether the watch is current |
//! | `health` | when a watch counts as current |
//! | `request` | whether the last request of a watch was answered |

mod health;
mod observe;
mod request;
mod retry;

pub use observe::{WatchUpdate, updates};
pub use retry::events;

#[cfg(test)]
mod tests;
