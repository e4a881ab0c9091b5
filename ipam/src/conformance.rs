//! What every sidecar has to do, as checks that run against its socket. They use Services and clusters that exist nowhere
//! else, and give back what they were given.
//!
//! | File | Holds |
//! |---|---|
//! | `checks` | the checks |
//! | `calls` | their calls, and what they compare |

mod calls;
mod checks;

pub use calls::Conformance;
pub use checks::Finding;
