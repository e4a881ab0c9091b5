//! The interfaces on which local addresses may be.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::decide::interfaces::Selection;

/// The interfaces on which local addresses may be, and what must not be touched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalInterfaces {
    /// The interfaces for local addresses.
    pub selection: Selection,
    /// The interfaces for remote addresses, which the thread must not touch.
    pub remote_links: BTreeSet<u32>,
    /// The node's own addresses, which are never touched.
    pub node_addresses: BTreeSet<IpAddr>,
    /// The next hops of default routes, by interface.
    pub gateways: BTreeMap<u32, BTreeSet<IpAddr>>,
}

impl LocalInterfaces {
    /// Adds the interfaces for local addresses of before, unless they are for remote addresses now.
    #[must_use]
    pub fn joined(mut self, before: &Self) -> Self {
        for selected in before.selection.iter().filter(|selected| !self.remote_links.contains(&selected.index)) {
            if self.selection.keep(selected) {
                let gateways = before.gateways.get(&selected.index);
                self.gateways.extend(gateways.map(|gateways| (selected.index, gateways.clone())));
            }
        }
        self
    }
}
