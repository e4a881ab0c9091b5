//! Failure detection per member and link, and whether this node hears at all.
//!
//! On each subnet the members form a ring; the three live nodes next to a member watch it. They ping it every 100 ms.
//! A link question, which its kernel answers without the agent, goes out every 2 s as long as pings cross the link and are
//! answered, else every 100 ms too.
//!
//! | Ping | Link | Then |
//! |---|---|---|
//! | silent | silent | since the last answer 235 ms ago: suspicion, and others are asked for 60 ms, the link for each address too; then alarm, and heirs claim |
//! | silent | answered | the agent is down, the node is fine: nothing moves |
//! | answered | silent | the member is told, checks, and gives up what it has on that link |
//!
//! | Module | Holds |
//! |---|---|
//! | `detector` | the detector: links, rounds, what was heard of members |
//! | `link_state` | one interface: carrier, witnesses, whether it is broken |
//! | `hearing` | whether this node hears on a link; asking witnesses |
//! | `presence` | what was heard of a member on a link |
//! | `alarms` | alarms, and the owners whose addresses were taken over |
//! | `ring` | whom this node watches |
//! | `suspicion` | from silence to alarm: here alarms are raised |
//! | `times` | how long a member may be silent |

mod alarms;
#[expect(clippy::module_inception, reason = "the struct that ties this room together")]
mod detector;
mod hearing;
mod link_state;
mod presence;
mod ring;
mod suspicion;
#[cfg(test)]
mod tests;
mod times;

pub use detector::Detector;
pub use link_state::{HEARING, LinkState};
pub use presence::Presence;
pub use times::ROUND;
