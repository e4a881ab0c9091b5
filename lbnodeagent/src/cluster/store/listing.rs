//! Lists in progress. Objects that a new list does not contain are gone.

use std::collections::BTreeSet;

use crate::cluster::service::ServiceName;

/// The names that a list in progress has contained so far.
#[derive(Debug)]
pub(super) struct Listing<K> {
    pub(super) seen: BTreeSet<K>,
    /// The first list is complete.
    pub(super) complete: bool,
}

impl<K> Default for Listing<K> {
    fn default() -> Self {
        Self { seen: BTreeSet::new(), complete: false }
    }
}

impl<K: Ord> Listing<K> {
    /// The list is complete; returns the names among `known` that it did not contain.
    pub(super) fn done<'a>(&mut self, known: impl Iterator<Item = &'a K>) -> Vec<K>
    where
        K: Clone + 'a,
    {
        self.complete = true;
        let seen = std::mem::take(&mut self.seen);
        known.filter(|name| !seen.contains(name)).cloned().collect()
    }
}

/// The lists of all watches.
#[derive(Debug, Default)]
pub(super) struct Listings {
    pub(super) services: Listing<ServiceName>,
    pub(super) groups: Listing<String>,
    pub(super) agents: Listing<(String, String)>,
    pub(super) node: bool,
    pub(super) leases: Listing<String>,
    pub(super) slices: Listing<(ServiceName, Box<str>)>,
}
