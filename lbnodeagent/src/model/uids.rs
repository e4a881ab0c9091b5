//! The Services of an address by their UIDs.

use std::sync::Arc;

/// The UIDs of the Services that have an address, sorted. Almost always there is one. They are kept of every address in
/// several places, so they are shared.
pub type Uids = Arc<[Box<str>]>;
