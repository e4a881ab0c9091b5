//! Calico's objects, as far as they say with which routers a node speaks BGP and what it announces to them.
//!
//! Calico serves them in one of two API groups, or in both ([`bgp_peer::GROUPS`]). Nothing here writes, and nothing here depends on
//! Calico's version: unknown fields are ignored, and an object that cannot be understood is an error of that object
//! alone.
//!
//! | Module | Holds |
//! |---|---|
//! | [`bgp_peer`] | the object `BGPPeer`: a router, and the nodes that speak with it |
//! | [`bgp_configuration`] | the object `BGPConfiguration`: what holds for all nodes |
//! | [`bgp_filter`] | the object `BGPFilter`: which routes a node announces to a router |
//! | [`as_number`] | AS numbers |
//! | [`selector`] | Calico's selector language |
//! | [`labels`] | the labels of an object |
//! | [`node`] | the addresses and the AS number that calico-node uses on a node |

pub mod as_number;
pub mod bgp_configuration;
pub mod bgp_filter;
pub mod bgp_peer;
pub mod labels;
pub mod node;
pub mod selector;

pub use bgp_configuration::BgpConfiguration;
pub use bgp_filter::BgpFilter;
pub use bgp_peer::{BgpPeer, GROUPS, PeerError, Router};
pub use labels::Labels;
pub use selector::{Selector, SelectorError};
