//! Bidirectional Forwarding Detection (RFC 5880 to 5883): a router notices the death of this node in a fraction of a
//! second, whatever program speaks BGP here.
//!
//! The protocol as a pure state machine: no sockets, no clock, no randomness of its own. Events go in, actions come out
//! ([`Table::handle`]). The program `bfd-speaker` is the edge.
//!
//! | Module | Holds |
//! |---|---|
//! | [`table`] | all sessions: which one a datagram is for, and the bounds |
//! | [`event`] | what goes in, what comes out |
//! | [`session`], [`remote`] | one session: the variables of RFC 5880 6.8.1, ours and the peer's |
//! | [`state`] | the states and the table of their transitions (6.2) |
//! | [`timers`] | intervals, detection time, jitter, Poll and Final (6.8.2 to 6.8.7) |
//! | [`packet`] | the control packet and its bytes (4.1) |
//! | [`peer`] | a wanted peer, and the union of what several sources want |
//! | [`wanted`], [`report`] | the files between the programs |
//! | [`rate`], [`rng`], [`time`] | a limit on packets, randomness, time |
//!
//! # What is spoken
//!
//! Asynchronous mode, single hop (RFC 5881) and multihop (RFC 5883), IPv4, IPv6 and IPv6 link-local. No echo, no
//! authentication; demand mode is not asked for, and a peer that asks for it gets it. The C bit is set: this program does
//! not end with the control plane, so a lost session means that the node forwards nothing any more, and graceful restart
//! gives way to it (RFC 5882 4.3).
//!
//! # The states
//!
//! RFC 5880 6.2 and 6.8.6, in [`state::next`]:
//!
//! ```text
//!                                  +--+
//!                                  |  | Up, AdminDown, expired
//!                                  |  V
//!                          Down  +------+  Init
//!                   +------------|      |------------+
//!                   |            | Down |            |
//!                   |  +-------->|      |<--------+  |
//!                   |  |         +------+         |  |
//!                   |  | AdminDown,    AdminDown, |  |
//!                   |  | expired    Down, expired |  |
//!                   V  |                          |  V
//!                +------+                        +------+
//!           +----|      |                        |      |----+
//!       Down|    | Init |----------------------->|  Up  |    |Init, Up
//!           +--->|      | Init, Up               |      |<---+
//!                +------+                        +------+
//! ```
//!
//! # The rules that matter here
//!
//! **A living node does not say Down to a router that is Up.** The router's BGP session carries more than our addresses.
//! A session goes Down only when the router says Down or `AdminDown`, or when nothing is heard of it for the detection
//! time, which means that the path from the router is broken. `AdminDown` is never sent. A peer that is not wanted any more
//! simply hears nothing more.
//!
//! **The router's timers decide.** A passive session offers a short interval for both directions and is silent until the
//! router speaks. The router's detection time is our multiplier times the greater of our offer and its own Required Min
//! RX.
//!
//! **A restart is no event.** The report has discriminators, state and timers of each session. The next process goes on
//! with them ([`Session::resume`](session::Session::resume)), sends at once, and its Poll makes both ends agree about the
//! timers. Before a planned end, [`Event::SlowDown`] raises Desired Min TX by a Poll, so that the router waits for the
//! next process. A host that goes down skips that.
//!
//! **A pause is no silence.** If the table is called more than 100 ms after its deadline, nobody listened in between, and
//! that time does not count as the router's silence. What waited in the sockets goes first.
//!
//! **A packet counts only from its peer.** Also with our discriminator, which RFC 5880 6.3 would let decide alone: the source
//! address, and the interface if the peer has one, must be the peer's, and the destination the session's. A router keeps its
//! address, and whoever can see a discriminator could otherwise speak for the router from elsewhere.
//!
//! **Bounds.** At most 32 peers and 32 sessions. Each session accepts 250 packets a second that have its discriminator, and
//! each peer 20 a second that have none, so that a forger who does not know the discriminator cannot use up what the router
//! needs.
//!
//! # The files
//!
//! They lie in `/run/purelb/bfd`, which the agent makes: `root:GROUP`, mode 2770, where GROUP is a supplementary group of
//! both pods. Each is replaced by a rename, so a reader sees a whole one.
//!
//! | File | Who writes | What |
//! |---|---|---|
//! | `wanted-SOURCE.json` | each source its own: the agent is `wanted-agent.json` | the peers it wants: [`wanted`] |
//! | `state.json` | `bfd-speaker` | what it sees, and what its next process needs: [`report`] |
//! | `lock` | `bfd-speaker` | held by the process that speaks |
//!
//! What is served is the union of all sources ([`peer::union`]). A file that is missing, unreadable, of another version or
//! wrong in any part is no news: what the source wanted before stays, also over a restart. Only a good file that does not
//! name a peer ends it.

pub mod event;
pub mod packet;
pub mod peer;
pub mod rate;
pub mod remote;
pub mod report;
pub mod rng;
pub mod session;
pub mod state;
pub mod table;
pub mod time;
pub mod timers;
pub mod wanted;

pub use event::{Action, Datagram, Event, Outgoing, Refusal};
pub use packet::{Diagnostic, Packet};
pub use peer::{Hops, Peer, PeerKey, Role, Settings};
pub use report::Report;
pub use rng::Rng;
pub use state::State;
pub use table::Table;
pub use time::Time;
pub use wanted::Wanted;
