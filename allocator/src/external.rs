//! External allocations: addresses that an IPAM sidecar gives (specification, api.md 11 and allocation.md 12).
//!
//! Nothing here waits or knows a network. [`ExternalAllocations`] records what Services want, and says which call to send
//! next. The edge sends it, and the answer comes back as one more input.
//!
//! | Part | Holds |
//! |---|---|
//! | `call` | calls and answers as data |
//! | `listing` | what sidecars say that Services have, compared with what they have |
//! | `owed` | what is to be given back, as it is recorded |
//! | `states` | the states of an external allocation |
//! | `allocation` | one Service in one group: what it wants, holds and releases |
//! | `allocation_calls` | the calls for it |
//! | `owners` | a Service that was made anew under its name, and what its predecessor owes |
//! | `sidecar` | whether a sidecar answers, and the calls that wait for it |
//! | `queue` | the calls for Services, shared fairly over groups |
//! | `allocations` | all external groups, their allocations and their sidecars |
//! | `changes` | what Services request, hold and release |
//! | `scheduler` | which call is sent next, and what an answer means |

mod allocation;
mod allocation_calls;
mod allocations;
mod call;
mod changes;
mod listing;
mod owed;
mod owners;
mod queue;
mod scheduler;
mod sidecar;
mod states;

pub use allocation::Offer;
pub use allocations::{ExternalAllocations, Moved, SidecarState};
pub use call::{AddressRequest, Call, CallError, CallId, Failure, Listed, Listing, Request, Response, Stats};
pub use listing::Differences;
pub use owed::Owed;
pub use scheduler::Effects;
