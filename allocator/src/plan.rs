//! What one Service should have.
//!
//! [`plan`] looks at one Service and a [`Snapshot`] of the state, and changes neither. Its [`Plan`] names the addresses
//! that the Service should hold, the annotations to write, and what to report.
//!
//! | Part | Decides |
//! |---|---|
//! | `outcome` | nothing: it defines the plan and the snapshot |
//! | `planner` | which of the ways below applies to a Service |
//! | `select` | which groups may serve a Service |
//! | `single` | one address for each family |
//! | `multi_pool` | one address from each range |
//! | `pinned` | the very addresses that the user names |
//! | `external` | addresses that an IPAM sidecar gave |
//! | `annotations` | the annotations that go with the addresses |
//! | `failure` | why a Service gets no address |

mod annotations;
mod external;
mod failure;
mod multi_pool;
mod outcome;
mod pinned;
mod planner;
mod select;
mod single;

pub use failure::Failure;
pub use outcome::{AllocationAnnotations, AnnotationChange, Measurement, Notice, Plan, Rejection, Snapshot};
pub use planner::plan;
pub use select::{Denied, Selection, select_groups};
