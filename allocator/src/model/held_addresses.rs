//! What the agents' kernels have, as their Leases tell: evidence for Services that have lost our marks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::service::Service;

/// What the Leases tell at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeldAddresses {
    /// By UID of a Service: the addresses that an agent's kernel has from us for it.
    pub by_uid: BTreeMap<String, BTreeSet<IpAddr>>,
    /// The nodes' own addresses.
    pub own: BTreeSet<IpAddr>,
}

impl HeldAddresses {
    /// Whether an agent has the address from us for this object.
    #[must_use]
    pub fn is_held(&self, service: &Service, address: IpAddr) -> bool {
        self.by_uid.get(&*service.uid).is_some_and(|held| held.contains(&address))
    }
}
