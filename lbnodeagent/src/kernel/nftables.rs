//! `nf_tables`, the packet filter of the kernel, by its netlink messages: our own table, and single looks at kube-proxy's.
//!
//! No crate that is kept and small speaks these messages without a C library, and few of them are needed.
//!
//! | Module | Holds |
//! |---|---|
//! | [`requests`] | batches of changes, and questions |
//! | [`monitor`] | the notification that some rules have changed |
//! | `table` | our table: its sets, chains and rules |
//! | `elements` | elements of its sets |
//! | `rules` | rules, from the expressions that the kernel evaluates for a packet |
//! | [`proxy_rules`] | whether rules of kube-proxy name a port of an address |
//! | `message` | bytes of one message |
//! | `answers` | messages of the kernel |
//! | `socket` | bytes out, messages in |

mod answers;
mod elements;
mod message;
pub mod monitor;
pub mod proxy_rules;
pub mod requests;
mod rules;
mod socket;
mod table;
