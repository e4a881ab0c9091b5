//! One state machine per address: whether this node acts on it, asks the link, owns it, and gives it up.
//!
//! | Module | Holds |
//! |---|---|
//! | `state` | the states, with the table of transitions |
//! | `step` | an address while a transition runs |
//! | `decision` | whether to act on an address that another node has, or nobody |
//! | `waiting`, `probing`, `owned` | transitions by state |
//! | `unasked` | kernels that answer while their agent cannot be asked |
//! | `introduction`, `askers` | hosts that ignore announcements learn of a new owner; which hosts |
//! | `dispute` | two claims for one address |
//! | `foreign` | a member's kernel has an address of this node from somebody else |
//! | `silent` | a kernel answers for an address of this node, while its agent is silent |
//! | `handover` | planned moves, from both ends |
//! | `kernel` | what the kernel has, lost, or refused |
//! | `candidates` | who should own an address |
//! | `probe` | the sequence of probes |
//! | `budget` | how many questions a link gets |
//! | `entry`, `table` | what is known of an address; all of them, and when each is due |
//! | `kernel_events`, `link_events`, `member_events` | which transitions an event brings about |
//! | `context`, `view` | what transitions, and choices among members, need from the rest of the machine |
//! | `status` | what people see of an address |

mod askers;
mod budget;
mod candidates;
mod context;
mod decision;
mod dispute;
mod entry;
mod foreign;
mod handover;
mod introduction;
mod kernel;
mod kernel_events;
mod link_events;
mod member_events;
mod owned;
mod probe;
mod probing;
mod silent;
mod state;
mod status;
mod step;
mod table;
mod unasked;
mod view;
mod waiting;

pub use budget::Budget;
pub use context::Context;
pub use probe::PATIENCE;
pub use status::AddressStatus;
pub use table::Addresses;
pub use view::View;
