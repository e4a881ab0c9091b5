//! Routers that follow this node by BFD: which ones are to be answered, and what they see.
//!
//! The program `bfd-speaker` speaks the protocol. It and the agent share a directory, and no fate: a file says what the
//! agent wants, another one what the program sees (crate `bfd`). This module runs as a task of its own beside the agent, so
//! that neither waits for the other.
//!
//! | Module | Holds |
//! |---|---|
//! | [`settings`] | what this module needs of the agent: its configuration, its node |
//! | [`routers`] | Calico's objects, as last read |
//! | [`exports`] | what this node announces to routers on behalf of other nodes |
//! | [`watch`] | reading them |
//! | [`wanted`] | from both to the peers that are wanted |
//! | [`directory`] | the directory and its files |
//! | [`view`] | what is known of each peer, in one sentence |
//! | [`settled`] | what of it the node's Lease says |
//! | [`changes`] | what of it is worth a Kubernetes event |
//! | [`metrics`] | the series |
//! | [`task`] | the task |

pub mod changes;
pub mod directory;
pub mod exports;
pub mod metrics;
pub mod routers;
pub mod settings;
pub mod settled;
pub mod task;
pub mod view;
pub mod wanted;
pub mod watch;
