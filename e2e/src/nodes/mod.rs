//! A Kubernetes node: its cable, its power, its images, its agent.
//!
//! - `node`: cut off, switched off and on.
//! - `agent`: the agent's process and pages.
//! - `spare_link`: interfaces besides its own.

pub(crate) mod agent;
pub(crate) mod node;
pub(crate) mod spare_link;
