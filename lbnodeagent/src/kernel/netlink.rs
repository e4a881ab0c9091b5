//! Netlink: what the kernel is asked, and what it says of its own.
//!
//! There are two kinds of sockets, both in the network namespace of the thread that opened them.
//! [`requests::Kernel`] reads and writes. The kernel answers a request before the call that sends it returns, so it is
//! an ordinary blocking object with one user. [`monitor::Monitor`] receives a notification of each change in order, its
//! own program's writes included: after a write and a reading of all notifications, the kernel's state is known.
//!
//! | Module | Holds |
//! |---|---|
//! | [`requests`] | dumps, operations, the dummy interface |
//! | `source` | which source address the kernel gives to packets |
//! | [`monitor`] | notifications |
//! | [`error`] | why a request failed |
//! | `encode` | operations to messages |
//! | `decode` | messages to changes |
//! | `routes` | messages about routes to changes |
//! | `filter` | notifications that the kernel drops |
//! | `socket` | bytes out, messages in |

mod decode;
mod encode;
pub mod error;
mod filter;
pub mod monitor;
pub mod requests;
mod routes;
mod socket;
mod source;
