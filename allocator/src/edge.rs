//! The edge: everything that waits, for the API server, for sidecars, or for time.
//!
//! | Part | Does |
//! |---|---|
//! | `controller` | the loop that joins the others with the state |
//! | `term` | what happens when this replica begins or ceases to lead |
//! | `send` | sends what the state has to send, and takes in the outcomes |
//! | `loaded` | which lists have been read, and whether that is enough to begin |
//! | `hearing` | whether the watches are current, without which this replica does not lead |
//! | `watches` | the watches, as one stream of inputs |
//! | `writer` | sends one write, with a deadline, as long as this replica leads |
//! | `retries` | writes to send again at a later time |
//! | `sidecar_client` | sends calls to IPAM sidecars |
//! | `sidecar_messages` | calls and answers as messages of the protocol |
//! | `owed_record` | the record of what is owed to IPAM sidecars, and which cluster this is |
//! | `gossip_key` | the key of the agents' gossip |

mod controller;
mod gossip_key;
mod hearing;
mod loaded;
mod owed_record;
mod retries;
mod send;
mod sidecar_client;
mod sidecar_messages;
mod term;
mod watches;
mod writer;

pub use controller::{Controller, Parts, Settings};
pub use gossip_key::{CURRENT, LENGTH};
pub use owed_record::KEY as OWED_KEY;
pub use sidecar_client::SidecarClient;
