//! Which hosts a cluster has, what they are called, and where their files are.
//!
//! - `host_id`: the hosts, their names and addresses.
//! - `mac`: MACs.
//! - `family`: the names of the address families in other programs.
//! - `layout`: paths and names of one cluster.
//! - `prepared`: programs and images that were built beforehand.

pub(crate) mod family;
pub(crate) mod host_id;
pub(crate) mod layout;
pub(crate) mod mac;
pub(crate) mod prepared;
