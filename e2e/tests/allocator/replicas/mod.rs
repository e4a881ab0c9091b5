//! Two replicas: whatever happens to the leader, the other one goes on, and no address is ever allocated twice.
//!
//! - `takeover`: the leader dies, stands still, or loses the API server.
//! - `late_write`: a write of the old leader arrives when the new one has acted.

mod late_write;
mod takeover;
