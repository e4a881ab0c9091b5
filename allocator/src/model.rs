//! The cluster's objects, reduced to what the allocator uses.
//!
//! | Part | Holds |
//! |---|---|
//! | `service` | a Service as kept: what the user requests, what the allocator wrote, its addresses |
//! | `sharing` | the sharing key and the ports of a Service, and when two Services may share an address |
//! | `watched_service` | decoding of a Service from the API server |
//! | `group` | a ServiceGroup as kept, or why it is refused |
//! | `watched_group` | decoding of a ServiceGroup from the API server |
//! | `group_table` | all groups, checked against each other: accepted, refused, out of scope |
//! | `namespaces` | which namespaces are bound to which groups |

mod group;
mod group_table;
mod namespaces;
mod service;
mod sharing;
mod watched_group;
mod watched_service;

#[cfg(test)]
pub(crate) use group_table::tests;

pub use group::{GroupId, GroupObject, GroupRefusal, is_external};
pub use group_table::GroupTable;
pub use namespaces::{NamespaceBindings, NamespaceDefault};
pub use service::{FamilyPolicy, Leftover, Requested, Scope, Service, ServiceName, WrittenAnnotations};
pub(crate) use service::{is_our_condition, without_our_conditions};
pub use sharing::{Port, Protocol, Sharing, SharingConflict};
pub use watched_group::WatchedGroup;
pub use watched_service::WatchedService;
