//! Kubernetes events: queued, limited in rate, with repeats counted.
//!
//! [`EventQueue::publish`] never waits: it puts the event into a bounded queue. One task sends at most [`RATE`] events
//! a second after a burst of [`BURST`], warnings first. An event that repeats an earlier one is only counted, and its
//! count is sent once a minute.
//!
//! | Module | Holds |
//! |---|---|
//! | `event` | an event and the object that it is about |
//! | `queue` | the queue, which drops what exceeds its capacity |
//! | `repeats` | which events were published before, and how often |
//! | `rate_limit` | how many events may be sent |
//! | `sender` | the task that sends them |

mod event;
mod queue;
mod rate_limit;
mod repeats;
mod sender;

pub use event::{Event, Kind, reference};
pub use queue::{EventQueue, EventReceiver, QUEUE_CAPACITY};
pub use sender::{BURST, RATE};
