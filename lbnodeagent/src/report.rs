//! What this node says of itself: to the API server, to Prometheus, and to whoever asks.
//!
//! | Module | Holds |
//! |---|---|
//! | [`metrics`] | the agent's series |
//! | [`reporter`] | Kubernetes events |
//! | [`status`] | what is known of one address |
//! | [`outcomes`] | decisions about addresses and what became of them |
//! | [`protocol_notifications`] | what the protocol for local addresses notices |
//! | [`traffic_policy`] | texts about the traffic policy `Local` |
//! | [`node_problems`] | what is wrong with interfaces, each cause once |
//! | [`state`] | the page `/state` |
//! | [`annotation`] | the text of the annotations that say who announces an address |
//! | [`annotation_budget`] | how often a node writes them |
//! | [`annotation_queue`] | which Services' annotations are to be written, and when |
//! | [`annotation_writer`] | writing them |
//! | [`agent_status`], [`agent_status_writer`] | the status of LBNodeAgents; writing it |
//! | [`lease`] | this node's Lease |

pub mod agent_status;
pub mod agent_status_writer;
pub mod annotation;
pub mod annotation_budget;
pub mod annotation_queue;
pub mod annotation_writer;
pub mod lease;
pub mod metrics;
pub mod node_problems;
pub mod outcomes;
pub mod protocol_notifications;
pub mod reporter;
pub mod state;
pub mod status;
pub mod traffic_policy;
