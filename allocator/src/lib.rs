//! The allocator: gives Services of type `LoadBalancer` their addresses.
//!
//! One direction of data: watches feed the [`index`], which holds all state and says what to write;
//! the [`controller`] writes it, and what the API server answers goes back into the index. All but
//! the controller is synchronous and knows no network.
//!
//! | Module | Holds |
//! |---|---|
//! | [`service`] | a Service, reduced to what is used |
//! | [`groups`] | the table of ServiceGroups: accepted, refused, out of scope |
//! | [`pool`] | the address book: who holds what, and the next free address |
//! | [`select`] | which group serves a Service |
//! | [`judge`] | what one Service should have |
//! | [`index`] | all state; objects in, patches and events out |
//! | [`ipam`] | groups whose addresses a sidecar hands out |
//! | [`leases`] | the subnets of the nodes that are alive |
//! | [`metrics`] | the series of the allocator |
//! | [`controller`] | watches, writes, leadership |
//! | [`gossip_secret`] | the key of the agents' gossip |

pub mod controller;
pub mod gossip_secret;
pub mod groups;
pub mod index;
pub mod ipam;
pub mod judge;
pub mod leases;
pub mod metrics;
pub mod pool;
pub mod select;
pub mod service;

/// The field manager of every write.
pub const FIELD_MANAGER: &str = "purelb-allocator";
