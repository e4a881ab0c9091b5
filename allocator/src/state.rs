//! The state of the allocator: objects go in, writes, calls and Kubernetes events come out. Nothing here waits or knows a
//! network.
//!
//! [`Index`] joins the parts. Each part owns its fields, and returns what follows from a change.
//!
//! | Part | Holds |
//! |---|---|
//! | `services` | the Services, and the addresses reserved for writes in flight |
//! | `groups` | the ServiceGroups and the table made of them |
//! | `node_subnets` | the subnets of the nodes that are alive, from the agents' Leases |
//! | `queue` | the Services to plan next, those that wait, and clean-ups |
//! | `fencing` | the writes of a new leader that void late writes of its predecessor |
//! | `sharing` | Services that hold the same address: who may, who loses it |
//! | `service_conditions`, `group_conditions`, `condition` | the conditions of Services and of groups |
//! | `group_status`, `group_view` | which group statuses are due, and what they say |
//! | `patch` | the writes to Services |
//!
//! | Part of [`Index`] | Does |
//! |---|---|
//! | `index` | takes in Services and addresses |
//! | `group_input` | takes in groups and node subnets |
//! | `reconcile` | plans a Service, records the plan, writes it, and takes in the outcome |
//! | `sidecars` | external allocations: calls, answers, releases |
//! | `leading` | begins and ends a term |

mod condition;
mod fencing;
mod group_conditions;
mod group_input;
mod group_status;
mod group_view;
mod groups;
mod index;
mod leading;
mod node_subnets;
mod patch;
mod queue;
mod reconcile;
mod service_conditions;
mod services;
mod sharing;
mod sidecars;

pub use group_status::StatusPatch;
pub use index::Index;
pub use node_subnets::NodeSubnets;
pub use patch::{Purpose, ServicePatch, clean_up};
pub use reconcile::Outcome;
