//! Local addresses: the protocol of the crate `ownership` on this node's kernel, sockets and clock.
//!
//! The protocol runs on a thread of its own, with its own sockets, so that nothing that the agent does for thousands of
//! Services delays an answer. The agent sends [`messages::Command`]s. The thread alone adds local addresses to the
//! kernel and removes them, and reports what it did as [`messages::Update`]s.
//!
//! | Module | Holds |
//! |---|---|
//! | [`handle`] | the agent's view of the thread |
//! | [`thread`] | the running thread |
//! | [`messages`] | what the agent and the thread send each other |
//! | [`interfaces`] | the interfaces on which local addresses may be |
//! | `driver` | the thread's loop: events to the protocol, its actions to the kernel and the network |
//! | `actions` | the protocol's actions, in order |
//! | `table` | the kernel's local addresses |
//! | `links` | frames of the interfaces, in and out |
//! | [`claims`] | the state file: epochs that outlive the process |

mod actions;
pub mod claims;
mod driver;
pub mod handle;
pub mod interfaces;
mod links;
pub mod messages;
mod table;
pub mod thread;
