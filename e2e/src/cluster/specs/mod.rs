//! What each host of a cluster is made of: addresses, routes, services and their configuration files.
//!
//! - `shape`: what all of them depend on.
//! - `networks`: the networks of pods and of cluster IPs.
//! - `control_plane`: etcd and the programs of Kubernetes' control plane.
//! - `node`: containerd, kubelet, kube-proxy, BIRD.
//! - `router`: FRR.
//! - `write`: all of them, the switch and the client included.

pub(crate) mod control_plane;
pub(crate) mod networks;
pub(crate) mod node;
pub(crate) mod router;
pub(crate) mod shape;
pub(crate) mod write;
