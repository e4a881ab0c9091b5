//! Calico's objects, as far as they say with which routers a node speaks BGP.
//!
//! Calico serves them in one of two API groups, or in both ([`GROUPS`]). Nothing here writes, and nothing here depends on
//! Calico's version: unknown fields are ignored, and an object that cannot be understood is an error of that object
//! alone.
//!
//! | Module | Holds |
//! |---|---|
//! | [`bgp_peer`] | the object `BGPPeer`: a router, and the nodes that speak with it |
//! | [`selector`] | Calico's selector language |
//! | [`node`] | the addresses that calico-node uses on a node |

pub mod bgp_peer;
pub mod node;
pub mod selector;

pub use bgp_peer::{BgpPeer, PeerError, Router};
pub use selector::{Selector, SelectorError};

/// The API groups that have the objects, with their versions: that of the definitions in the cluster, and that of
/// Calico's own API server, which newer releases also serve without that server.
pub const GROUPS: [(&str, &str); 2] = [("crd.projectcalico.org", "v1"), ("projectcalico.org", "v3")];

/// Labels of an object.
pub type Labels = std::collections::BTreeMap<String, String>;
