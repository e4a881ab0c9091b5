//! Who is there: discovery by Leases, liveness by SWIM (Das, Gupta, Motivala 2002), over the protocol's own datagrams.
//!
//! | Module | Holds |
//! |---|---|
//! | `members` | the members, and when they were last heard |
//! | `member` | one member |
//! | `swim` | pings, suspicion, and giving up |
//! | `updates`, `rumours` | what members say of each other, and the queue of what is passed on |
//! | `gossip` | what other parts of the machine need to talk to members |
//! | `ping`, `indirect` | the numbers of pings; pings that others asked this node for |
//!
//! Why not a library: `foca`, which is made for this style, does not fit. It keeps acknowledgements to itself, while the
//! detector and every claim here need to know *when* each member last answered *this node*. Its messages have no room
//! for the status that every datagram carries. A member once declared down must come back under a new identity, which
//! would void its claims. Join and roster, the larger half of such a library, are the Leases' work here.
//!
//! Rumours travel on the datagrams that are sent anyway, each about 3 log2(n) times, and say which version a member's
//! claims have. A member contradicts with a higher incarnation. Silence here never moves an address by itself: it only
//! makes heirs ask the link.
//!
//! What it costs at rest does not grow with the cluster: each of 1,000 simulated members sends 67 datagrams of 4.8 kB
//! together per second (`thousand_nodes` in `tests/schedules`; sealed, without UDP and IP headers), 60 of them
//! pings of the detector and their answers, and 30 link questions.

mod gossip;
mod indirect;
mod member;
mod members;
mod ping;
mod rumours;
mod swim;
#[cfg(test)]
mod tests;
mod updates;

pub use gossip::Gossip;
pub use indirect::IndirectPings;
pub use member::{LivenessChange, Member};
pub use members::{EAGER, Membership};
pub use ping::{ping_number, sent_at};
pub use swim::{DIRECT, GRACE, PERIOD, Tick};
