//! Routers: the top-of-rack router (FRR) and the BIRD of each node, configured by Calico's objects.
//!
//! - `router`: the top-of-rack router and what it has learned by BGP.
//! - `calico`: what calico-node does with BIRD.

pub mod calico;
pub(crate) mod router;
