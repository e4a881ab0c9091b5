//! What one Service should have.
//!
//! [`plan`] looks at one Service and a [`Snapshot`] of the state, and changes neither. Its [`Plan`] names the addresses
//! that the Service should hold, the annotations to write, and what to report.
//!
//! | Part | Decides |
//! |---|---|
//! | `allocation` | what the Service has been given so far, and what another load balancer gave |
//! | `outcome` | nothing: it defines the plan and the snapshot |
//! | `planner` | which of the ways below applies to a Service |
//! | `release` | what is taken off a Service that is being deleted |
//! | `write` | what is to be written for the plan |
//! | `reminder` | whether an edit asks for other addresses than the Service has |
//! | `select` | which groups may serve a Service |
//! | `single` | one address for each family |
//! | `multi_pool` | one address from each range |
//! | `pinned` | the very addresses that the user names |
//! | `external` | addresses that an IPAM sidecar gave |
//! | `annotations` | the annotations that go with the addresses |
//! | `text` | nothing: how addresses stand in sentences |
//! | `failure` | why a Service gets no address |

mod allocation;
mod annotations;
mod external;
mod failure;
mod multi_pool;
mod outcome;
mod pinned;
mod planner;
mod release;
mod reminder;
mod select;
mod single;
mod text;
mod write;

pub use allocation::{Allocation, Basis, counts_as_given, sidecar_group};
pub use failure::Failure;
pub use outcome::{AllocationAnnotations, AnnotationChange, Measurement, Notice, Plan, Rejection, Snapshot};
pub use planner::{Memory, plan};
pub use reminder::reminder;
pub use select::{Denied, Selection, select_groups};
