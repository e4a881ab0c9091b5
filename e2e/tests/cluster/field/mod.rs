//! What happened to users of such software, as the smallest input for ours. Each test has the number of its report.
//!
//! | Module | Reports |
//! |---|---|
//! | `node_addresses` | addresses that nodes and other programs have |
//! | `status` | a status or annotations that somebody else writes |
//! | `networks` | networks and routes of the nodes that are odd, or change |
//! | `unannounced` | addresses that nobody can announce |
//! | `endpoints` | endpoints that are odd, and shared addresses |
//! | `classes` | whose a Service is, and objects of a later release |
//! | `groups` | groups that overlap |
//! | `stripped` | annotations that an operator deletes for ever |
//! | `webhooks` | admission webhooks that say nothing |
//! | `host_addresses` | nodes whose own addresses have the full prefix length |
//! | `announced` | two Services that such things happen to |
//! | `careful` | being careful never takes an address away that works |

pub(crate) mod announced;
mod careful;
mod classes;
mod endpoints;
mod groups;
mod host_addresses;
mod networks;
mod node_addresses;
mod status;
mod stripped;
mod unannounced;
mod webhooks;
