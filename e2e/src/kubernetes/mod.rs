//! The Kubernetes control plane, and how clients reach it.
//!
//! - `credentials`: certificates, tokens, kubeconfigs.
//! - `client`: a client of the API server.
//! - `forward`: the machine's connections to the API server.
//! - `control_plane`: the host of the control plane. Its API server can be frozen.

pub(crate) mod client;
pub(crate) mod control_plane;
pub(crate) mod credentials;
pub mod forward;
