//! The cluster's objects, reduced to what the allocator uses.
//!
//! | Part | Holds |
//! |---|---|
//! | `service` | a Service as kept: what the user requests, what the allocator wrote, its addresses |
//! | `owner` | who holds what an IPAM sidecar gave: a Service and its UID |
//! | `managed_fields` | who wrote a Service |
//! | `held_addresses` | what the agents' kernels have |
//! | `sharing` | the sharing key and the ports of a Service, and when two Services may share an address |
//! | `watched_service` | decoding of a Service from the API server |
//! | `metadata` | the metadata of Services, reduced while they are read |
//! | `external_ips` | `spec.externalIPs` of Services of other types |
//! | `node` | a Node, reduced to its addresses and the label that excludes it |
//! | `endpoints` | an EndpointSlice, reduced to the nodes of its endpoints |
//! | `service_networks` | the networks of cluster IPs, from ServiceCIDR objects |
//! | `group` | a ServiceGroup as kept, or why it is refused |
//! | `watched_group` | a ServiceGroup from the API server, as it is kept |
//! | `group_table` | all groups, checked against each other: accepted, refused, out of scope |
//! | `namespaces` | which namespaces are bound to which groups |

mod endpoints;
mod external_ips;
mod group;
mod group_table;
mod held_addresses;
mod managed_fields;
mod metadata;
mod namespaces;
mod node;
mod owner;
mod service;
mod service_networks;
mod sharing;
mod watched_group;
mod watched_service;

#[cfg(test)]
pub(crate) use group_table::tests;

pub use api_types::GroupId;
pub use endpoints::Slice;
pub use external_ips::{ExternalIps, WatchedExternalIps};
pub use group::{GroupObject, GroupRefusal, is_external};
pub use group_table::{Circumstances, GroupTable};
pub use held_addresses::HeldAddresses;
pub use managed_fields::Writers;
pub use namespaces::{NamespaceBindings, NamespaceDefault};
pub use node::{Node, WatchedNode};
pub use owner::Owner;
pub use service::{
    FamilyPolicy, Leftover, MOST_EXTERNAL_IPS, Requested, Scope, Service, ServiceName, WrittenAnnotations,
};
pub(crate) use service::{is_our_condition, without_our_conditions};
pub use service_networks::ServiceNetworks;
pub use sharing::{Port, Protocol, Sharing, SharingConflict};
pub use watched_group::WatchedGroup;
pub use watched_service::WatchedService;
