//! What is to be given back to sidecars, as it is recorded.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::allocations::ExternalAllocations;
use crate::model::Owner;

/// One release that a sidecar has not answered yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// The name of the group.
    pub pool: String,
    /// `namespace/name` of the Service.
    pub service: String,
    /// The UID of the Service.
    pub uid: String,
    /// One address; without it, all that the Service has of the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

impl ExternalAllocations {
    /// What is not given back yet, of all groups.
    pub fn owed(&self) -> impl Iterator<Item = Owed> {
        self.groups.iter().flat_map(|(pool, group)| {
            let owed = |owner: &Owner, address| Owed {
                pool: pool.clone(),
                service: owner.name.to_string(),
                uid: owner.uid.to_string(),
                address,
            };
            let allocations = group.allocations.iter();
            allocations.flat_map(move |(owner, allocation)| {
                allocation.pending_releases().map(move |address| owed(owner, address))
            })
        })
    }
}
